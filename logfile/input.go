package logfile

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxLine is the longest line that is read, in bytes: the longest message that
// is decoded, and what JSON adds to it.
const maxLine = 8 << 20

// maxWindow bounds what the zstd decoder keeps, in bytes; "zstd --ultra"
// without --long needs no more.
const maxWindow = 128 << 20

// Stdin is the name of standard input.
const Stdin = "-"

var errLongLine = fmt.Errorf("line of more than %d bytes", maxLine)

// input is one file that is being read.
type input struct {
	name string
	file *os.File
	raw  countingReader // bytes of the file itself
	size int64          // of the file itself, 0 if unknown
	head string         // see headOf; "" for what is no regular file

	regular bool // a file, not a pipe
	plain   bool // not compressed
	lines   *bufio.Reader
	close   func()
	long    []byte // the parts of a long line, used again
	offset  int64  // where the next line begins, decompressed
	line    int    // lines read
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// open opens a file and finds out whether it is compressed.
func open(name string, stdin io.Reader) (*input, error) {
	in := &input{name: name, close: func() {}}
	if name == Stdin {
		in.raw.r = stdin
		return in, in.decompress()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	in.file, in.raw.r = f, f
	in.close = func() { _ = f.Close() } // it was only read
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		in.regular, in.size = true, info.Size()
		in.head = headOf(f, 0)
	} else if err == nil && info.IsDir() {
		in.close()
		return nil, fmt.Errorf("read events: %s is a directory", name)
	}
	if err := in.decompress(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// decompress looks at the first bytes and sets up what reads the lines.
func (in *input) decompress() error {
	first := bufio.NewReaderSize(&in.raw, 64<<10)
	magic, err := first.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", in.name, err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(first)
		if err != nil {
			return fmt.Errorf("read %s: %w", in.name, err)
		}
		in.lines = bufio.NewReaderSize(z, 256<<10)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(first, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return fmt.Errorf("read %s: %w", in.name, err)
		}
		closeFile := in.close
		in.close = func() { z.Close(); closeFile() }
		in.lines = bufio.NewReaderSize(z, 256<<10)
	default:
		in.plain = true
		in.lines = first
	}
	return nil
}

// seek goes to an offset of the decompressed file.
func (in *input) seek(offset int64, line int) error {
	in.line = line
	if offset == in.offset {
		return nil
	}
	if in.plain && in.regular {
		if _, err := in.file.Seek(offset, io.SeekStart); err != nil {
			return fmt.Errorf("read %s: %w", in.name, err)
		}
		in.raw.n = offset
		in.lines.Reset(&in.raw)
		in.offset = offset
		return nil
	}
	n, err := io.CopyN(io.Discard, in.lines, offset-in.offset)
	in.offset += n
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: it ends before the place where reading stopped", in.name)
	}
	return err
}

// next returns the next line without its end. The last line of a file may lack
// the end; with whole it is then left until it has one. A line that is too
// long is passed over, with errLongLine; io.EOF is the end, every other error
// that of reading.
func (in *input) next(whole bool) (string, error) {
	in.long = in.long[:0]
	size := 0
	for {
		part, err := in.lines.ReadSlice('\n')
		size += len(part)
		if err == nil && size == len(part) {
			return in.took(string(part), size), nil
		}
		if size <= maxLine {
			in.long = append(in.long, part...)
		}
		switch {
		case err == nil && size > maxLine:
			in.took("", size)
			return "", errLongLine
		case err == nil:
			return in.took(string(in.long), size), nil
		case errors.Is(err, io.EOF):
			return in.last(size, whole)
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// last decides on what stands behind the last line end.
func (in *input) last(size int, whole bool) (string, error) {
	switch {
	case size == 0:
		return "", io.EOF
	case whole && in.plain && in.regular: // it may still be written
		if err := in.rewind(); err != nil {
			return "", err
		}
		return "", io.EOF
	case size > maxLine:
		in.took("", size)
		return "", errLongLine
	}
	return in.took(string(in.long), size), nil
}

// rewind goes back to the beginning of the line that was begun.
func (in *input) rewind() error {
	offset := in.offset
	in.offset = -1
	return in.seek(offset, in.line)
}

func (in *input) took(line string, size int) string {
	if in.offset == 0 {
		line = strings.TrimPrefix(line, "\ufeff")
	}
	in.offset += int64(size)
	in.line++
	return strings.TrimRight(line, "\r\n")
}

// headBytes is how much of a file's beginning tells it from others.
const headBytes = 1 << 10

// headOf names a file by its first bytes: their number, at most n if that is
// not 0, and their hash. It is the same after the file has grown or was renamed.
func headOf(f io.ReaderAt, n int) string {
	buf := make([]byte, cmp.Or(n, headBytes))
	got, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	sum := sha256.Sum256(buf[:got])
	return strconv.Itoa(got) + ":" + hex.EncodeToString(sum[:8])
}

// begins reports whether the file called name begins with head.
func begins(name, head string) bool {
	length, _, _ := strings.Cut(head, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > headBytes {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return n == 0 || headOf(f, n) == head
}
