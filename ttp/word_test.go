package ttp

import (
	"strings"
	"testing"
)

// Every byte, at every place of a word and behind it.
func TestWord_stopsWhereBytesDo(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			text := strings.Repeat("a", at) + string([]byte{byte(c)}) + strings.Repeat("z", 20-at)
			written, read := at, at
			if isPlain[c] {
				written = len(text)
			}
			if !special[c] {
				read = len(text)
			}
			if IsASCII(text) != (c < 0x80) {
				t.Errorf("byte %#02x at %d: ASCII is %t", c, at, IsASCII(text))
			}
			s := scanner{text: text}
			if s.literal(); plainPrefix(text) != written || s.pos != read {
				t.Errorf("byte %#02x at %d: %d bytes are written as they are, %d read, want %d, %d", c, at, plainPrefix(text), s.pos, written, read)
			}
		}
	}
}
