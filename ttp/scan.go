package ttp

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds how deep values nest. The deepest a producer sends is a
// browser fingerprint, five levels.
const maxDepth = 64

var errUTF8 = errors.New("not valid UTF-8")

// ParseObject reads text, which must be one JSON object and nothing else, in
// one pass: the whole of it is checked (RFC 8259, valid UTF-8, at most 64
// levels deep), its own members are split off, what is inside them is not.
// The members share memory with text. An error is permanent.
func ParseObject(text string) (Object, error) {
	o := make(Object, 0, 12)
	err := readObject(text, func(name string, value Value) { o = append(o, Member{name, value}) })
	if err != nil {
		return nil, err
	}
	return o, nil
}

// CheckObject returns the error that [ParseObject] would.
func CheckObject(text string) error { return readObject(text, nil) }

func readObject(text string, each func(name string, value Value)) error {
	s := scanner{text: text}
	return s.only(each)
}

// only reads an object and checks that it is all there is.
func (s *scanner) only(each func(name string, value Value)) error {
	text := s.text
	if !utf8.ValidString(text) {
		return Permanent(errUTF8)
	}
	s.space()
	if s.pos >= len(text) || text[s.pos] != '{' {
		return Permanent(errors.New("not a JSON object"))
	}
	s.object(each)
	s.space()
	if s.err == nil && s.pos < len(text) {
		s.fail("text after the object")
	}
	if s.err != nil {
		return Permanent(s.err)
	}
	return nil
}

// scanner walks JSON text. After an error it stands still and every step is a
// no-op, so that only the end need look at err.
type scanner struct {
	text  string
	pos   int
	depth int
	err   error

	wrapped *Wrapped // nil unless the payload is to be split off, too
}

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("not valid JSON at byte %d: %s", s.pos, what)
	}
	s.pos = len(s.text)
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// document reads one value and checks that nothing follows it.
func (s *scanner) document() (Value, error) {
	s.space()
	v := s.value()
	s.space()
	if s.err == nil && s.pos < len(s.text) {
		s.fail("text after the value")
	}
	return v, s.err
}

// value reads one value and returns its text.
func (s *scanner) value() Value {
	start := s.pos
	if start >= len(s.text) {
		s.fail("value expected")
		return ""
	}
	switch c := s.text[start]; {
	case c == '"':
		s.quoted()
	case c == '{':
		s.object(nil)
	case c == '[':
		s.array(nil)
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	default:
		s.number()
	}
	if s.err != nil {
		return ""
	}
	return Value(s.text[start:s.pos])
}

// maxMembers bounds the members of one object: in memory each takes many times
// the bytes that it has in the text.
const maxMembers = 1 << 16

// object reads an object and hands each member to each, if that is not nil.
func (s *scanner) object(each func(name string, value Value)) {
	s.open()
	s.space()
	if s.take('}') {
		s.depth--
		return
	}
	for n := 1; s.err == nil; n++ {
		if n > maxMembers {
			s.fail("an object may have 65,536 members")
		}
		s.space()
		name := s.quoted()
		s.space()
		if !s.take(':') {
			s.fail("':' expected")
		}
		s.space()
		v := s.member(name)
		if s.err == nil && each != nil {
			n, _ := name.Text()
			each(n, v)
		}
		if s.closed('}') {
			return
		}
	}
}

// member reads the value of a member.
func (s *scanner) member(name Value) Value {
	if s.wrapped == nil || s.depth > 1 || name != `"payload"` || s.pos >= len(s.text) || s.text[s.pos] != '{' {
		return s.value()
	}
	start, payload := s.pos, make(Object, 0, 8)
	s.object(func(name string, value Value) { payload = append(payload, Member{name, value}) })
	v := Value(s.text[start:s.pos])
	s.wrapped.payload, s.wrapped.text = payload, v
	return v
}

// array reads an array and hands each element to each, if that is not nil.
func (s *scanner) array(each func(element Value)) {
	s.open()
	s.space()
	if s.take(']') {
		s.depth--
		return
	}
	for s.err == nil {
		s.space()
		v := s.value()
		if s.err == nil && each != nil {
			each(v)
		}
		if s.closed(']') {
			return
		}
	}
}

// open steps over the opening bracket.
func (s *scanner) open() {
	s.pos++
	s.depth++
	if s.depth > maxDepth {
		s.fail(fmt.Sprintf("more than %d levels deep", maxDepth))
	}
}

// closed steps over the closing bracket or the comma before the next part.
func (s *scanner) closed(bracket byte) bool {
	s.space()
	if s.take(bracket) {
		s.depth--
		return true
	}
	if !s.take(',') {
		s.fail("',' or the end expected")
	}
	return false
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) word(w string) {
	if len(s.text)-s.pos < len(w) || s.text[s.pos:s.pos+len(w)] != w {
		s.fail("unknown word")
		return
	}
	s.pos += len(w)
}

// quoted reads a string and returns it with its quotes.
func (s *scanner) quoted() Value {
	start := s.pos
	if !s.take('"') {
		s.fail("string expected")
		return ""
	}
	for {
		s.literal()
		switch {
		case s.pos >= len(s.text):
			s.fail("string without an end")
			return ""
		case s.text[s.pos] == '"':
			s.pos++
			return Value(s.text[start:s.pos])
		case s.text[s.pos] == '\\':
			s.escape()
		default:
			s.fail("control character in a string")
		}
	}
}

// literal steps over what stands for itself in a string. Most of the bytes of a
// message are looked at here.
func (s *scanner) literal() {
	text, at := s.text, s.pos
	for at+8 <= len(text) && eightBytes(text[at:]).isLiteral() {
		at += 8
	}
	for at < len(text) && !special[text[at]] {
		at++
	}
	s.pos = at
}

// special are the bytes that a string cannot have as they are, or end with.
var special = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	set['"'], set['\\'] = true, true
	return set
}()

func (s *scanner) escape() {
	if s.pos+1 >= len(s.text) {
		s.fail("string without an end")
		return
	}
	switch s.text[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
	case 'u':
		if !startsHex4(s.text[s.pos+2:]) {
			s.fail("bad \\u escape")
			return
		}
		s.pos += 6
	default:
		s.fail("unknown escape")
	}
}

func startsHex4(text string) bool {
	if len(text) < 4 {
		return false
	}
	for i := range 4 {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// number reads what RFC 8259 calls one: -? int frac? exp?
func (s *scanner) number() {
	s.take('-')
	if !s.take('0') && !s.digits() {
		s.fail("value expected")
		return
	}
	if s.take('.') && !s.digits() {
		s.fail("digit expected")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			s.fail("digit expected")
		}
	}
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}
