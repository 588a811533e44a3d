package rule_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"ttp-worker/internal/corpus"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// everything is the built-in rules and 122 of SigmaHQ.
func everything(tb testing.TB, memo int) *rule.Set {
	tb.Helper()
	set, problems := rule.Load(rule.Options{Expand: shell.Expander, Memo: memo},
		rule.Source{Name: "builtin", FS: builtin.FS}, rule.Source{Name: "sigma", FS: corpus.Sigma()})
	for _, p := range problems {
		tb.Error(p)
	}
	return set
}

func commandEvent(line string) *ttp.Event {
	return &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}}
}

func requestEvent(url string) *ttp.Event {
	return &ttp.Event{Kind: ttp.HTTPRequest, Payload: ttp.Object{
		{Name: "raw_url", Value: ttp.Quote(url)}, {Name: "method", Value: `"GET"`},
	}}
}

// examples is what the built-in rules have as tests, joined: all that they look
// for at once.
func examples(name, between string) corpus.Text {
	var all []string
	names, _ := fs.Glob(builtin.FS, "*.yaml")
	for _, name := range names {
		data, _ := fs.ReadFile(builtin.FS, name) // it was listed
		for _, m := range example.FindAllSubmatch(data, -1) {
			all = append(all, string(m[1]))
		}
	}
	return corpus.Text{Name: name, Text: strings.Repeat(strings.Join(all, between), 4)[:corpus.HostileSize]}
}

var example = regexp.MustCompile(`(?m)^  - (?:no_)?match: (.*)$`)

// hostileEvents is each hostile text as a command and as an address.
func hostileEvents() map[string]*ttp.Event {
	events := make(map[string]*ttp.Event)
	for _, h := range append(corpus.Hostile(), examples("examples", " "), examples("examples-utf8", " é名 "), examples("example-commands", ";")) {
		events["kind=command/text="+h.Name] = commandEvent(h.Text)
		events["kind=http_request/text="+h.Name] = requestEvent(h.Text)
	}
	return events
}

// go test -run '^$' -bench Hostile -benchtime 5x ./tagger/rule
func BenchmarkHostile(b *testing.B) {
	set := everything(b, 0)
	for name, ev := range hostileEvents() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			start, least := cpuTime(b), time.Hour
			for b.Loop() {
				began := time.Now()
				if _, err := set.Tag(b.Context(), ev); err != nil {
					b.Fatal(err)
				}
				least = min(least, time.Since(began))
			}
			b.ReportMetric((cpuTime(b)-start).Seconds()*1000/float64(b.N), "cpu-ms/event")
			b.ReportMetric(least.Seconds()*1000, "least-ms/event")
		})
	}
}

// go test -run '^$' -bench Explain -benchtime 1x ./tagger/rule
func BenchmarkExplain(b *testing.B) {
	set := everything(b, 0)
	for name, ev := range hostileEvents() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				set.Explain(ev)
			}
		})
	}
}
