package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestReloadTimes_areThoseOfTheWorkersLog(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "worker.log")
	lines := `{"level":"info","msg":"working"}
{"level":"info","msg":"rules reloaded","took":0.25}
goroutine 1 [running]:
{"level":"info","msg":"rules read","took":9}
{"level":"info","msg":"rules reloaded","took":0.003}
`
	if err := os.WriteFile(log, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := reloadTimes(log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{250, 3}, got); diff != "" {
		t.Errorf("milliseconds (-want +got):\n%s", diff)
	}
	if _, err := reloadTimes(log + ".old"); err == nil {
		t.Error("a log that is not there is no error")
	}
}

// announcement is a ttp.tagged about a command.
func announcement(text string) *nats.Msg {
	return &nats.Msg{Data: fmt.Appendf(nil, `{"v":1,"payload":{"tags":[{"evidence":{"command_text":%q}}]}}`, text)}
}

func TestStopwatch_timesEachAwaitedEventOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &stopwatch{sent: map[string]time.Time{"a": time.Now(), "b": time.Now()}, empty: make(chan struct{}, 1)}
		time.Sleep(12500 * time.Microsecond) // of the bubble's clock
		w.see(announcement("a"))
		if len(w.empty) != 0 {
			t.Error("nothing is awaited any more, but b is")
		}
		time.Sleep(time.Second)
		for _, msg := range []*nats.Msg{announcement("a"), announcement("of somebody else"), {Data: []byte(`{"payload":{"tags":[]}}`)}, {Data: []byte("{")}, announcement("b")} {
			w.see(msg)
		}
		if len(w.empty) != 1 {
			t.Error("b is still awaited")
		}
		if diff := cmp.Diff([]float64{12.5, 1012.5}, w.reset()); diff != "" {
			t.Errorf("milliseconds (-want +got):\n%s", diff)
		}
		if left := w.reset(); left != nil {
			t.Errorf("after a reset: %v", left)
		}
	})
}
