package rule

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/dlclark/regexp2"
)

// patternTimeout bounds one search of a pattern that needs backtracking. The
// others take time linear in the text.
const patternTimeout = 50 * time.Millisecond

// maxPattern bounds the length of a pattern in a rule file.
const maxPattern = 16 << 10

// pattern searches for one regular expression: by a table, or by package regexp
// if the table grows too large; with look-around or backreferences, which
// neither can do, by backtracking.
type pattern struct {
	source       string
	unicodeWords bool
	table        atomic.Pointer[table] // made when it is first asked for, as most never are
	linear       func() *regexp.Regexp
	backtracking *regexp2.Regexp // nil if the other two are set
	groups       []group         // see required
}

// What a byte costs that is not searched by a known step of a table, in bytes
// that are.
const (
	linearCost       = 32
	backtrackingCost = 64
)

var errSearch = errors.New("the search for a pattern took too long")

// patterns are those that are in use, by what they were compiled of, as weak
// pointers. A rule that is read again keeps its patterns, and so their tables.
var patterns sync.Map

type patternKey struct {
	source       string
	unicodeWords bool
}

func newPattern(source string) (*pattern, error) { return compilePattern(source, false) }

// compilePattern compiles source, if that has not been done; see newTable about
// unicodeWords.
func compilePattern(source string, unicodeWords bool) (*pattern, error) {
	key := patternKey{source, unicodeWords}
	if known, ok := patterns.Load(key); ok {
		if p := known.(weak.Pointer[pattern]).Value(); p != nil {
			return p, nil
		}
	}
	p, err := parsePattern(source, unicodeWords)
	if err != nil {
		return nil, err
	}
	known := weak.Make(p)
	patterns.Store(key, known)
	runtime.AddCleanup(p, func(key patternKey) { patterns.CompareAndDelete(key, known) }, key)
	return p, nil
}

func parsePattern(source string, unicodeWords bool) (*pattern, error) {
	if len(source) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes, at most %d are allowed", len(source), maxPattern)
	}
	re, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return newBacktracking(source, unicodeWords, err)
	}
	return &pattern{
		source: source, unicodeWords: unicodeWords,
		linear: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(source) }),
		groups: required(re),
	}, nil
}

func newBacktracking(source string, unicodeWords bool, cause error) (*pattern, error) {
	if ahead, ok := consumed(source); ok {
		return compilePattern(ahead, unicodeWords)
	}
	source = strings.ReplaceAll(source, "(?P<", "(?<")
	re, err := regexp2.Compile(source, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", cause)
	}
	re.MatchTimeout = patternTimeout
	p := &pattern{backtracking: re}
	if relaxed, err := syntax.Parse(relax(source), syntax.Perl); err == nil {
		p.groups = required(relaxed)
	}
	return p, nil
}

// search looks for a match in s and takes what that costs from budget. Once
// the budget is below zero it has not been told.
func (p *pattern) search(s string, budget *int) (bool, error) {
	if p.backtracking != nil {
		return p.backtrack(s, budget)
	}
	t := p.table.Load()
	if t == nil {
		t = p.makeTable()
	}
	if found, ok := t.search(s, budget); ok {
		return found, nil
	}
	if *budget -= linearCost * len(s); *budget < 0 {
		return false, nil
	}
	return p.linear().MatchString(s), nil
}

// makeTable makes the table. Of several that are made at once one is kept.
func (p *pattern) makeTable() *table {
	p.table.CompareAndSwap(nil, newTable(p.program(), p.unicodeWords))
	return p.table.Load()
}

// program compiles the source, which has been parsed before.
func (p *pattern) program() *syntax.Prog {
	re, err := syntax.Parse(p.source, syntax.Perl)
	if err != nil {
		panic(err) // it was parsed before
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		panic(err) // package regexp does not know how either
	}
	return prog
}

func (p *pattern) backtrack(s string, budget *int) (bool, error) {
	if *budget -= backtrackingCost * len(s); *budget < 0 {
		return false, nil
	}
	found, err := p.backtracking.MatchString(s)
	if err != nil {
		return false, fmt.Errorf("%w: %d bytes, more than %s", errSearch, len(s), patternTimeout)
	}
	return found, nil
}

// consumed returns source with the look-ahead at its very end made an ordinary
// group, which for a yes or no is the same.
func consumed(source string) (string, bool) {
	at := strings.LastIndex(source, "(?=")
	if at < 0 || groupEnd(source[at:]) != len(source)-at || !isTop(source, at) {
		return "", false
	}
	return source[:at] + "(?:" + source[at+len("(?="):], true
}

// isTop reports whether what stands at the index is in no group and its own
// token, neither escaped nor in brackets.
func isTop(source string, at int) bool {
	depth, i := 0, 0
	for i < at {
		switch source[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		i += tokenEnd(source[i:])
	}
	return i == at && depth == 0
}

// relax takes out of a pattern what package syntax does not know, so that the
// rest still tells which literals a match contains: a text that matches the
// pattern matches the relaxed one, too.
func relax(source string) string {
	var b strings.Builder
	for i := 0; i < len(source); {
		rest := source[i:]
		switch {
		case lookAround(rest):
			i += groupEnd(rest)
			b.WriteString(`(?:)`)
		case strings.HasPrefix(rest, `(?>`):
			i += len(`(?>`)
			b.WriteString(`(?:`)
		case len(rest) > 1 && rest[0] == '\\' && rest[1] >= '1' && rest[1] <= '9':
			i += 2
			b.WriteString(`(?s:.*)`)
		default:
			n := tokenEnd(rest)
			b.WriteString(rest[:n])
			i += n
		}
	}
	return b.String()
}

func lookAround(s string) bool {
	for _, open := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.HasPrefix(s, open) {
			return true
		}
	}
	return false
}

// groupEnd returns the length of the group that s begins with.
func groupEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i += tokenEnd(s[i:]) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// tokenEnd returns the length of the token that s begins with: an escape, a
// bracket expression, or one byte.
func tokenEnd(s string) int {
	switch s[0] {
	case '\\':
		return min(2, len(s))
	case '[':
		return classEnd(s)
	}
	return 1
}

func classEnd(s string) int {
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		i++
	}
	if strings.HasPrefix(s[i:], "]") {
		i++ // a bracket in the first place is one of the class
	}
	for i < len(s) && s[i] != ']' {
		if s[i] == '\\' {
			i++
		}
		i++
	}
	return min(i+1, len(s))
}
