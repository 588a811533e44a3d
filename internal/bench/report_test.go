package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile_isTheFirstValueWithSoManyBeforeIt(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	for name, c := range map[string]struct {
		sorted   []float64
		p50, p99 float64
	}{
		"one value":    {[]float64{7}, 7, 7},
		"two values":   {[]float64{1, 2}, 2, 2},
		"three values": {[]float64{1, 2, 9}, 2, 9},
		"a hundred":    {hundred, 50, 99},
	} {
		if p50, p99 := percentile(c.sorted, 50), percentile(c.sorted, 99); p50 != c.p50 || p99 != c.p99 {
			t.Errorf("%s: p50 %v, p99 %v, want %v and %v", name, p50, p99, c.p50, c.p99)
		}
	}
}

func TestMedian_leavesTheValuesAsTheyAre(t *testing.T) {
	t.Parallel()
	values := []int64{5, 1, 9}
	if got := median(values); got != 5 || values[0] != 5 || values[2] != 9 {
		t.Errorf("median %d of %v", got, values)
	}
}

// ran is a run of 1000 events, each with two tags.
func ran(took time.Duration, used usage, peakMiB int64) measurement {
	return measurement{events: 1000, tags: 2000, elapsed: took, used: used, peakMemory: peakMiB << 20}
}

func TestTable_printsMediansInTheOrderOfTheRuns(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := newTable(&out, 1000)
	base, half, lone := scenario{name: "base"}, scenario{name: "half", base: "base"}, scenario{name: "lone", base: "never ran"}
	cpu := usage{contender: 10 * time.Millisecond, nats: 20 * time.Millisecond, db: 30 * time.Millisecond}
	table.add(base, ran(9*time.Second, usage{contender: time.Second}, 100)) // a slow minute of the machine
	table.add(half, ran(2*time.Second, usage{}, 0))
	table.add(lone, ran(4*time.Second, usage{db: time.Millisecond}, 1))
	for range 2 {
		table.add(base, ran(time.Second, cpu, 20))
		table.add(half, ran(2*time.Second, usage{}, 0))
	}
	table.latency("idle", []float64{3, 1})
	table.latency("nothing came", nil)
	table.latency("idle", []float64{2.5})
	table.print()
	want := `  run of 1000 events  events/s  tags/s  ratio  CPU µs/event  NATS  database  peak MiB
                base      1000    2000                 10.0  20.0      30.0        20
                half       500    1000   0.50           0.0   0.0       0.0         0
                lone       250     500                  0.0   0.0       1.0         1
idle: p50 2.5 ms, p99 3.0 ms, most 3.0 ms, of 3
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRateOf_isZeroForWhatHasNotRun(t *testing.T) {
	t.Parallel()
	if rate := newTable(nil, 1).rateOf("worker"); rate != 0 {
		t.Errorf("rate %v", rate)
	}
}

func TestUsage_isWhatWasUsedSince(t *testing.T) {
	t.Parallel()
	got := usage{contender: 9, nats: 8, db: 7}.less(usage{contender: 1, nats: 2, db: 3})
	if want := (usage{contender: 8, nats: 6, db: 4}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
