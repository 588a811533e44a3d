package bus_test

import (
	"fmt"
	"testing"

	"ttp-worker/bus"
	"ttp-worker/ttp"
)

// BenchmarkFetch takes batches from a backlog and settles them:
//
//	go test ./bus -run '^$' -bench Fetch
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{50, 500} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			const backlog = 20_000
			f := start(b, bus.Options{})
			s, left, taken := source(b, f.bus, bus.Batch{Size: size}), 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if left < size {
					b.StopTimer()
					publish(b, f.bus, taken, backlog)
					left += backlog
					b.StartTimer()
				}
				batch := fetch(b, s)
				ackAll(b, batch)
				left -= len(batch)
				taken += len(batch)
			}
			b.ReportMetric(float64(taken)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkPublish announces what a batch has gained, three messages each:
//
//	go test ./bus -run '^$' -bench Publish
func BenchmarkPublish(b *testing.B) {
	f := start(b, bus.Options{})
	p, n := f.bus.NewPublisher(), 0
	b.ReportAllocs()
	for b.Loop() {
		list := make([]ttp.Announcement, 100)
		for i := range list {
			list[i] = announcement(fmt.Sprint("id", n))
			n++
		}
		if _, err := p.Publish(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "announcements/s")
}
