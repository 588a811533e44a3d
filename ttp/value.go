package ttp

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Value is the raw JSON text of one value, without space around it. The zero
// Value stands for an absent one; every question to it answers no.
type Value string

// AsText returns text as a string that shares its memory: the caller promises
// that nobody writes to it any more.
func AsText(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

// Quote returns s as a JSON string in ASCII.
func Quote(s string) Value {
	if plainPrefix(s) == len(s) {
		return Value(`"` + s + `"`)
	}
	return Value(AppendQuoted(make([]byte, 0, len(s)+len(s)/4+16), s))
}

// Number returns n as a JSON number.
func Number(n int64) Value { return Value(strconv.FormatInt(n, 10)) }

// Float returns f as a JSON number, or null for what JSON has no number for.
func Float(f float64) Value {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return "null"
	}
	return Value(strconv.FormatFloat(f, 'g', -1, 64))
}

// Bool returns b as JSON.
func Bool(b bool) Value { return Value(strconv.FormatBool(b)) }

// Strings returns list as a JSON array of strings.
func Strings(list []string) Value {
	dst := []byte{'['}
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(dst, s)
	}
	return Value(append(dst, ']'))
}

// IsNull reports whether v is absent or null.
func (v Value) IsNull() bool { return v == "" || v == "null" }

// IsText reports whether v is a string.
func (v Value) IsText() bool { return v != "" && v[0] == '"' }

// Text returns the string that v is, its escapes undone. Half a surrogate
// pair becomes U+FFFD. ok is false if v is not a string.
func (v Value) Text() (s string, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	body := string(v[1 : len(v)-1])
	if strings.IndexByte(body, '\\') < 0 {
		return body, true
	}
	return unescape(body), true
}

// Scalar returns v as text if it is a string, a number or a truth value.
func (v Value) Scalar() (s string, ok bool) {
	if v.IsNull() || v[0] == '{' || v[0] == '[' {
		return "", false
	}
	if v[0] == '"' {
		return v.Text()
	}
	return string(v), true
}

// Int returns v as a whole number: a JSON number without a fraction that fits
// (7 and 7.0), or a string that holds one.
func (v Value) Int() (int64, bool) {
	s, ok := v.number()
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// Float returns v as a finite number; a string that holds one counts.
func (v Value) Float() (float64, bool) {
	s, ok := v.number()
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}

// number returns the digits of a number or of a string that may hold one.
func (v Value) number() (string, bool) {
	if v == "" {
		return "", false
	}
	switch c := v[0]; {
	case c == '"':
		s, _ := v.Text()
		s = strings.TrimSpace(s)
		if s == "" || strings.ContainsAny(s, "xX_pPnN") {
			return "", false // ParseFloat would take hex, underscores and "inf"
		}
		return s, true
	case c == '-' || c >= '0' && c <= '9':
		return string(v), true
	}
	return "", false
}

// Bool returns v as a truth value: true and false, 1 and 0, and strings that
// say one of these in any case.
func (v Value) Bool() (value, ok bool) {
	s, _ := v.Scalar()
	switch strings.ToLower(s) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// Time returns v as a point in time, in UTC: epoch seconds, or a string with a
// date and a time. One without a zone is UTC.
func (v Value) Time() (time.Time, bool) {
	text, _ := v.Text()
	if at, ok := WallClock(text); ok && len(text) == len(wallClock) {
		return at, true
	}
	if seconds, ok := v.Float(); ok {
		if seconds <= 0 || seconds >= 1e11 {
			return time.Time{}, false
		}
		return time.UnixMicro(int64(seconds * 1e6)).UTC(), true
	}
	if len(text) > len(time.DateOnly) && (text[len(time.DateOnly)] == ' ' || text[len(time.DateOnly)] == 't') {
		text = text[:len(time.DateOnly)] + "T" + text[len(time.DateOnly)+1:]
	}
	for _, layout := range []string{time.RFC3339Nano, wallClock} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

const wallClock = "2006-01-02T15:04:05"

// WallClock reads the seconds of a time in UTC, 2026-05-02T06:22:48 or with a space,
// and looks at nothing behind them. It is [time.Parse] for that one layout, and
// much of the work on an event if that is used.
func WallClock(text string) (time.Time, bool) {
	if len(text) < len(wallClock) || text[10] != 'T' && text[10] != ' ' && text[10] != 't' {
		return time.Time{}, false
	}
	var parts [6]int
	for i, part := range [...]struct{ from, to int }{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		for _, c := range []byte(text[part.from:part.to]) {
			if c < '0' || c > '9' {
				return time.Time{}, false
			}
			parts[i] = 10*parts[i] + int(c-'0')
		}
	}
	if text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':' || parts[3] > 23 || parts[4] > 59 || parts[5] > 59 {
		return time.Time{}, false
	}
	at := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC)
	return at, int(at.Month()) == parts[1] && at.Day() == parts[2] // no 31st of June
}

// List returns the elements of the array that v is, or that the string v
// holds: some producers send a list as JSON in a string.
func (v Value) List() ([]Value, bool) {
	v, ok := v.nested('[')
	if !ok {
		return nil, false
	}
	var elements []Value
	s := scanner{text: string(v)}
	s.array(func(element Value) { elements = append(elements, element) })
	return elements, true
}

// Object returns the object that v is, or that the string v holds.
func (v Value) Object() (Object, bool) {
	v, ok := v.nested('{')
	if !ok {
		return nil, false
	}
	o := make(Object, 0, 8)
	s := scanner{text: string(v)}
	s.object(func(name string, value Value) { o = append(o, Member{name, value}) })
	return o, true
}

// nested returns v if it opens with bracket, or the valid JSON inside the
// string that v is if that does.
func (v Value) nested(bracket byte) (Value, bool) {
	if v == "" {
		return "", false
	}
	if v[0] == bracket {
		return v, true
	}
	inner, ok := v.Text()
	inner = strings.TrimSpace(inner)
	if !ok || inner == "" || inner[0] != bracket {
		return "", false
	}
	s := scanner{text: inner}
	if _, err := s.document(); err != nil {
		return "", false
	}
	return Value(inner), true
}

// unescape undoes the escapes of a valid JSON string body.
func unescape(body string) string {
	dst := make([]byte, 0, len(body))
	for body != "" {
		switch {
		case body[0] != '\\' || len(body) == 1:
			n := strings.IndexByte(body[1:], '\\') + 1
			if n == 0 {
				n = len(body)
			}
			dst = append(dst, body[:n]...)
			body = body[n:]
		case body[1] == 'u':
			var r rune
			r, body = unescapeRune(body[2:])
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, meaning[body[1]])
			body = body[2:]
		}
	}
	return AsText(dst)
}

// meaning is what the byte behind a backslash stands for.
var meaning = func() (bytes [256]byte) {
	for c := range bytes {
		bytes[c] = byte(c)
	}
	bytes['n'], bytes['t'], bytes['r'], bytes['b'], bytes['f'] = '\n', '\t', '\r', '\b', '\f'
	return bytes
}()

// unescapeRune reads the code point behind "\u", taking the second half of a
// surrogate pair with it.
func unescapeRune(body string) (r rune, rest string) {
	high, ok := hex4(body)
	if !ok {
		return utf8.RuneError, body
	}
	body = body[4:]
	if high < 0xD800 || high > 0xDFFF {
		return high, body
	}
	if high < 0xDC00 && strings.HasPrefix(body, `\u`) {
		if low, ok := hex4(body[2:]); ok && low >= 0xDC00 && low <= 0xDFFF {
			return (high-0xD800)<<10 + (low - 0xDC00) + 0x10000, body[6:]
		}
	}
	return utf8.RuneError, body
}

// hex4 reads four hexadecimal digits.
func hex4(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	a, b, c, d := digit[s[0]], digit[s[1]], digit[s[2]], digit[s[3]]
	return rune(a)<<12 | rune(b)<<8 | rune(c)<<4 | rune(d), a|b|c|d < 16
}

// digit is the value of a hexadecimal digit, 16 for what is none.
var digit = func() (values [256]uint8) {
	for c := range values {
		values[c] = 16
	}
	for i := range uint8(16) {
		values[hexDigits[i]], values[strings.ToUpper(hexDigits)[i]] = i, i
	}
	return values
}()

const hexDigits = "0123456789abcdef"

// AppendQuoted appends s as a JSON string in pure ASCII, so that it survives a
// database column, a terminal and a page of any character set. Invalid UTF-8
// becomes U+FFFD. "<", ">" and "&" are escaped, as encoding/json does.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return append(dst, '"')
		}
		switch c := s[0]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s)
			dst = appendEscaped(dst, r)
			s = s[size:]
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = appendEscaped(dst, rune(c))
		}
		s = s[1:]
	}
}

// plainPrefix returns how many bytes of s stand for themselves.
func plainPrefix(s string) int {
	i := 0
	for i+8 <= len(s) && eightBytes(s[i:]).isPlain() {
		i += 8
	}
	for i < len(s) && isPlain[s[i]] {
		i++
	}
	return i
}

// isPlain is the bytes that are written as they are.
var isPlain = func() (plain [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		plain[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return plain
}()

func appendEscaped(dst []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		dst = appendEscaped(dst, 0xD800+r>>10)
		r = 0xDC00 + r&0x3FF
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
