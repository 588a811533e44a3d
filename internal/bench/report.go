package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// table collects what was measured and prints the medians.
type table struct {
	out     io.Writer
	events  int
	order   []string
	runs    map[string][]measurement
	of      map[string]scenario
	waits   []string
	samples map[string][]float64
}

func newTable(out io.Writer, events int) *table {
	return &table{out: out, events: events, runs: make(map[string][]measurement), of: make(map[string]scenario), samples: make(map[string][]float64)}
}

func (t *table) add(s scenario, m measurement) {
	if t.runs[s.name] == nil {
		t.order = append(t.order, s.name)
	}
	t.runs[s.name] = append(t.runs[s.name], m)
	t.of[s.name] = s
}

func (t *table) latency(name string, ms []float64) {
	if t.samples[name] == nil {
		t.waits = append(t.waits, name)
	}
	t.samples[name] = append(t.samples[name], ms...)
}

// rateOf is the median rate of a scenario so far, 0 if it has not run.
func (t *table) rateOf(name string) float64 {
	if len(t.runs[name]) == 0 {
		return 0
	}
	return median(each(t.runs[name], measurement.rate))
}

func each[T any](runs []measurement, of func(measurement) T) []T {
	values := make([]T, len(runs))
	for i, m := range runs {
		values[i] = of(m)
	}
	return values
}

// ofBase is the rate as a share of the base's, "" where that did not run.
func (t *table) ofBase(name string) string {
	base := t.rateOf(t.of[name].base)
	if base == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", t.rateOf(name)/base)
}

func (t *table) print() {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "run of %d events\tevents/s\ttags/s\tratio\tCPU µs/event\tNATS\tdatabase\tpeak MiB\t\n", t.events)
	for _, name := range t.order {
		runs := t.runs[name]
		rate := t.rateOf(name)
		ratio := t.ofBase(name)
		perEvent := func(of func(measurement) time.Duration) float64 {
			return median(each(runs, func(m measurement) float64 { return of(m).Seconds() * 1e6 / float64(m.events) }))
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%s\t%.1f\t%.1f\t%.1f\t%d\t\n", name, rate,
			median(each(runs, func(m measurement) float64 { return float64(m.tags) / m.elapsed.Seconds() })), ratio,
			perEvent(func(m measurement) time.Duration { return m.used.contender }),
			perEvent(func(m measurement) time.Duration { return m.used.nats }),
			perEvent(func(m measurement) time.Duration { return m.used.db }),
			median(each(runs, func(m measurement) int64 { return m.peakMemory }))>>20)
	}
	_ = w.Flush() // to a terminal or a file; there is nobody to tell
	for _, name := range t.waits {
		ms := slices.Sorted(slices.Values(t.samples[name]))
		if len(ms) > 0 {
			fmt.Fprintf(t.out, "%s: p50 %.1f ms, p99 %.1f ms, most %.1f ms, of %d\n", name, percentile(ms, 50), percentile(ms, 99), ms[len(ms)-1], len(ms))
		}
	}
}

// percentile returns the first value with so many percent of all before it, so
// of an even number the greater of the two in the middle. The values are sorted,
// there is at least one, and percent is below 100.
func percentile[T any](sorted []T, percent int) T { return sorted[len(sorted)*percent/100] }

func median[T int64 | float64](values []T) T {
	return percentile(slices.Sorted(slices.Values(values)), 50)
}
