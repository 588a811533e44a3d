package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ttp-worker/bus"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

// TestProvision_makesStreamsAnew removes streams under a running bus, as a
// server does that comes back without its store.
func TestProvision_makesStreamsAnew(t *testing.T) {
	t.Parallel()
	list := []ttp.Announcement{{ID: "a", Tagged: ttp.Tagged{AttackerUUID: "x", Tags: []ttp.Tag{{UUID: "u", Finding: ttp.Finding{Claim: &ttp.Claim{Technique: "T1083"}}}}}}}

	t.Run("of events, when the next are fetched", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		publish(t, f.bus, 0, 1)
		fetch(t, s)
		remove(t, f, "TELEMETRY")
		fetched := make(chan []worker.Delivery)
		go func() {
			batch, _ := s.Fetch(t.Context())
			fetched <- batch
		}()
		for f.bus.Publish(t.Context(), bus.Message{Subject: "attacker.http", Data: []byte("1")}) != nil {
			continue // until the stream is there again
		}
		if batch := <-fetched; len(batch) != 1 {
			t.Errorf("fetched %d messages, want 1", len(batch))
		}
	})

	t.Run("of announcements, when somebody else listens to them", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		remove(t, f, "TTP")
		stop, err := f.bus.Watch(t.Context(), "ttp.>", func(string, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // nobody answers, nor says that there is nobody
		defer cancel()
		if done, err := f.bus.NewPublisher().Publish(ctx, list); err != nil || len(done) != 1 {
			t.Errorf("published %v, %v", done, err)
		}
	})

	t.Run("of announcements, when the next is published", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		remove(t, f, "TTP")
		if done, err := f.bus.NewPublisher().Publish(t.Context(), list); err != nil || len(done) != 1 {
			t.Errorf("published %v, %v", done, err)
		}
	})

	t.Run("of dead letters, when the next is sent", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		remove(t, f, "TTP_DLQ")
		publish(t, f.bus, 0, 1)
		d := fetch(t, source(t, f.bus, bus.Batch{}))[0]
		if err := f.bus.NewPublisher().DeadLetter(t.Context(), d, "malformed", errors.New("no JSON")); err != nil {
			t.Error(err)
		}
	})
}

func remove(t *testing.T, f *fixture, stream string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := f.js.DeleteStream(ctx, stream); err != nil {
		t.Fatal(err)
	}
}

func TestDelivery_recall(t *testing.T) {
	t.Parallel()
	f := start(t, bus.Options{})
	publish(t, f.bus, 0, 2)
	s := source(t, f.bus, bus.Batch{})
	batch := fetch(t, s)
	if len(batch) != 2 {
		t.Fatalf("fetched %d messages, want 2", len(batch))
	}
	recall := batch[0].Recall()
	if err := errors.Join(batch[0].Retry(10*patient), batch[1].Ack(), recall()); err != nil {
		t.Fatal(err)
	}
	again := fetch(t, s)
	if len(again) != 1 || again[0].Meta().Sequence != 1 || again[0].Meta().Deliveries != 2 {
		t.Fatalf("recalled: %v", again)
	}
	if err := again[0].AckSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := recall(); err != nil { // too late, which is no harm
		t.Error(err)
	}
}
