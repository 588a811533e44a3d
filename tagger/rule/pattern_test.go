package rule

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

// samples are expressions of the shapes that rules have.
var samples = []string{
	`abc`, `(?i)abc`, `a.c`, `^abc$`, `\bnc\s+-e\b`, `(?m)^x$`, `a{2,4}b`, `(?:wget|curl)\s.*https?://`,
	`[^a-z]+x`, `a|b|`, ``, `(a|b)*c`, `\Bx\B`, `(?is)\Aab.*\z`, `x*`, `\w+\.\w{2,3}$`, `(?i)k+s`, `\x{e9}`,
	`-perm\s+[-/]?(u\+?=?s|[246]000)`, `$`, `^`, `\z`, `a\b`, `\b`, `[[:^ascii:]]`, `(^|;)id($|;)`, `é+`,
}

func FuzzPatternAgreesWithPackageRegexp(f *testing.F) {
	for _, p := range samples {
		for _, text := range []string{"", "abc", "xABCx", "nc -e /bin/sh", "a\nx\nb", "wget -q http://x", "é", "\u212aſ", "id;x", "find -perm -4000", "\xff"} {
			f.Add(p, text)
		}
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		re, err := regexp.Compile(source)
		if err != nil || len(source) > 200 {
			return
		}
		p, err := newPattern(source)
		if err != nil {
			t.Fatalf("newPattern(%q): %v", source, err)
		}
		got, err := find(p, text)
		if want := re.MatchString(text); err != nil || got != want {
			t.Fatalf("search(%q) for %q is %t, %v; package regexp says %t", text, source, got, err, want)
		}
		for _, group := range p.groups {
			if got && !slices.ContainsFunc(group.texts, func(s string) bool { return group.place().compare(fold(text), s) }) {
				t.Fatalf("%q matches %q without any of %q", source, text, group.texts)
			}
		}
	})
}

func TestRequiredLiterals(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`abc`:                       "abc",
		`(?i)ABC\s+def`:             "abc | def",
		`(?:wget|curl)\s+https?://`: "http://, https:// | wget, curl",
		`a(b|c)d`:                   "abd, acd",
		`(?i)[ks]x`:                 "kx, sx",
		`(abc)+`:                    "abc",
		`(abc)*`:                    "",
		`(abc)?d`:                   "d",
		`a{2,3}b`:                   "aab",
		`(foo.*bar|baz)`:            "foo, baz",
		`(foo|.*)`:                  "",
		`\bwho\b.`:                  "who",
		`[a-z]{3}`:                  "",
		`x\x{FFFD}yz`:               "",
		`abcx|abc`:                  "abc",
		`^(abc|abx).`:               "starts with abc, abx",
		`(^ab|^abc)$`:               "is ab, abc",
		`(^|;)ab`:                   "ab",
		`(^a)?b`:                    "b",
		`a(^b)?`:                    "a",
		`^\s*ab`:                    "ab",
		`.ab(?:\n?\z)`:              "ends with ab, ab\n",
		`^a.*b$`:                    "starts with a",
		`(?m)^ab$`:                  "ab",
		`(^ab.|cd)`:                 "ab, cd",
		`^(?:ab.|cd)`:               "ab, cd",
	} {
		re, err := syntax.Parse(source, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		var groups []string
		for _, g := range required(re) {
			texts := strings.Join(g.texts, ", ")
			if g.place() != contains {
				texts = hows[g.place()] + " " + texts
			}
			groups = append(groups, texts)
		}
		if got := strings.Join(groups, " | "); got != want {
			t.Errorf("%q requires %q, want %q", source, got, want)
		}
	}
}

func TestLookAroundKeepsTheLiterals(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`curl(?!ftp[)(])\s`: `curl(?:)\s`,
		`(?<=a(b))x`:        `(?:)x`,
		`(a|b)\1c`:          `(a|b)(?s:.*)c`,
		`(?>abc)`:           `(?:abc)`,
		`[(?=]x`:            `[(?=]x`,
		`\(?=x`:             `\(?=x`,
	} {
		if got := relax(source); got != want {
			t.Errorf("relax(%q) is %q, want %q", source, got, want)
		}
	}
}

func TestPythonPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{`a\sb`, "a\u00a0b", true},
		{`a\sb`, "a\u0085b", true},
		{`a\sb`, "a\x1cb", true},
		{`a[\s;]b`, "a\u2003b", true},
		{`a\Sb`, "a\u00a0b", false},
		{`a\Sb`, "axb", true},
		{`^\w+$`, "né名_1", true},
		{`\d`, "٣", true},
		{`\D`, "٣", false},
		{`x$`, "x\n", true},
		{`x$`, "x\ny", false},
		{`x\Z`, "x\n", false},
		{`(?m)x$`, "x\ny", true},
		{`a{,2}b`, "aaab", true},
		{`^a{,2}b`, "aaab", false},
		{`[$]x`, "$x", true},
		{`\$x`, "$x", true},
		{`(?P<n>a)(?=b)`, "ab", true},
		{`(?i)STRASSE`, "ſtraſſe", true},
		{`a(?!b)`, "ab", false},
		{`a(?=\s)`, "a\x1d", true},
		{`a(?=\w|$)`, "aé", true},
		{`a(?=$)`, "a\n", true},
		{`\bwget\b`, "éwget", false},
		{`\bwget\b`, "wget名", false},
		{`\bwget\b`, "→wget、x", true},
		{`\Bx`, "éx", true},
		{`\bx\b`, "x_é", false},
		{`[^\W\d_]\d`, "é٣", true},
		{`[^\W\d_]`, "_٣", false},
		{`[\W]`, "é", false},
		{`[\W]`, "‿", true},
		{`[\Wx]y`, "→y", true},
		{`^[\S]$`, "\u00a0", false},
		{`^[\S]$`, "é", true},
		{`[\D]`, "٣", false},
		{`(?a)\w`, "é", false},
		{`(?a)\bx`, "éx", true},
		{`(?ia)[\W]X`, "éx", true},
		{`(?a)[^\s]`, "\u00a0", true},
		{`(?u)\w`, "é", true},
		{`(?P<q>["'])x(?P=q)`, `"x"`, true},
		{`(?P<q>["'])x(?P=q)`, `"x'`, false},
		{`\bx\b`, "٣x", false},
	} {
		p, err := newPythonPattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		if got, err := find(p, c.text); err != nil || got != c.want {
			t.Errorf("search(%q) for %q is %t, %v", c.text, c.pattern, got, err)
		}
	}
}

// find searches without a bound.
func find(p *pattern, text string) (bool, error) {
	budget := 1 << 40
	return p.search(text, &budget)
}

func TestLargeExpressionsAreSearchedWithoutATable(t *testing.T) {
	t.Parallel()
	p, err := newPattern(`[ab]*a[ab]{14}c`)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 10_000)
	for i := range text {
		text[i] = "ab"[r.IntN(2)]
	}
	if got, _ := find(p, string(text)); got {
		t.Error("a match in a text without c")
	}
	if n := len(p.table.Load().builder.states); n > maxStates {
		t.Errorf("%d states", n)
	}
	if got, _ := find(p, string(text)+"a"+strings.Repeat("b", 14)+"c"); !got {
		t.Error("no match beyond the table")
	}
}

func TestSearchStopsAtItsBudget(t *testing.T) {
	t.Parallel()
	for _, source := range []string{`[ab]*a[ab]{14}c`, `x(?!y)a`, `abc`} {
		p, err := newPattern(source)
		if err != nil {
			t.Fatal(err)
		}
		budget := 10_000
		found, err := p.search(strings.Repeat("ab", 10_000)+"abc xa", &budget)
		if found || err != nil || budget >= 0 {
			t.Errorf("%q: %t, %v, %d of the budget is left", source, found, err, budget)
		}
	}
}

func TestTrailingLookAheadNeedsNoBacktracking(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`a(?=\s|$)`:    `a(?:\s|$)`,
		`a|b(?=(c|d))`: `a|b(?:(c|d))`,
		`a(?=b)c`:      "",
		`(a(?=b))`:     "",
		`a\(?=b)`:      "",
		`[(?=a)`:       "",
		`a(?=b)+`:      "",
	} {
		if got, _ := consumed(source); got != want {
			t.Errorf("consumed(%q) is %q, want %q", source, got, want)
		}
	}
}

func TestTableIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	p, err := newPattern(`(?i)\b(wget|curl)\b.{1,20}(x|é|日).*\d$`)
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`(?i)\b(wget|curl)\b.{1,20}(x|é|日).*\d$`)
	lines := corpus(t)
	for i, line := range lines {
		lines[i] = line + " wget é 日" + line + "1"
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range lines {
				line := lines[(i*7+j)%len(lines)]
				if got, _ := find(p, line); got != re.MatchString(line) {
					t.Errorf("search(%q) is %t", line, got)
				}
			}
		})
	}
	wg.Wait()
}

func TestAutomatonFindsEveryLiteral(t *testing.T) {
	t.Parallel()
	literals := []string{"he", "she", "his", "hers", "e", "é", "rs h"}
	var endings []ending
	for id := range literals {
		endings = append(endings, ending{literal: int32(id)})
	}
	a := newAutomaton(literals, endings)
	for i := range 70_000 { // more than 16 bits can number
		literals = append(literals, fmt.Sprintf("%05d", i))
		endings = append(endings, ending{literal: int32(len(endings))})
	}
	large := newAutomaton(literals, endings)
	if a.small == nil || large.small != nil {
		t.Fatal("numbers of the wrong size")
	}
	const text = "usHERs his é HERS"
	small, wide := findAll(a, a.small, text), findAll(large, large.large, text)
	for id, lit := range literals[:7] {
		want := strings.Count(strings.ToLower(text), lit)
		if got := small[int32(id)]; got != want {
			t.Errorf("%q was found %d times, want %d", lit, got, want)
		}
		if got := wide[int32(id)]; got != want {
			t.Errorf("%q was found %d times among many, want %d", lit, got, want)
		}
	}
}

// findAll counts what is found in a text.
func findAll[S step](a *automaton, next []S, text string) map[int32]int {
	got := make(map[int32]int)
	state := uint32(0)
	for i := range len(text) {
		if state = uint32(next[state<<a.shift|uint32(a.class[text[i]])]); state >= a.ends {
			for _, f := range a.literalsAt(state) {
				got[f.literal]++
			}
		}
	}
	return got
}

func TestFoldingPutsEqualRunesTogether(t *testing.T) {
	t.Parallel()
	for r := range rune(unicode.MaxRune + 1) {
		if foldRune(r) != foldRune(unicode.SimpleFold(r)) {
			t.Errorf("%U and %U are equal, but not folded", r, unicode.SimpleFold(r))
		}
		if least := foldRune(r); foldRune(least) != least {
			t.Errorf("%U is folded to %U, which is not folded", r, least)
		}
	}
}

func TestPattern_isSharedAsLongAsItIsInUse(t *testing.T) {
	t.Parallel()
	const source = `shared[0-9]+pattern`
	first, err := newPattern(source)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := newPattern(source); again != first {
		t.Error("the same source was compiled twice")
	}
	if other, _ := compilePattern(source, true); other == first {
		t.Error("other words, the same pattern")
	}
	runtime.KeepAlive(first)
	for start := time.Now(); ; runtime.GC() { // cleanups run some time after a collection
		if _, known := patterns.Load(patternKey{source, false}); !known {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatal("a pattern that nobody has is still known")
		}
	}
}
