package shell

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unescape undoes the backslashes of an unquoted word.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescapeQuoted undoes the backslashes that mean something between double quotes.
func unescapeQuoted(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0 {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const simpleEscapes = "abefnrtv"

var simpleMeanings = [...]byte{'\a', '\b', 0x1b, '\f', '\n', '\r', '\t', '\v'}

// unescapeC undoes the escapes of $'…', printf and echo -e.
func unescapeC(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = escapeC(&b, s[i+1:])
	}
}

// escapeC writes what one escape stands for, s starting behind its backslash,
// and returns the rest of s.
func escapeC(b *strings.Builder, s string) string {
	c := s[0]
	if i := strings.IndexByte(simpleEscapes, c); i >= 0 {
		b.WriteByte(simpleMeanings[i])
		return s[1:]
	}
	switch {
	case c == 'x':
		return escapeNumber(b, s, s[1:], 16, 2)
	case c == 'u':
		return escapeNumber(b, s, s[1:], 16, 4)
	case c == 'U':
		return escapeNumber(b, s, s[1:], 16, 8)
	case c == '0':
		return escapeNumber(b, s, s, 8, 4)
	case c >= '1' && c <= '7':
		return escapeNumber(b, s, s, 8, 3)
	case c == '\\' || c == '\'' || c == '"' || c == '?':
		b.WriteByte(c)
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
	return s[1:]
}

// escapeNumber writes the byte or the code point that digits begin with, at
// most limit of them. Without any digit the escape stands for itself.
func escapeNumber(b *strings.Builder, escape, digits string, base, limit int) string {
	n := 0
	for n < limit && n < len(digits) && isDigit(digits[n], base) {
		n++
	}
	if n == 0 {
		b.WriteByte('\\')
		b.WriteByte(escape[0])
		return escape[1:]
	}
	v, _ := strconv.ParseUint(digits[:n], base, 32)
	if limit == 2 || base == 8 {
		b.WriteByte(byte(v))
	} else {
		b.WriteString(string(utf8.AppendRune(nil, rune(v))))
	}
	return digits[n:]
}

func isDigit(c byte, base int) bool {
	switch {
	case c >= '0' && c <= '7':
		return true
	case base == 8:
		return false
	}
	return c == '8' || c == '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unsetInName is a variable between the letters of a command's name.
var unsetInName = regexp.MustCompile(`(\w)\$\{\w+\}(\w)`)

// dropUnset takes the variables that nobody assigned out of a command's name:
// who${x}ami runs whoami.
func dropUnset(name string) string { return unsetInName.ReplaceAllString(name, "$1$2") }
