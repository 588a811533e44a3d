package rule_test

import (
	"testing"

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

// hostileEvents is each hostile text as a command and as an address.
func hostileEvents() map[string]*ttp.Event {
	events := make(map[string]*ttp.Event)
	for _, h := range corpus.Hostile() {
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
			start := cpuTime(b)
			for b.Loop() {
				if _, err := set.Tag(b.Context(), ev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-start).Seconds()*1000/float64(b.N), "cpu-ms/event")
		})
	}
}
