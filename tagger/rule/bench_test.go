package rule

import (
	"fmt"
	"os"
	"testing"

	"ttp-worker/ttp"
)

// go test -run '^$' -bench Tag -count 6 ./tagger/rule
func BenchmarkTag(b *testing.B) {
	var events []*ttp.Event
	for _, line := range corpus(b) {
		events = append(events, command(line))
	}
	for _, memo := range []int{0, 1024} {
		for _, expanding := range []bool{false, true} {
			o := Options{Memo: memo}
			if expanding {
				o.Expand = expand
			}
			set := bundled(b, o)
			b.Run(fmt.Sprintf("expand=%t/memo=%d", expanding, memo), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := set.Tag(b.Context(), events[i%len(events)]); err != nil {
						b.Fatal(err)
					}
					i++
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// go test -run '^$' -bench Load ./tagger/rule
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		Load(Options{}, Source{"testdata", os.DirFS("testdata")})
	}
}
