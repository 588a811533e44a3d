package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/bus"
)

// config returns what the server says of a stream.
func (f *fixture) config(t *testing.T, name string) jetstream.StreamConfig {
	t.Helper()
	stream, err := f.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func TestProvision(t *testing.T) {
	t.Parallel()

	t.Run("it makes the three streams", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet.", TTP: "FOUND"})
		for _, want := range []struct {
			name     string
			subjects int
			one      string
			age      time.Duration
			window   time.Duration
		}{
			{"TELEMETRY", 14, "decnet.canary.*.triggered", 30 * 24 * time.Hour, 2 * time.Minute},
			{"FOUND", 2, "decnet.ttp.rule.>", 30 * 24 * time.Hour, 2 * time.Hour},
			{"TTP_DLQ", 1, "decnet.ttp.dlq.>", 0, 2 * time.Minute},
		} {
			got := f.config(t, want.name)
			if len(got.Subjects) != want.subjects || !slices.Contains(got.Subjects, want.one) {
				t.Errorf("%s has the subjects %q", want.name, got.Subjects)
			}
			if got.MaxAge != want.age || got.Duplicates != want.window {
				t.Errorf("%s keeps for %s and knows ids for %s, want %s and %s", want.name, got.MaxAge, got.Duplicates, want.age, want.window)
			}
			if got.Storage != jetstream.FileStorage || got.Retention != jetstream.LimitsPolicy || got.Replicas != 1 {
				t.Errorf("%s: %v %v R%d", want.name, got.Storage, got.Retention, got.Replicas)
			}
		}
	})

	t.Run("it keeps for as long as it is told", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		if err := f.bus.Provision(t.Context(), bus.Storage{TTPAge: time.Hour, Duplicates: 3 * time.Hour, DLQAge: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if got := f.config(t, "TTP"); got.MaxAge != time.Hour || got.Duplicates != time.Hour {
			t.Errorf("TTP keeps for %s and knows ids for %s; ids can't outlive the messages", got.MaxAge, got.Duplicates)
		}
		if got := f.config(t, "TTP_DLQ"); got.MaxAge != time.Minute {
			t.Errorf("TTP_DLQ keeps for %s", got.MaxAge)
		}
	})

	t.Run("of a stream that exists it changes only the subjects", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		f.create(t, jetstream.StreamConfig{
			Name: "TELEMETRY", Description: "theirs", MaxAge: time.Hour, MaxMsgs: 1000,
			Subjects: []string{"attacker.>", "email.received", "canary.blue.triggered", "system.log"},
		})
		if err := f.bus.Provision(t.Context(), bus.Storage{}); err != nil {
			t.Fatal(err)
		}
		got := f.config(t, "TELEMETRY")
		if got.Description != "theirs" || got.MaxAge != time.Hour || got.MaxMsgs != 1000 {
			t.Errorf("changed to %+v", got)
		}
		want := []string{
			"attacker.>", "canary.*.placed", "canary.*.revoked", "canary.*.triggered", "credential.reuse.detected",
			"email.received", "identity.formed", "identity.merged", "system.log",
		}
		if !slices.Equal(got.Subjects, want) {
			t.Errorf("subjects %q, want %q", got.Subjects, want)
		}
	})

	t.Run("twice is as good as once", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		if err := f.bus.Provision(t.Context(), bus.Storage{TelemetryAge: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if got := f.config(t, "TELEMETRY").MaxAge; got != 30*24*time.Hour {
			t.Errorf("the age of the stream that existed became %s", got)
		}
	})

	t.Run("several processes at once are fine", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		atOnce(t, func(i int) func() error {
			b := f.connect(t, bus.Options{})
			return func() error {
				return b.Provision(t.Context(), bus.Storage{TelemetryAge: time.Duration(1+i) * time.Hour})
			}
		})
	})

	for name, test := range map[string]struct {
		cfg  jetstream.StreamConfig
		want string
	}{
		"a stream in memory":            {jetstream.StreamConfig{Storage: jetstream.MemoryStorage}, "storage is Memory, need File"},
		"a stream that forgets on acks": {jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, "retention is WorkQueue, need Limits"},
		"a stream that mirrors another": {jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: "OTHER"}}, "source is another stream"},
	} {
		t.Run(name+" is refused with advice", func(t *testing.T) {
			t.Parallel()
			f := bare(t, bus.Options{})
			test.cfg.Name = "TELEMETRY"
			f.create(t, test.cfg)
			err := f.bus.Provision(t.Context(), bus.Storage{})
			var drift *bus.DriftError
			if !errors.As(err, &drift) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "remove the stream") {
				t.Errorf("got %v", err)
			}
		})
	}

	t.Run("subjects that another stream has are refused with advice", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		f.create(t, jetstream.StreamConfig{Name: "DECNET", Subjects: []string{"attacker.>"}})
		if err := f.bus.Provision(t.Context(), bus.Storage{}); err == nil || !strings.Contains(err.Error(), "name that one instead") {
			t.Errorf("got %v", err)
		}
	})

	t.Run("without a server it is an error in seconds", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		f.Down()
		eventually(t, "disconnected", func() bool { return !f.bus.Connected() })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := f.bus.Provision(ctx, bus.Storage{}); err == nil || ctx.Err() != nil {
			t.Errorf("got %v after %v", err, ctx.Err())
		}
	})
}

func (f *fixture) create(t *testing.T, cfg jetstream.StreamConfig) {
	t.Helper()
	if _, err := f.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// atOnce runs eight functions that prepare made at the same time; none may
// fail.
func atOnce(t *testing.T, prepare func(i int) func() error) {
	t.Helper()
	var prepared []func() error
	for i := range 8 {
		prepared = append(prepared, prepare(i))
	}
	gate, errs := make(chan struct{}), make(chan error)
	for _, do := range prepared {
		go func() {
			<-gate
			errs <- do()
		}()
	}
	close(gate)
	for range prepared {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
