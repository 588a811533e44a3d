package main

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/replay"
)

// A replay of 100 events a second goes on where another stopped: what that one
// did is in the counts, not in the rate.
func TestMeter_logsNowAndThenWhereThereIsNoTerminal(t *testing.T) {
	t.Parallel()
	stderr, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	core, logs := observer.New(zap.InfoLevel)
	synctest.Test(t, func(*testing.T) {
		m := newMeter(stderr, zap.New(core))
		for second := range 91 {
			counts := replay.Counts{Events: 5_000 + 100*second, Tags: 50 * second, Inserted: 10 * second}
			m.show(replay.Progress{
				Source: "file", Done: int64(second), Total: 120, At: time.Unix(1_777_703_000, 0).UTC(),
				State: &replay.State{Sources: []replay.SourceState{{Name: "file", Counts: counts}}},
			})
			time.Sleep(time.Second) // of the bubble's clock
		}
		m.end()
	})
	var want []map[string]any
	for i, percent := range []float64{25, 50, 75} {
		n := int64(i + 1)
		want = append(want, map[string]any{
			"source": "file", "at": time.Unix(1_777_703_000, 0).UTC(), "events": 5_000 + 3_000*n, "tags": 1_500 * n,
			"inserted": 300 * n, "percent": percent, "events_per_s": 100.0,
		})
	}
	var got []map[string]any
	for _, line := range logs.FilterMessage("replaying").All() {
		got = append(got, line.ContextMap())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
