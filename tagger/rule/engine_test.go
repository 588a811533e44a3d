package rule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// definitions reads the rules of testdata without compiling them.
func definitions(t testing.TB) []*definition {
	t.Helper()
	src := Source{"testdata", os.DirFS("testdata")}
	names, _ := src.Files()
	var files []*File
	for _, name := range names {
		files = append(files, src.Read(name, nil))
	}
	rules, _ := unique(files)
	return rules
}

func corpus(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/lines.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// split is a cheap stand-in for a shell parser: what matters here is that both
// sides see the same records.
func split(line string) []shell.Command {
	var list []shell.Command
	for _, part := range strings.FieldsFunc(line, func(r rune) bool { return r == ';' || r == '|' || r == '&' }) {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		c := shell.Command{Text: strings.Join(words, " "), Program: words[0], Args: words[1:], ParentProgram: "sudo"}
		if i := slices.Index(words, ">"); i >= 0 {
			c.Writes = words[i+1:]
		}
		list = append(list, c)
	}
	return list
}

func splitter() func(string) []shell.Command { return split }

// FuzzEngineAgreesWithOracle holds the engine, with and without a memo, against
// an evaluator that has no index.
func FuzzEngineAgreesWithOracle(f *testing.F) {
	rules := definitions(f)
	slices.SortStableFunc(rules, func(a, b *definition) int { return strings.Compare(a.ID, b.ID) })
	sets := []struct {
		name   string
		set    *Set
		expand func(string) []shell.Command
	}{
		{"split", newSet(Options{Expand: splitter}, rules), split},
		{"split, memo", newSet(Options{Expand: splitter, Memo: 64}, rules), split},
		{"shell", newSet(Options{Expand: shell.Expander}, rules), shell.Expander()},
	}
	for _, line := range corpus(f) {
		f.Add(line, "root", "/../../x")
	}
	f.Add("FIND / -perm -u=\u017f", "ROOT", "%252e%252e/%2e%2e/\xff")
	f.Add("find / -perm -u=s\n", "", "={{")
	kinds := []ttp.Kind{ttp.Command, ttp.HTTPRequest, ttp.AuthAttempt, ttp.Session, ttp.Email, ttp.Payload}
	f.Fuzz(func(t *testing.T, line, user, url string) {
		ev := ttp.Event{Payload: ttp.Object{
			{Name: "command_text", Value: ttp.Quote(line)},
			{Name: "user", Value: ttp.Quote(user)},
			{Name: "raw_url", Value: ttp.Quote(url)},
			{Name: "method", Value: `"GET"`},
			{Name: "headers", Value: ttp.Value(ttp.Object{{Name: "User-Agent", Value: ttp.Quote(user)}}.AppendJSON(nil))},
			{Name: "file_name", Value: ttp.Quote(url)},
			{Name: "payload_text", Value: ttp.Quote(line)},
			{Name: "lists", Value: ttp.Strings([]string{line, user, url})},
			{Name: "fail_count", Value: ttp.Quote(user)},
			{Name: "src", Value: ttp.Quote(url)},
			{Name: "service", Value: ttp.Quote(line)},
		}}
		for _, ev.Kind = range kinds {
			for _, s := range sets {
				want := oracle(rules, s.expand, &ev)
				for range 2 {
					findings, err := s.set.Tag(t.Context(), &ev)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(want, ruleIDs(findings)); d != "" {
						t.Fatalf("%s, %s: %q %q %q (-oracle +engine):\n%s", ev.Kind, s.name, line, user, url, d)
					}
				}
			}
		}
	})
}

// FuzzLoad: no rule file makes the loader panic, and what it loads can be used.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"own/commands.yaml", "own/events.yaml", "decnet/commands.yaml", "sigma/lnx_auditd_binary_padding.yml"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		set, problems := loadText(Options{Expand: splitter}, text)
		for _, p := range problems {
			if p.Error() == "" {
				t.Error("a problem without a text")
			}
		}
		set.Test()
		for _, kind := range set.Kinds() {
			_, _ = set.Tag(t.Context(), &ttp.Event{Kind: kind, Payload: ttp.Object{{Name: "command_text", Value: `"id; x"`}}})
		}
	})
}

func TestEventWithoutAFindingAllocatesNothing(t *testing.T) {
	for name, o := range map[string]Options{
		"lines": {}, "commands": {Expand: shell.Expander}, "memo": {Expand: shell.Expander, Memo: 64},
	} {
		set, problems := Load(o, Source{"builtin", os.DirFS("../builtin")}, Source{"testdata", os.DirFS("testdata")})
		if problems != nil {
			t.Fatal(problems)
		}
		for _, ev := range []*ttp.Event{
			{Kind: ttp.Command, Payload: payload(t, `{"command_text":"cd projects; make -j2 all > build.log 2>&1 && git status","user":"bob","pwd":"/srv","id":"x"}`)},
			{Kind: ttp.HTTPRequest, Payload: payload(t, `{"raw_url":"/index.html?a=b","method":"GET","user_agent":"Mozilla/5.0"}`)},
		} {
			if got := ruleIDs(mustTag(t, set, ev)); got != nil {
				t.Fatalf("%s: %q", ev.Kind, got)
			}
			s := newScratch(set.matchers[ev.Kind]) // the pool drops some of them under the race detector
			allocs := testing.AllocsPerRun(200, func() {
				s.recall(ev)
				s.idle()
			})
			if allocs > 0 {
				t.Errorf("%s, %s: %v allocations", name, ev.Kind, allocs)
			}
		}
	}
}

func TestRememberedOutcomeDependsOnAllThatRulesRead(t *testing.T) {
	t.Parallel()
	calls := 0
	set := bundled(t, Options{Memo: 8, Expand: func() func(string) []shell.Command {
		return func(line string) []shell.Command {
			calls++
			return split(line)
		}
	}})
	event := func(line, user, pwd string) *ttp.Event {
		return &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{
			{Name: "id", Value: ttp.Quote(fmt.Sprint(calls))},
			{Name: "command_text", Value: ttp.Quote(line)},
			{Name: "user", Value: ttp.Quote(user)},
			{Name: "pwd", Value: ttp.Quote(pwd)},
		}}
	}
	for _, c := range []struct {
		line, user, pwd string
		want            []string
		calls           int
	}{
		{"id", "root", "/Root", []string{"O0002", "O0004"}, 1},
		{"id", "root", "/Root", []string{"O0002", "O0004"}, 1},
		{"id", "bob", "/Root", []string{"O0002"}, 2},
		{"id", "bob", "/Root", []string{"O0002"}, 2},
		{"x", "bob", "/Root", nil, 3},
		{"x", "bob", "/Root", nil, 3},
	} {
		if d := cmp.Diff(c.want, ruleIDs(mustTag(t, set, event(c.line, c.user, c.pwd)))); d != "" {
			t.Errorf("%+v: %s", c, d)
		}
		if calls != c.calls {
			t.Errorf("%+v: the line was taken apart %d times", c, calls)
		}
	}
	if got := mustTag(t, set, event("id", "bob", "/Root"))[0].Evidence.Text("match"); got != "id" {
		t.Errorf("remembered match %q, want %q", got, "id")
	}
}

func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{Memo: 8})
	for i := range 100 {
		mustTag(t, set, command(fmt.Sprint("echo ", i)))
	}
	m := set.matchers[ttp.Command].memo
	if n := len(m.recent) + len(m.old); n > 8 || n < 4 {
		t.Errorf("%d outcomes are remembered, want 4 to 8", n)
	}
	mustTag(t, set, command(strings.Repeat("x", maxMemoKey)))
	for key := range m.recent {
		if len(key) > maxMemoKey+64 {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{Expand: shell.Expander, Memo: 32})
	lines := corpus(t)
	want := make([][]string, len(lines))
	for i, line := range lines {
		want[i] = ruleIDs(mustTag(t, set, command(line)))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, line := range lines {
				findings, err := set.Tag(t.Context(), command(line))
				if d := cmp.Diff(want[i], ruleIDs(findings)); d != "" || err != nil {
					t.Errorf("%q: %v %s", line, err, d)
				}
			}
		})
	}
	wg.Wait()
}

func TestRulesWithoutALiteralAreNamed(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, strings.Join([]string{
		strings.Replace(sigmaRule("{s: {a|re: '[a-z]+'}, condition: s}"), "X1", "X1", 1),
		strings.Replace(sigmaRule("{s: {a|re: '[a-z]+', b: x}, condition: s}"), "X1", "X2", 1),
		strings.Replace(sigmaRule("{s: {a: x}, condition: not s}"), "X1", "X3", 1),
	}, "\n---\n"))
	var got []string
	for _, info := range set.Rules() {
		got = append(got, fmt.Sprint(info.ID, " ", info.Unindexed))
	}
	if d := cmp.Diff([]string{"X1 true", "X2 false", "X3 true"}, got); d != "" {
		t.Error(d)
	}
}
