package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ttp-worker/bus"
)

func TestDelivery(t *testing.T) {
	t.Parallel()

	t.Run("handed back, it comes again after the delay and not before", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		publish(t, f.bus, 0, 1)
		if err := fetch(t, s)[0].Retry(300 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		again := fetch(t, s)[0]
		if took := time.Since(begun); took < 200*time.Millisecond || took > 5*time.Second {
			t.Errorf("came again after %s, want 300ms", took)
		}
		if n := again.Meta().Deliveries; n != 2 {
			t.Errorf("delivery %d, want 2", n)
		}
	})

	t.Run("rejected, it never comes again", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: 200 * time.Millisecond}})
		s := source(t, f.bus, bus.Batch{})
		publish(t, f.bus, 0, 1)
		if err := fetch(t, s)[0].Reject("bad\r\nreason"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if batch, _ := s.Fetch(ctx); len(batch) != 0 {
			t.Error("it came again")
		}
	})

	t.Run("acknowledged synchronously, the server has it on return", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		publish(t, f.bus, 0, 300)
		ackAll(t, collect(t, s, 300))
		if got := f.consumer(t).NumAckPending; got != 0 {
			t.Errorf("%d messages pending", got)
		}
	})

	t.Run("settled twice is no error", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 1)
		d := fetch(t, source(t, f.bus, bus.Batch{}))[0]
		if err := errors.Join(d.Ack(), d.Ack(), d.AckSync(t.Context()), d.Retry(0), d.Reject("x"), d.InProgress()); err != nil {
			t.Error(err)
		}
	})

	t.Run("without a server it is an error at once", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 1)
		d := fetch(t, source(t, f.bus, bus.Batch{}))[0]
		f.Down()
		eventually(t, "disconnected", func() bool { return !f.bus.Connected() })
		if d.InProgress() == nil || d.Ack() == nil || d.AckSync(t.Context()) == nil {
			t.Error("no error although nothing was sent")
		}
	})
}
