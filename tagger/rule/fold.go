package rule

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// Case does not count where two runes are equal under Unicode simple folding,
// as it is with (?i) in a regular expression: K, k and the Kelvin sign are one.

// foldRune returns the rune that stands for all that r is equal to; for an
// ASCII letter the lower-case one.
func foldRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	case r < foldTableSize:
		return foldTable()[r]
	case r < 0xA640, r >= 0xABC0 && r < 0xFB00, r >= 0xFF5B && r < 0x10400:
		return r // scripts without case, which are most of what is left
	}
	return leastFold(r)
}

// foldTable is leastFold of the scripts that have case and are met at all.
var foldTable = sync.OnceValue(func() *[foldTableSize]rune {
	var table [foldTableSize]rune
	for r := range table {
		table[r] = leastFold(rune(r))
	}
	return &table
})

const foldTableSize = 0x3000

func leastFold(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if 'A' <= least && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

// appendFolded appends s with every rune folded. Bytes that are no UTF-8 stay.
func appendFolded(dst []byte, s string) []byte {
	from := 0 // what is not appended yet stays as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				dst = append(append(dst, s[from:i]...), c+'a'-'A')
				from = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if folded := foldRune(r); folded != r {
			dst = utf8.AppendRune(append(dst, s[from:i]...), folded)
			from = i + n
		}
		i += n
	}
	return append(dst, s[from:]...)
}

// maxUnfolded is how many bytes a text can have for each byte that it has once it
// is folded: three of the Kelvin sign are a k.
const maxUnfolded = 3

func fold(s string) string { return string(appendFolded(nil, s)) }

// foldedLen returns the length of s folded.
func foldedLen(s string) (n int) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			n++
		} else {
			n += utf8.RuneLen(foldRune(r))
		}
		i += size
	}
	return n
}
