package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/worker"
)

// patient is a wait that no busy machine exceeds.
const patient = 10 * time.Second

func TestFetch(t *testing.T) {
	t.Parallel()

	t.Run("a batch ends at its size", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 250)
		s := source(t, f.bus, bus.Batch{Size: 100, Wait: patient, Gap: patient})
		for _, want := range []int{100, 100, 50} {
			if got := fetch(t, s); len(got) != want {
				t.Errorf("batch of %d, want %d", len(got), want)
			}
		}
	})

	t.Run("a batch ends at its bytes", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		kilobyte := []byte(strings.Repeat("x", 1000))
		for range 10 {
			if err := f.bus.Publish(t.Context(), bus.Message{Subject: "attacker.http", Data: kilobyte}); err != nil {
				t.Fatal(err)
			}
		}
		s := source(t, f.bus, bus.Batch{Bytes: 3500, Wait: patient, Gap: patient})
		for _, want := range []int{4, 4, 2} {
			if got := fetch(t, s); len(got) != want {
				t.Errorf("batch of %d, want %d", len(got), want)
			}
		}
	})

	t.Run("a batch ends when its time is over, however many come", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{Wait: 100 * time.Millisecond, Gap: time.Minute})
		publish(t, f.bus, 0, 3)
		begun := time.Now()
		if got := fetch(t, s); len(got) != 3 {
			t.Errorf("batch of %d, want 3", len(got))
		}
		if took := time.Since(begun); took < 100*time.Millisecond || took > time.Second {
			t.Errorf("took %s, want 100ms", took)
		}
	})

	t.Run("a lone message is handed over within 50 ms", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		got := make(chan time.Time)
		for i := range 5 { // the best of five: the machine is busy with other tests
			go func() {
				if batch, err := s.Fetch(t.Context()); err == nil && len(batch) == 1 {
					got <- time.Now()
				}
			}()
			begun := time.Now()
			publish(t, f.bus, i, 1)
			if (<-got).Sub(begun) < 50*time.Millisecond {
				return
			}
		}
		t.Error("took more than 50ms five times")
	})

	t.Run("messages as large as the server takes come through", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 3)
		large := make([]byte, f.nc.MaxPayload()-512)
		for range 3 { // more than one request may bring
			if err := f.bus.Publish(t.Context(), bus.Message{Subject: "attacker.session.ended", Data: large}); err != nil {
				t.Fatal(err)
			}
		}
		ackAll(t, collect(t, source(t, f.bus, bus.Batch{}), 6))
	})

	t.Run("a message stored when the server took larger ones comes through", func(t *testing.T) {
		t.Parallel()
		o := server.Options{Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, MaxPayload: 2 << 20}
		storeLarge(t, o, 1<<20+512<<10)
		o.MaxPayload = 1 << 20
		b := busOn(t, o)
		publish(t, b, 1, 3)
		ackAll(t, collect(t, source(t, b, bus.Batch{}), 4))
	})

	t.Run("a message that looks like the server's own words comes through", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		m := &nats.Msg{Subject: "attacker.http", Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}}
		if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		publish(t, f.bus, 0, 1)
		ackAll(t, collect(t, source(t, f.bus, bus.Batch{}), 2))
	})

	t.Run("a message says where it is from", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet."})
		publish(t, f.bus, 42, 1)
		d := fetch(t, source(t, f.bus, bus.Batch{}))[0]
		meta := d.Meta()
		if age := time.Since(meta.At); age < 0 || age > time.Minute || meta.At.Location() != time.UTC {
			t.Errorf("taken by the stream at %s", meta.At)
		}
		meta.At = time.Time{}
		if want := (worker.Meta{Stream: "TELEMETRY", Sequence: 1, Deliveries: 1}); meta != want {
			t.Errorf("got %+v, want %+v", meta, want)
		}
		if d.Subject() != "attacker.command" || string(d.Data()) != "42" {
			t.Errorf("got %s %q", d.Subject(), d.Data())
		}
	})

	t.Run("it returns the error of the context when that ends", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if batch, err := s.Fetch(ctx); len(batch) != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %d messages and %v", len(batch), err)
		}
	})

	t.Run("it returns what it has when the context ends", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		batch, err := source(t, f.bus, bus.Batch{Wait: time.Minute, Gap: time.Minute}).Fetch(ctx)
		if len(batch) != 3 || err != nil {
			t.Errorf("got %d messages and %v", len(batch), err)
		}
	})
}

func TestHeld(t *testing.T) {
	t.Parallel()

	t.Run("what came behind a batch is held and then handed over", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{Size: 10, Bytes: 1})
		publish(t, f.bus, 0, 30)
		if got := numbers(fetch(t, s)); !slices.Equal(got, []string{"0"}) {
			t.Fatalf("first batch %q", got)
		}
		eventually(t, "nine held", func() bool { return len(s.Held()) == 9 })
		if got := f.consumer(t).NumAckPending; got != 10 {
			t.Errorf("%d messages pulled, want one batch of 10", got)
		}
		held := numbers(s.Held())
		for _, want := range held {
			if got := numbers(fetch(t, s)); !slices.Equal(got, []string{want}) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})

	t.Run("what is held stays ours over an outage longer than the ack wait", func(t *testing.T) {
		t.Parallel()
		const ackWait = time.Second
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: ackWait}})
		s := source(t, f.bus, bus.Batch{Size: 20, Bytes: 1})
		publish(t, f.bus, 0, 20)
		batch := fetch(t, s)
		eventually(t, "the rest held", func() bool { return len(s.Held()) == 19 })

		tick, end := time.NewTicker(ackWait/3), time.After(3*ackWait)
		defer tick.Stop()
		for over := false; !over; {
			for _, d := range slices.Concat(batch, s.Held()) {
				if err := d.InProgress(); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-tick.C:
			case <-end:
				over = true
			}
		}
		if got := f.consumer(t).NumRedelivered; got != 0 {
			t.Errorf("%d messages delivered again", got)
		}
		for len(batch) < 20 {
			batch = append(batch, fetch(t, s)...)
		}
		ackAll(t, batch)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()

	t.Run("it hands back at once what was held", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: time.Minute}})
		leaving := f.bus.NewSource(bus.Batch{Size: 100, Bytes: 1})
		publish(t, f.bus, 0, 50)
		ackAll(t, fetch(t, leaving))
		eventually(t, "ten held", func() bool { return len(leaving.Held()) >= 10 })
		if err := leaving.Close(); err != nil {
			t.Fatal(err)
		}
		staying, begun := source(t, f.bus, bus.Batch{}), time.Now()
		for n := 0; n < 49; {
			batch := fetch(t, staying)
			ackAll(t, batch)
			n += len(batch)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the others waited %s", took)
		}
	})

	t.Run("what it hands back does not come back to it", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: time.Minute}})
		leaving := f.bus.NewSource(bus.Batch{Size: 500, Bytes: 1})
		publish(t, f.bus, 0, 3)
		ackAll(t, fetch(t, leaving))
		eventually(t, "two held", func() bool { return len(leaving.Held()) == 2 })
		if err := leaving.Close(); err != nil {
			t.Fatal(err)
		}
		for _, d := range collect(t, source(t, f.bus, bus.Batch{}), 2) {
			if n := d.Meta().Deliveries; n != 2 {
				t.Errorf("message %s: delivery %d, want 2", d.Data(), n)
			}
		}
	})

	t.Run("messages that arrive during it are not lost until the ack wait", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: time.Minute}})
		leaving := f.bus.NewSource(bus.Batch{})
		publish(t, f.bus, 0, 1)
		ackAll(t, fetch(t, leaving))
		closed := make(chan error)
		go func() { closed <- leaving.Close() }()
		publish(t, f.bus, 1, 200)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		staying := source(t, f.bus, bus.Batch{})
		for n := 0; n < 200; {
			batch := fetch(t, staying)
			ackAll(t, batch)
			n += len(batch)
		}
	})

	t.Run("without a server it ends all the same", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := f.bus.NewSource(bus.Batch{Size: 10, Bytes: 1})
		publish(t, f.bus, 0, 10)
		fetch(t, s)
		eventually(t, "nine held", func() bool { return len(s.Held()) == 9 })
		f.Down()
		begun := time.Now()
		if err := s.Close(); err == nil {
			t.Error("no error although nothing could be handed back")
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestFetchRidesOut(t *testing.T) {
	t.Parallel()

	t.Run("a consumer that is deleted", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		s := source(t, f.bus, bus.Batch{})
		publish(t, f.bus, 0, 1)
		ackAll(t, fetch(t, s))
		if err := f.js.DeleteConsumer(t.Context(), "TELEMETRY", "ttp-worker"); err != nil {
			t.Fatal(err)
		}
		publish(t, f.bus, 1, 1)
		if got := numbers(collect(t, s, 2)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("got %q, want all that the stream has", got)
		}
	})

	t.Run("a stream that is made later", func(t *testing.T) {
		t.Parallel()
		log, logged := observer.New(zap.DebugLevel)
		b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: natstest.Start(t).URL()}}, zap.New(log))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		s, batch := source(t, b, bus.Batch{}), make(chan []worker.Delivery, 1)
		go func() {
			deliveries, _ := s.Fetch(t.Context())
			batch <- deliveries
		}()
		const trouble, over = "no messages to be had", "messages to be had again"
		eventually(t, trouble, func() bool { return logged.FilterMessage(trouble).Len() > 0 })
		if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
			t.Fatal(err)
		}
		publish(t, b, 0, 1)
		if got := <-batch; len(got) != 1 {
			t.Errorf("got %d messages", len(got))
		}
		if n, m := logged.FilterMessage(trouble).Len(), logged.FilterMessage(over).Len(); n != 1 || m != 1 {
			t.Errorf("%d lines about the trouble and %d about its end", n, m)
		}
	})

	t.Run("a server that restarts in the middle", func(t *testing.T) {
		t.Parallel()
		const n = 10_000
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: 2 * time.Second}})
		publish(t, f.bus, 0, n)
		s := source(t, f.bus, bus.Batch{})
		seen := make(map[string]bool, n)
		for restarts := 0; len(seen) < n; {
			batch := fetch(t, s)
			for _, d := range batch {
				seen[string(d.Data())] = true
				_ = d.Ack() // one that is lost makes the message come again
			}
			if restarts < 2 && len(seen) > (1+restarts)*n/3 {
				restarts++
				f.Down()
				f.Up()
			}
		}
		eventually(t, "nothing left", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			batch, _ := s.Fetch(ctx)
			for _, d := range batch {
				_ = d.Ack()
			}
			info := f.consumer(t)
			return info.NumPending == 0 && info.NumAckPending == 0
		})
	})
}

// TestReplicasShare has two sources on one consumer, as two processes would.
func TestReplicasShare(t *testing.T) {
	t.Parallel()
	f := start(t, bus.Options{})
	publish(t, f.bus, 0, 100)
	half := bus.Batch{Size: 50, Wait: patient, Gap: patient}
	a, b := source(t, f.bus, half), source(t, f.connect(t, bus.Options{}), half)
	all := slices.Concat(numbers(fetch(t, a)), numbers(fetch(t, b)))
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 100 {
		t.Errorf("%d different messages, want 100", n)
	}
}
