package rule_test

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ttp-worker/internal/corpus"
	"ttp-worker/tagger/rule"
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

// go test -run '^$' -bench Throughput -cpu 1 ./tagger/rule
func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct {
		name   string
		memo   int
		events []*ttp.Event
	}{
		{"rules=all/lines=stream", memoSize, stream(b)},
		{"rules=all/lines=distinct/memo=0", 0, distinct()},
	} {
		set := everything(b, c.memo)
		b.Run(c.name, func(b *testing.B) { tagAll(b, set, c.events) })
	}
}

// go test -run '^$' -bench Load ./tagger/rule
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		everything(b, 0)
	}
}
