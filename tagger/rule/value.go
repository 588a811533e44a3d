package rule

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf16"
)

// wildcard is a text with holes in it: texts[0] holes[0] texts[1] and so on.
type wildcard struct {
	texts []string
	holes []byte // anyRunes, oneRune or anyDash
}

const (
	anyRunes = '*'
	oneRune  = '?'
	anyDash  = '-'
)

// dashes are what the modifier windash takes for one another.
const dashes = `[-/–—―]`

// parseWildcard reads a Sigma value: * and ? are wildcards, a backslash in
// front of them or of another backslash takes their meaning away.
func parseWildcard(s string) wildcard {
	var w wildcard
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\*?`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case c == anyRunes || c == oneRune:
			w.cut(b.String(), c)
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	w.texts = append(w.texts, b.String())
	return w
}

func plain(s string) wildcard { return wildcard{texts: []string{s}} }

func (w *wildcard) cut(text string, hole byte) {
	w.texts = append(w.texts, text)
	w.holes = append(w.holes, hole)
}

// isPlain reports whether w is one text without holes.
func (w wildcard) isPlain() bool { return len(w.holes) == 0 }

// dash is a dash or slash that stands in front of a word: an option's.
var dash = regexp.MustCompile(`\B[-/]\b`)

// windash returns w with the dashes of options open to be any dash.
func (w wildcard) windash() wildcard {
	var out wildcard
	for i, text := range w.texts {
		at := 0
		for _, span := range dash.FindAllStringIndex(text, -1) {
			out.cut(text[at:span[0]], anyDash)
			at = span[1]
		}
		out.texts = append(out.texts, text[at:])
		if i < len(w.holes) {
			out.holes = append(out.holes, w.holes[i])
		}
	}
	return out
}

// expression returns the regular expression for w, which h sets where.
func (w wildcard) expression(h how, cased bool) string {
	var b strings.Builder
	b.WriteString("(?s")
	if !cased {
		b.WriteByte('i')
	}
	b.WriteByte(')')
	if h == equals || h == startsWith {
		b.WriteString(`\A`)
	}
	for i, text := range w.texts {
		b.WriteString(regexp.QuoteMeta(text))
		if i < len(w.holes) {
			b.WriteString(holeExpression[w.holes[i]])
		}
	}
	if h == equals || h == endsWith {
		b.WriteString(`\z`)
	}
	return b.String()
}

var holeExpression = map[byte]string{anyRunes: ".*", oneRune: ".", anyDash: dashes}

// trim takes the asterisks at the ends of w into h: an equal text between two
// asterisks is one that is contained.
func (w wildcard) trim(h how) (wildcard, how) {
	if n := len(w.holes); n > 0 && w.holes[0] == anyRunes && w.texts[0] == "" {
		w = wildcard{w.texts[1:], w.holes[1:]}
		h = map[how]how{equals: endsWith, startsWith: contains, endsWith: endsWith, contains: contains}[h]
		return w.trim(h)
	}
	if n := len(w.holes); n > 0 && w.holes[n-1] == anyRunes && w.texts[n] == "" {
		w = wildcard{w.texts[:n], w.holes[:n-1]}
		h = map[how]how{equals: startsWith, endsWith: contains, startsWith: startsWith, contains: contains}[h]
		return w.trim(h)
	}
	return w, h
}

// compare returns the test that field compares with w as h says.
func (w wildcard) compare(field string, h how, cased bool) (*expr, error) {
	w, h = w.trim(h)
	if w.isPlain() {
		return textTest(field, h, w.texts[0], cased), nil
	}
	return patternTest(field, w.expression(h, cased))
}

func patternTest(field, expression string) (*expr, error) {
	p, err := newPattern(expression)
	if err != nil {
		return nil, faultf("detection", "%s: %w", field, err)
	}
	return leaf(test{key: key{field: field, how: matches, text: expression}, pattern: p}), nil
}

// base64Offsets returns what s looks like inside base64 text, at each of the
// three places it can have there. What depends on its neighbours is left off.
func base64Offsets(s string) []string {
	from := [3]int{0, 2, 3}
	upTo := [3]int{0, 3, 2}
	list := make([]string, 3)
	for i := range list {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + s))
		end := len(encoded) - upTo[(len(s)+i)%3]
		list[i] = encoded[min(from[i], end):end]
	}
	return list
}

// utf16Bytes returns s in UTF-16.
func utf16Bytes(s string, bigEndian bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}
