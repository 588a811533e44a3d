package bus_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"ttp-worker/bus"
	"ttp-worker/worker"
)

// arrive publishes m from outside and returns it as the worker gets it.
func (f *fixture) arrive(t *testing.T, m *nats.Msg) worker.Delivery {
	t.Helper()
	if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	s := f.bus.NewSource(bus.Batch{})
	d := fetch(t, s)[0]
	if err := s.Close(); err != nil { // or it would take the next one, too
		t.Fatal(err)
	}
	return d
}

// bury makes a dead letter of d.
func bury(t *testing.T, b *bus.Bus, d worker.Delivery, reason string, cause error) {
	t.Helper()
	if err := b.NewPublisher().DeadLetter(t.Context(), d, reason, cause); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()

	t.Run("it is the message and what is known of it", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet."})
		d := f.arrive(t, &nats.Msg{
			Subject: "decnet.canary.t1.triggered", Data: []byte("\x00 not JSON"),
			Header: nats.Header{
				"Nats-Msg-Id": {"original"}, "Nats-Expected-Stream": {"TELEMETRY"}, "X-Sensor": {"a", "b"}, "ttp-reason": {"forged"},
			},
		})
		bury(t, f.bus, d, "bad-json", errors.New("line one\nline two \x1b[31m ü "+strings.Repeat("x", 1000)))
		bury(t, f.bus, d, "bad-json", nil) // again: after a crash
		msgs := f.stored(t, "TTP_DLQ")
		if len(msgs) != 1 {
			t.Fatalf("%d dead letters, want 1", len(msgs))
		}
		if m := msgs[0]; m.Subject != "decnet.ttp.dlq.canary.t1.triggered" || string(m.Data) != "\x00 not JSON" {
			t.Errorf("%s: %q", m.Subject, m.Data)
		}
		h := msgs[0].Header
		cause := h.Get("Ttp-Error")
		if len(cause) != 512 || !strings.HasPrefix(cause, "line one?line two ?[31m ? xxx") {
			t.Errorf("Ttp-Error %q", cause)
		}
		if seen, err := time.Parse(time.RFC3339, h.Get("Ttp-First-Seen")); err != nil || !seen.Equal(d.Meta().At) {
			t.Errorf("Ttp-First-Seen %q: %v", h.Get("Ttp-First-Seen"), err)
		}
		h.Del("Ttp-Error")
		h.Del("Ttp-First-Seen")
		want := nats.Header{
			"Ttp-Reason": {"bad-json"}, "Ttp-Stream": {"TELEMETRY"}, "Ttp-Sequence": {"1"}, "Ttp-Deliveries": {"1"}, "Ttp-Msg-Id": {"original"},
			"Nats-Msg-Id": {"dlq:TELEMETRY:1"}, "Nats-Expected-Stream": {"TTP_DLQ"}, "X-Sensor": {"a", "b"},
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	})

	t.Run("headers that would command the server stay behind", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		d := f.arrive(t, &nats.Msg{Subject: "attacker.http", Data: []byte("1")})
		hostile := hostile{d, nats.Header{"Nats-Rollup": {"all"}, "nats-ttl": {"1s"}, "Nats-Expected-Last-Sequence": {"99"}}}
		bury(t, f.bus, hostile, "x", nil)
		for name := range f.stored(t, "TTP_DLQ")[0].Header {
			if name == "Nats-Rollup" || name == "nats-ttl" || name == "Nats-Expected-Last-Sequence" {
				t.Errorf("%s went along", name)
			}
		}
	})

	t.Run("a subject that is too long is cut", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		d := f.arrive(t, &nats.Msg{Subject: "canary." + strings.Repeat("x", 3000) + ".triggered"})
		bury(t, f.bus, d, "x", nil)
		if got := f.stored(t, "TTP_DLQ")[0].Subject; len(got) != 2048 {
			t.Errorf("subject of %d bytes", len(got))
		}
	})

	t.Run("without a stream for it that is ours to make, it is an error", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		d := f.arrive(t, &nats.Msg{Subject: "attacker.http"})
		if err := f.js.DeleteStream(t.Context(), "TTP_DLQ"); err != nil {
			t.Fatal(err)
		}
		if err := f.connect(t, bus.Options{}).NewPublisher().DeadLetter(t.Context(), d, "x", nil); err == nil {
			t.Error("no error")
		}
	})
}

// hostile is a message with headers that a stream of ours would not have let in.
type hostile struct {
	worker.Delivery
	headers nats.Header
}

func (h hostile) Headers() nats.Header { return h.headers }

func TestDeadLetterTooLarge(t *testing.T) {
	t.Parallel()
	const maxPayload = 8192
	b := busOn(t, server.Options{Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, MaxPayload: maxPayload})
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	q, err := b.DLQ(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := source(t, b, bus.Batch{})
	for i, test := range []struct {
		name               string
		data, headers, cut int
	}{
		{"data and headers that fit are kept", 3000, 3000, 0},
		{"headers go before data does", 6000, 1800, 0},
		{"data is cut to what fits", maxPayload - 200, 0, maxPayload - 200},
	} {
		if err := b.Publish(t.Context(), bus.Message{Subject: "attacker.http", Data: []byte(strings.Repeat("x", test.data))}); err != nil {
			t.Fatal(err)
		}
		d := hostile{fetch(t, s)[0], nats.Header{"X": {strings.Repeat("h", test.headers)}}}
		bury(t, b, d, "x", errors.New(strings.Repeat("e", 600)))
		letter, err := q.Get(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if cut := len(letter.Data) < test.data; cut != (test.cut > 0) || letter.Size != test.data {
			t.Errorf("%s: %d of %d bytes are left", test.name, len(letter.Data), letter.Size)
		}
		if kept := len(letter.Headers.Get("X")) > 0; kept != (i == 0) {
			t.Errorf("%s: its headers are kept: %t", test.name, kept)
		}
		if test.cut > 0 && q.Requeue(t.Context(), letter.Number) == nil {
			t.Errorf("%s: requeued although it is not whole", test.name)
		}
	}
}

func TestDLQ(t *testing.T) {
	t.Parallel()

	t.Run("it lists oldest first what matches", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet."})
		publish(t, f.bus, 0, 2)
		if err := f.bus.Publish(t.Context(), bus.Message{Subject: "email.received", Data: []byte("2")}); err != nil {
			t.Fatal(err)
		}
		for _, d := range collect(t, source(t, f.bus, bus.Batch{}), 3) {
			bury(t, f.bus, d, "reason"+string(d.Data()), errors.New("cause"))
		}
		q := open(t, f.bus)
		for filter, want := range map[string][]string{
			"":                 {"1 attacker.command reason0", "2 attacker.command reason1", "3 email.received reason2"},
			"attacker.>":       {"1 attacker.command reason0", "2 attacker.command reason1"},
			"email.*":          {"3 email.received reason2"},
			"attacker.http":    nil,
			"attacker.command": {"1 attacker.command reason0", "2 attacker.command reason1"},
		} {
			var got []string
			for letter, err := range q.List(t.Context(), filter) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, strconv.FormatUint(letter.Number, 10)+" "+letter.Subject+" "+letter.Reason)
			}
			if !slices.Equal(got, want) {
				t.Errorf("filter %q: %q, want %q", filter, got, want)
			}
		}
	})

	t.Run("it shows one", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		d := f.arrive(t, &nats.Msg{Subject: "attacker.http", Data: []byte("12"), Header: nats.Header{"X": {"y"}}})
		bury(t, f.bus, d, "bad", errors.New("cause"))
		got, err := open(t, f.bus).Get(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		want := bus.DeadLetter{
			Number: 1, Subject: "attacker.http", Reason: "bad", Error: "cause", Stream: "TELEMETRY", Sequence: 1, Deliveries: 1,
			FirstSeen: d.Meta().At, Size: 2, Data: []byte("12"), Headers: nats.Header{"X": {"y"}},
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(bus.DeadLetter{}, "At")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("requeued, it arrives as it was and is gone", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet."})
		m := &nats.Msg{Subject: "decnet.attacker.http", Data: []byte("12"), Header: nats.Header{"X": {"y"}, "Nats-Msg-Id": {"once"}}}
		d := f.arrive(t, m)
		bury(t, f.bus, d, "bad", nil)
		if err := d.Reject("bad"); err != nil {
			t.Fatal(err)
		}
		q := open(t, f.bus)
		if err := q.Requeue(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		again := fetch(t, source(t, f.bus, bus.Batch{}))[0]
		if again.Subject() != "attacker.http" || string(again.Data()) != "12" || again.Meta().Deliveries != 1 {
			t.Errorf("got %s %q, delivery %d", again.Subject(), again.Data(), again.Meta().Deliveries)
		}
		if got := f.stored(t, "TELEMETRY")[1].Header; got.Get("X") != "y" || got.Get("Ttp-Reason") != "" {
			t.Errorf("headers %v", got)
		}
		if _, err := q.Get(t.Context(), 1); !errors.Is(err, bus.ErrNoDeadLetter) {
			t.Errorf("still there: %v", err)
		}
		if err := q.Requeue(t.Context(), 1); !errors.Is(err, bus.ErrNoDeadLetter) {
			t.Errorf("requeued twice: %v", err)
		}
	})

	t.Run("without a stream it says so", func(t *testing.T) {
		t.Parallel()
		var missing *bus.MissingStreamError
		if _, err := bare(t, bus.Options{}).bus.DLQ(t.Context()); !errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	})
}

func open(t *testing.T, b *bus.Bus) *bus.DLQ {
	t.Helper()
	q, err := b.DLQ(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return q
}
