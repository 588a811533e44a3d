package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// Options say what is read and how.
type Options struct {
	Files  []string  // in this order; "-" is Stdin
	Stdin  io.Reader // nil means there is none
	Format string    // one of [Formats]; "" means that every line says so itself
	Prefix string    // of the subjects in envelopes, with its dot; it is cut off
	Follow bool      // go on with what is appended to the one file, across its rotation

	// Complain, if set, is told of what could not be read and was left out. It
	// does not quote it.
	Complain func(file string, line int, err error)
}

// Reader hands out the records of files, one after the other. It is not safe
// for concurrent use.
type Reader struct {
	Malformed int       // what could not be read and was left out
	Ignored   int       // what was read and is no event
	Rows      int       // objects that were found in the files
	Newest    time.Time // when the last record was seen by its sensor

	o     Options
	files []string // still to be read
	in    *input   // nil: none is open
	last  Mark     // the end of the file that was open before

	behind int64 // bytes of the files that are done
	total  int64 // bytes of all files, as they are on the disk; 0 if unknown

	queue   []Record // those before next were handed out
	next    int
	members ttp.Object // of the object that was read last; its memory is used again
	cowrie  *cowrie
	spread  spread // an object that is spread over lines

	begun   Place // before the line in hand, or the object that it ends
	again   Mark  // up to here, lines are read a second time and yield nothing
	taken   int   // records of the line behind it that were handed out before
	inAgain bool  // the open file is the one that again is in
	leaving bool  // the open file has been rotated away
}

// Mark is a place in a file.
type Mark struct {
	Name   string `json:"name"`
	Head   string `json:"head,omitempty"` // names the file by how it begins
	Offset int64  `json:"offset"`         // in bytes, decompressed
	Line   int    `json:"line"`           // lines before it
}

// within reports whether the file called name holds the place.
func (m Mark) within(name string) bool { return begins(name, m.Head) && sizeOf(name) >= m.Offset }

// Place is where a reader stands. Sessions that are still open were begun at
// From; they are put together again from there. Of the records that the line at
// At leads to, the first ones have been handed out.
type Place struct {
	From  Mark `json:"from"`
	At    Mark `json:"at"`
	Taken int  `json:"taken,omitempty"`
}

// NewReader returns a reader that begins at the beginning. Files that do not
// exist are an error now rather than after hours.
func NewReader(o Options) (*Reader, error) {
	if o.Format != "" && !slices.Contains(Formats, o.Format) {
		return nil, fmt.Errorf("format %q is not one of %s", o.Format, strings.Join(Formats, ", "))
	}
	r := &Reader{o: o, files: slices.Clone(o.Files), cowrie: newCowrie()}
	var errs []error
	for _, name := range o.Files {
		if name == Stdin {
			continue
		}
		info, err := os.Stat(name)
		if err != nil && !(o.Follow && errors.Is(err, os.ErrNotExist)) {
			errs = append(errs, fmt.Errorf("read events: %w", err))
		} else if err == nil {
			r.total += info.Size()
		}
	}
	if slices.Contains(o.Files, Stdin) {
		r.total = 0
	}
	return r, errors.Join(errs...)
}

// Resume makes the reader go on at a place that was noted before, in this or
// another run. Call it before Next. It is an error if the files are not those
// that the place is in; a file that is followed and has gone is begun anew.
func (r *Reader) Resume(p Place) error {
	if r.o.Follow {
		r.files = r.sinceRotation(p.From)
		if !p.From.within(r.files[0]) {
			return nil
		}
		if !slices.ContainsFunc(r.files, p.At.within) { // cut off since; what comes twice has the same ids
			p.At, p.Taken = p.From, 0
		}
	} else if err := r.skipTo(p); err != nil {
		return err
	}
	r.again, r.taken = p.At, p.Taken
	if err := r.openNext(); err != nil {
		return err
	}
	return r.in.seek(p.From.Offset, p.From.Line)
}

// skipTo drops the files before the one that p begins in.
func (r *Reader) skipTo(p Place) error {
	i := slices.Index(r.files, p.From.Name)
	if i < 0 || !slices.Contains(r.files[i:], p.At.Name) {
		return fmt.Errorf("resume: %s is not among the files", p.At.Name)
	}
	for _, m := range []Mark{p.From, p.At} {
		if m.Name != Stdin && !begins(m.Name, m.Head) {
			return fmt.Errorf("resume: %s is not the file that was read before: it begins otherwise", m.Name)
		}
	}
	for _, name := range r.files[:i] {
		r.behind += max(sizeOf(name), 0)
	}
	r.files = r.files[i:]
	return nil
}

// Place returns where the reader stands. ok is false before the first record
// and, after Resume, before the first that is new.
func (r *Reader) Place() (p Place, ok bool) {
	switch {
	case r.repeating() || r.taken > 0:
		return Place{}, false
	case r.next < len(r.queue):
		p = r.begun
		p.Taken = r.next
	case r.spread.open():
		p = r.begun
	default:
		p = r.here()
	}
	return p, p.At.Name != ""
}

// here is the place in front of what is read next.
func (r *Reader) here() (p Place) {
	p.At = r.last
	if r.in != nil {
		p.At = r.mark()
	}
	p.From = p.At
	if first, isOpen := r.cowrie.oldest(); isOpen {
		p.From = first
	}
	return p
}

func (r *Reader) mark() Mark {
	if r.in.regular && !strings.HasPrefix(r.in.head, fullHead) {
		r.in.head = headOf(r.in.file, 0) // it was shorter than a head and may have grown
	}
	return Mark{Name: r.in.name, Head: r.in.head, Offset: r.in.offset, Line: r.in.line}
}

// fullHead begins the head of a file that is at least as long as a head.
var fullHead = strconv.Itoa(headBytes) + ":"

// Progress returns how many bytes of the files, as they are on the disk, were
// read of how many; total is 0 if that is not known.
func (r *Reader) Progress() (done, total int64) {
	done = r.behind
	if r.in != nil {
		done += r.in.raw.n
	}
	if r.total > 0 {
		done = min(done, r.total)
	}
	return done, r.total
}

// Close closes what is open.
func (r *Reader) Close() {
	if r.in != nil {
		r.in.close()
		r.in = nil
	}
}

// Next returns the next record. io.EOF says that there is none: for good, or
// when following until something is appended. Another error is one of reading
// the files.
func (r *Reader) Next() (Record, error) {
	for r.next == len(r.queue) {
		clear(r.queue)
		r.queue, r.next = r.queue[:0], 0
		if err := r.step(); err != nil {
			return Record{}, err
		}
	}
	rec := r.queue[r.next]
	r.next++
	if !rec.Envelope.At.IsZero() {
		r.Newest = rec.Envelope.At
	}
	return rec, nil
}

// step reads one line.
func (r *Reader) step() error {
	if r.in == nil {
		if err := r.openNext(); err != nil {
			return err
		}
	}
	if !r.spread.open() {
		r.begun = r.here()
	}
	if r.in == nil {
		return r.finish()
	}
	line, err := r.in.next(r.o.Follow && !r.leaving && len(r.files) == 0)
	switch {
	case errors.Is(err, io.EOF):
		return r.fileEnded()
	case errors.Is(err, errLongLine):
		r.complain(err)
	case err != nil && !r.in.plain && !errors.Is(err, context.Canceled):
		r.complain(fmt.Errorf("the file is damaged: %w", err))
		r.closeFile()
	case err != nil:
		return fmt.Errorf("read %s: %w", r.in.name, err)
	default:
		r.take(line)
	}
	r.passOver()
	return nil
}

// passOver drops the records that had been handed out before.
func (r *Reader) passOver() {
	switch {
	case r.repeating():
		r.queue = r.queue[:0]
	case r.taken > 0 && len(r.queue) > 0:
		r.next, r.taken = min(r.taken, len(r.queue)), 0
	}
}

// repeating reports whether the line in hand had been read before, and all that
// it led to handed out.
func (r *Reader) repeating() bool {
	return r.again.Name != "" && (!r.inAgain || r.begun.At.Offset < r.again.Offset)
}

// counted reports whether what the line in hand holds has been counted before.
func (r *Reader) counted() bool { return r.taken > 0 || r.repeating() }

// fileEnded goes on to the next file. A file that is followed is left once it
// has been rotated away and what was written until then has been read.
func (r *Reader) fileEnded() error {
	if r.o.Follow && len(r.files) == 0 && !r.leaving {
		if r.leaving = r.rotated(); !r.leaving {
			return io.EOF
		}
		return nil
	}
	r.closeFile()
	return nil
}

func (r *Reader) closeFile() {
	if r.spread.open() {
		r.spread = spread{}
		r.complain(errors.New("the object at the end is not complete"))
	}
	r.behind += max(r.in.size, r.in.raw.n)
	r.last = r.mark()
	r.in.close()
	if r.inAgain {
		if r.last.Offset < r.again.Offset { // the file is not as long as it was
			r.taken = 0
		}
		r.again, r.inAgain = Mark{}, false
	}
	r.in, r.leaving = nil, false
}

// openNext opens the next file; there may be none.
func (r *Reader) openNext() error {
	if len(r.files) == 0 && r.o.Follow {
		r.files = slices.Clone(r.o.Files)
	}
	if len(r.files) == 0 {
		return nil
	}
	in, err := open(r.files[0], r.o.Stdin)
	if r.o.Follow && errors.Is(err, os.ErrNotExist) {
		return io.EOF // between two files
	}
	if err != nil {
		return err
	}
	r.in, r.files = in, r.files[1:]
	r.inAgain = r.again.Name == in.name
	if r.o.Follow {
		r.inAgain = r.again.Name != "" && begins(in.name, r.again.Head)
	}
	return nil
}

// finish hands out the sessions that have no end.
func (r *Reader) finish() error {
	r.cowrie.closeAll(&r.queue)
	if len(r.queue) == 0 {
		return io.EOF
	}
	r.passOver()
	return nil
}

func (r *Reader) complain(err error) {
	if r.counted() {
		return
	}
	r.Malformed++
	if r.o.Complain != nil {
		r.o.Complain(r.in.name, r.in.line, err)
	}
}

// Reject counts the record that was handed out last as malformed after all.
func (r *Reader) Reject(err error) {
	if r.o.Complain != nil && r.in != nil {
		r.o.Complain(r.in.name, r.in.line, err)
	}
}
