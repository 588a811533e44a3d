package rule

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dlclark/regexp2"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// oracle says which of the rules match an event, slowly and obviously: no
// index, no table, no memo, every test of every rule on every record.
func oracle(rules []*definition, expand func(string) []shell.Command, ev *ttp.Event) []string {
	records := []event{{payload: ev.Payload}}
	if ev.Kind == ttp.Command {
		line := ev.Payload.Text("command_text", "text", "command", "cmd", "CommandLine")
		records[0].line = line
		if expand != nil && line != "" {
			for _, c := range expand(line) {
				records = append(records, event{payload: ev.Payload, line: line, simple: &c})
			}
		}
	}
	var ids []string
	for _, d := range rules {
		e := d.detect[ev.Kind]
		if d.Status != Loaded || e == nil {
			continue
		}
		holds := func(r event) bool { return oracleHolds(e, ev.Kind, &r) }
		if slices.ContainsFunc(records, holds) {
			ids = append(ids, d.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func oracleHolds(e *expr, kind ttp.Kind, r *event) bool {
	if e.op == opTest {
		return oracleTest(e.test, kind, r)
	}
	n := 0
	for _, part := range e.parts {
		if oracleHolds(part, kind, r) {
			n++
		}
	}
	switch e.op {
	case opAnd:
		return n == len(e.parts)
	case opNot:
		return n == 0
	case opAtLeast:
		return n >= e.n
	}
	return n > 0
}

func oracleTest(t *test, kind ttp.Kind, r *event) bool {
	var v values
	fieldOf(kind, t.field, t.strict).read(r, &v)
	switch t.how {
	case exists:
		return v.present
	case missing, isNull:
		return !v.present
	}
	others := []string{t.text}
	if t.how >= refContains {
		var o values
		fieldOf(kind, t.text, false).read(r, &o)
		others = o.list
	}
	for _, value := range v.list {
		for _, other := range others {
			if oracleCompare(t, value, other) {
				return true
			}
		}
	}
	return false
}

func oracleCompare(t *test, value, other string) bool {
	switch t.how {
	case matches:
		return oracleSearch(other, value)
	case inNetwork:
		addr, err := netip.ParseAddr(value)
		return err == nil && netip.MustParsePrefix(other).Contains(addr)
	case less, lessOrEqual, greater, greaterOrEqual:
		if !regexp.MustCompile(`^\s*[0-9+.eE-]+\s*$`).MatchString(value) {
			return false
		}
		a, err1 := strconv.ParseFloat(strings.TrimSpace(value), 64)
		b, err2 := strconv.ParseFloat(other, 64)
		return err1 == nil && err2 == nil &&
			map[how]bool{less: a < b, lessOrEqual: a <= b, greater: a > b, greaterOrEqual: a >= b}[t.how]
	}
	if !t.cased {
		value, other = slowFold(value), slowFold(other)
	}
	switch t.how {
	case contains, refContains:
		return strings.Contains(value, other)
	case startsWith, refStartsWith:
		return strings.HasPrefix(value, other)
	case endsWith, refEndsWith:
		return strings.HasSuffix(value, other)
	}
	return value == other
}

func oracleSearch(source, value string) bool {
	if python, ok := strings.CutPrefix(source, "python:"); ok {
		const word = `[_\p{L}\p{N}]` // \b knows all scripts there
		source = strings.ReplaceAll(fromPython(python), `\b`, `(?:(?<=`+word+`)(?!`+word+`)|(?<!`+word+`)(?=`+word+`))`)
	}
	if re, err := regexp.Compile(source); err == nil {
		return re.MatchString(value)
	}
	found, err := regexp2.MustCompile(source, regexp2.None).MatchString(value)
	return err == nil && found
}

// slowFold writes every rune as the least of those that it is equal to.
func slowFold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}
