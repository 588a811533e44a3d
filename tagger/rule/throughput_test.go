package rule_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"ttp-worker/internal/corpus"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// memoSize is that of the program.
const memoSize = 16_384

// stream is what real attackers typed, in order.
func stream(tb testing.TB) []*ttp.Event {
	tb.Helper()
	data, err := os.ReadFile("../../cmd/ttp-worker/demodata/honeypot-commands.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	var events []*ttp.Event
	for line := range strings.Lines(string(data)) {
		var entry struct{ Input string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			tb.Fatal(err)
		}
		events = append(events, commandEvent(entry.Input))
	}
	return events
}

func distinct() []*ttp.Event {
	var events []*ttp.Event
	for _, line := range corpus.Lines() {
		events = append(events, commandEvent(line))
	}
	return events
}

func tagAll(b *testing.B, set *rule.Set, events []*ttp.Event) {
	b.ReportAllocs()
	for _, ev := range events { // tables are made when they are first needed
		if _, err := set.Tag(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
	}
	start := cpuTime(b)
	i, tags := 0, 0
	for b.Loop() {
		findings, err := set.Tag(b.Context(), events[i%len(events)])
		if err != nil {
			b.Fatal(err)
		}
		tags += len(findings)
		i++
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-start).Seconds(), "events/cpu-s")
	b.ReportMetric(float64(tags)/float64(b.N), "tags/event")
	b.ReportMetric(undisturbed(b, set, events), "least-ns/event")
}

// undisturbed is how long an event takes, in ns, when nothing else gets in the
// way: the shortest of many passes over a few events each. It leaves out what the
// collector takes, and comes out the same on a busy machine.
func undisturbed(b *testing.B, set *rule.Set, events []*ttp.Event) float64 {
	const few, passes = 25, 50
	total, n := time.Duration(0), 0
	for ; n+few <= len(events) && n < 2000; n += few {
		least := time.Hour
		for range passes {
			start := time.Now()
			for _, ev := range events[n : n+few] {
				_, _ = set.Tag(b.Context(), ev) // it was tagged before without an error
			}
			least = min(least, time.Since(start))
		}
		total += least
	}
	return float64(total.Nanoseconds()) / float64(n)
}

// cpuTime is what the process has used of the processor, so that a busy machine
// does not count.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// copies is the rules of a source, n times under different ids.
func copies(tb testing.TB, src rule.Source, n int) rule.Source {
	tb.Helper()
	out := make(fstest.MapFS)
	names, problems := src.Files()
	if problems != nil {
		tb.Fatal(problems)
	}
	for _, name := range names {
		data, err := fs.ReadFile(src.FS, name)
		if err != nil {
			tb.Fatal(err)
		}
		for i := range n {
			text := ruleID.ReplaceAll(data, fmt.Appendf(nil, "${0}-%d", i))
			out[fmt.Sprintf("%d-%s", i, name)] = &fstest.MapFile{Data: text}
		}
	}
	return rule.Source{Name: src.Name, FS: out}
}

var ruleID = regexp.MustCompile(`(?m)^id: \S+`)

// linePatterns are patterns of the built-in rules over whole lines, as 23 rules
// of DECNET's format.
func linePatterns(tb testing.TB) rule.Source {
	tb.Helper()
	data, err := fs.ReadFile(builtin.FS, "execution-droppers.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	more, err := fs.ReadFile(builtin.FS, "discovery-host.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	for i, m := range linePattern.FindAllSubmatch(append(data, more...), 23) {
		fmt.Fprintf(&b, "---\nrule_id: D%02d\nrule_version: 1\nname: x\napplies_to: [command]\nmatch: {pattern: '%s'}\n"+
			"emits: [{tactic: TA0002, technique_id: T1059, confidence: 0.9}]\n", i, m[1])
	}
	return rule.Source{Name: "decnet", FS: fstest.MapFS{"rules.yaml": {Data: []byte(b.String())}}}
}

var linePattern = regexp.MustCompile(`(?:line|args)\|re: '((?:[^']|'')*)'`)

// go test -run '^$' -bench Throughput -cpu 1 ./tagger/rule
func BenchmarkThroughput(b *testing.B) {
	own, sigma := rule.Source{Name: "builtin", FS: builtin.FS}, rule.Source{Name: "sigma", FS: corpus.Sigma()}
	for _, c := range []struct {
		name    string
		memo    int
		events  []*ttp.Event
		sources []rule.Source
	}{
		{"rules=all/lines=stream", memoSize, stream(b), []rule.Source{own, sigma}},
		{"rules=all/lines=distinct", 0, distinct(), []rule.Source{own, sigma}},
		{"rules=builtin/lines=distinct", 0, distinct(), []rule.Source{own}},
		{"rules=sigma/lines=distinct", 0, distinct(), []rule.Source{sigma}},
		{"rules=decnet/lines=distinct", 0, distinct(), []rule.Source{linePatterns(b)}},
		{"rules=sigma-4x/lines=distinct", 0, distinct(), []rule.Source{copies(b, sigma, 4)}},
		{"rules=sigma-16x/lines=distinct", 0, distinct(), []rule.Source{copies(b, sigma, 16)}},
	} {
		set, problems := rule.Load(rule.Options{Expand: shell.Expander, Memo: c.memo}, c.sources...)
		if problems != nil {
			b.Fatal(problems)
		}
		b.Run(c.name, func(b *testing.B) { tagAll(b, set, c.events) })
	}
}

// go test -run '^$' -bench Session ./tagger/rule
func BenchmarkSession(b *testing.B) {
	set := everything(b, memoSize)
	lines := corpus.Lines()
	var events []*ttp.Event
	for from := 0; from+20 <= len(lines); from += 20 {
		events = append(events, &ttp.Event{Kind: ttp.Session, Payload: ttp.Object{
			{Name: "commands", Value: ttp.Strings(lines[from : from+20])},
		}})
	}
	b.Run("commands=20", func(b *testing.B) { tagAll(b, set, events) })
}

// go test -run '^$' -bench Load ./tagger/rule
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		everything(b, 0)
	}
}
