package ttp

import "unicode/utf8"

// word is eight bytes of a text, which are looked at at once; see
// https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord.
type word uint64

const (
	eachByte word = 0x0101010101010101
	highBits word = 0x8080808080808080
)

// eightBytes is the first eight bytes of s.
func eightBytes(s string) word {
	_ = s[7]
	return word(s[0]) | word(s[1])<<8 | word(s[2])<<16 | word(s[3])<<24 |
		word(s[4])<<32 | word(s[5])<<40 | word(s[6])<<48 | word(s[7])<<56
}

// zero has a high bit set if some byte of w is zero.
func (w word) zero() word { return (w - eachByte) &^ w }

// control has a high bit set if some byte of w is a control character of ASCII
// below the space.
func (w word) control() word { return (w - eachByte*' ') &^ w }

// isPlain reports whether all bytes are written as they are in JSON.
func (w word) isPlain() bool {
	quoteOrAnd := (w | eachByte*('"'^'&')) ^ eachByte*'&'
	lessOrGreater := (w | eachByte*('<'^'>')) ^ eachByte*'>'
	backslash := w ^ eachByte*'\\'
	fromDelete := w | (w + eachByte)
	return (quoteOrAnd.zero()|lessOrGreater.zero()|backslash.zero()|w.control()|fromDelete)&highBits == 0
}

// isLiteral reports whether all bytes stand for themselves in a string of JSON
// that is read.
func (w word) isLiteral() bool {
	quote, backslash := w^eachByte*'"', w^eachByte*'\\'
	return (quote.zero()|backslash.zero()|w.control())&highBits == 0
}

// IsASCII reports whether s is ASCII and nothing else.
func IsASCII(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if eightBytes(s)&highBits != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
