package bus

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestOutageLog(t *testing.T) {
	t.Parallel()
	fail := func(o *outage) { o.failed(errors.New("x")) }
	for name, test := range map[string]struct {
		do   func(o *outage)
		want []string
	}{
		"a failure is told at once": {fail, []string{"down"}},
		"a long outage is told every ten seconds, and its end": {func(o *outage) {
			for range 250 {
				fail(o)
				pass(100 * time.Millisecond)
			}
			o.recovered()
			o.recovered()
		}, []string{"down", "down", "down", "back"}},
		"what comes and goes is told no more often": {func(o *outage) {
			for range 250 {
				fail(o)
				o.recovered()
				pass(100 * time.Millisecond)
			}
		}, []string{"down", "back", "down", "back", "down", "back"}},
		"what works is not told": {(*outage).recovered, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(*testing.T) {
				log, logged := observer.New(zap.DebugLevel)
				test.do(newOutage(zap.New(log), "down", "back"))
				var got []string
				for _, line := range logged.All() {
					got = append(got, line.Message)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}

	t.Run("a line counts the failures since the one before", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			log, logged := observer.New(zap.DebugLevel)
			o := newOutage(zap.New(log), "down", "back")
			for range 21 {
				fail(o)
				pass(time.Second)
			}
			var got []int64
			for _, line := range logged.All() {
				got = append(got, line.ContextMap()["failures"].(int64))
			}
			if want := []int64{1, 10, 10}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	})
}

// pass lets d pass, on the clock of the test.
func pass(d time.Duration) { <-time.After(d) }
