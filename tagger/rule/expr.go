package rule

import (
	"net/netip"
	"strconv"
	"strings"
)

type op uint8

const (
	opTest    op = iota // a leaf
	opAnd               // all parts; true if there are none
	opOr                // any part; false if there are none
	opNot               // the only part is false
	opAtLeast           // n parts or more
)

// expr is what a rule asks of an event: a tree of tests.
type expr struct {
	name  string // of the selection, for explanations; "" if it is none
	op    op
	n     int
	parts []*expr
	test  *test
}

func leaf(t test) *expr          { return &expr{op: opTest, test: &t} }
func not(e *expr) *expr          { return &expr{op: opNot, parts: []*expr{e}} }
func allOf(parts ...*expr) *expr { return join(opAnd, parts) }
func anyOf(parts ...*expr) *expr { return join(opOr, parts) }
func join(o op, p []*expr) *expr {
	if len(p) == 1 {
		return p[0]
	}
	return &expr{op: o, parts: p}
}

// each calls f for every test in e.
func (e *expr) each(f func(*test)) {
	if e.op == opTest {
		f(e.test)
	}
	for _, part := range e.parts {
		part.each(f)
	}
}

type how uint8

// How a test compares. The first four compare with a text.
const (
	contains how = iota
	startsWith
	endsWith
	equals
	matches
	inNetwork
	less
	lessOrEqual
	greater
	greaterOrEqual
	exists
	missing
	isNull
	oneOf       // any of several tests of the first four sorts; only the compiler makes it
	refContains // the four comparisons, with the values of another field
	refStartsWith
	refEndsWith
	refEquals
)

// anyText is the field of a keyword: all text of the event.
const anyText = ""

// key is what makes two tests the same.
type key struct {
	field  string
	strict bool // only a JSON string counts, as DECNET has it
	how    how
	cased  bool
	text   string // what to compare with: a text, a pattern, a network, a number, a field
}

// test asks one thing of one field. It is true if it is of any of the values
// that the field has.
type test struct {
	key
	pattern *pattern     // matches
	network netip.Prefix // inNetwork
	number  float64      // less … greaterOrEqual
}

// isPlain reports whether t is true wherever its literal is seen in its place.
func (t *test) isPlain() bool { return t.how <= equals && t.text != "" && !t.cased }

func numberTest(field string, h how, text string) (*expr, error) {
	n, ok := decimal(text)
	if !ok {
		return nil, faultf("detection", "%s: %q is not a number", field, text)
	}
	return leaf(test{key: key{field: field, how: h, text: text}, number: n}), nil
}

func networkTest(field, text string) (*expr, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, faultf("detection", "%s: %w", field, err)
	}
	return leaf(test{key: key{field: field, how: inNetwork, text: text}, network: p.Masked()}), nil
}

// textTest compares with a text of the rule; h is one of the first four.
func textTest(field string, h how, s string, cased bool) *expr {
	if s == "" && h != equals {
		h = exists // every value contains, begins and ends with nothing
	}
	return leaf(test{key: key{field: field, how: h, cased: cased, text: s}})
}

// decimal reads a finite decimal number. What else package strconv takes for
// one, such as "inf" and 0x1p4, is text.
func decimal(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}
