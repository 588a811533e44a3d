package bus

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/worker"
)

func TestPull_endsByWhatTheServerSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, description string
		over                bool
		failure             string // "" if it is none
	}{
		{status: "100", description: "Idle Heartbeat"},
		{status: "404", description: "No Messages", over: true},
		{status: "408", description: "Request Timeout", over: true},
		{status: "409", description: "Message Size Exceeds MaxBytes", over: true},
		{status: "409", description: "Batch Completed", over: true},
		{status: "409", description: "Consumer Deleted", over: true, failure: "409 Consumer Deleted"},
		{status: "409", description: "Leadership Change", over: true, failure: "409 Leadership Change"},
		{status: "503", over: true, failure: nats.ErrNoResponders.Error()},
		{status: "", description: "", over: true, failure: "ended"},
		{status: "500\n", description: strings.Repeat("x", 10_000), over: true, failure: "500? xxx"},
	} {
		p := &pull{left: 2, bytes: 100}
		if p.take(&nats.Msg{Header: nats.Header{"Status": {test.status}, "Description": {test.description}}}) {
			t.Errorf("%q %q is a message", test.status, test.description)
		}
		if p.over != test.over || (p.reason != nil) != (test.failure != "") {
			t.Errorf("%q %q: over %t, %v", test.status, test.description, p.over, p.reason)
		}
		if p.reason != nil && (!strings.Contains(p.reason.Error(), test.failure) || len(p.reason.Error()) > 2*maxError) {
			t.Errorf("%q %q: %v", test.status, test.description, p.reason)
		}
	}
}

func TestPull_endsWithTheLastMessage(t *testing.T) {
	t.Parallel()
	m := &nats.Msg{Subject: "s", Reply: "r", Data: make([]byte, 8)} // of 10 bytes
	for _, test := range []struct{ left, bytes, want int }{{3, 1000, 3}, {3, 20, 2}, {3, 15, 2}, {1, 10, 1}} {
		p := &pull{left: test.left, bytes: test.bytes}
		for !p.over {
			p.take(m)
		}
		if p.taken != test.want || p.reason != nil {
			t.Errorf("of %d messages with %d bytes: %d, %v; want %d", test.left, test.bytes, p.taken, p.reason, test.want)
		}
	}
}

func TestPull_waits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pull{msgs: make(chan *nats.Msg, 3), left: 2, bytes: 100}
		begun := time.Now()
		if m := p.next(t.Context(), time.Second); m != nil || time.Since(begun) != time.Second {
			t.Errorf("after %s: %v, want nothing after a second", time.Since(begun), m)
		}
		p.msgs <- &nats.Msg{Header: nats.Header{"Status": {"100"}}}
		p.msgs <- &nats.Msg{Reply: "first"}
		if m := p.next(t.Context(), 0); m == nil || m.Reply != "first" {
			t.Errorf("got %v, want the message behind the heartbeat", m)
		}
		if m := p.next(t.Context(), 0); m != nil {
			t.Errorf("got %v, want nothing", m)
		}
		p.end(errors.New("away"))
		if m := p.next(t.Context(), time.Hour); m != nil {
			t.Errorf("got %v after the end", m)
		}
	})
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	want := worker.Meta{Stream: "TELEMETRY", Sequence: 12, Deliveries: 3, At: time.Unix(1700000000, 5).UTC()}
	for reply, ok := range map[string]bool{
		"$JS.ACK.TELEMETRY.ttp-worker.3.12.9.1700000000000000005.40":              true,
		"$JS.ACK._.acc.TELEMETRY.ttp-worker.3.12.9.1700000000000000005.40":        true,
		"$JS.ACK.hub.acc.TELEMETRY.ttp-worker.3.12.9.1700000000000000005.40.rand": true,
		"$JS.ACK.TELEMETRY.ttp-worker.3.12.9.1700000000000000005":                 false,
		"$JS.ACK.acc.TELEMETRY.ttp-worker.3.12.9.1700000000000000005.40":          false,
		"$JS.ACK.TELEMETRY.ttp-worker.three.12.9.1700000000000000005.40":          false,
		"$JS.ACK.TELEMETRY.ttp-worker.3.-1.9.1700000000000000005.40":              false,
		"$JS.ACK.TELEMETRY.ttp-worker.3.12.9..40":                                 false,
		"_INBOX.x.y": false,
		"":           false,
	} {
		got, gotOK := origin(reply)
		if gotOK != ok || ok && got != want {
			t.Errorf("%q: %+v, %t", reply, got, gotOK)
		}
	}
}

// TestSource_forgetsALostRequestAtOnce holds that the time of a request counts
// from when it was made, whatever the lane did meanwhile, and that what has come
// is not lost with it.
func TestSource_forgetsALostRequestAtOnce(t *testing.T) {
	t.Parallel()
	b, err := Connect(Options{Connection: Connection{URL: natstest.Start(t).URL()}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(t.Context(), Storage{}); err != nil { // by then it is connected
		t.Fatal(err)
	}
	s := &Source{bus: b, pull: &pull{msgs: make(chan *nats.Msg, 2), opened: time.Now().Add(-pullSilence), left: 5, bytes: 100}}
	if s.pull.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox(), s.pull.msgs); err != nil {
		t.Fatal(err)
	}
	if err := b.nc.PublishRequest(s.pull.sub.Subject, "answer", nil); err != nil { // it is on its way
		t.Fatal(err)
	}
	begun := time.Now()
	if m := s.await(t.Context()); m == nil || m.Reply != "answer" {
		t.Errorf("got %v, want what the server has sent", m)
	}
	if m := s.await(t.Context()); m != nil {
		t.Errorf("got %v, want nothing", m)
	}
	if took := time.Since(begun); took > pullSilence/2 {
		t.Errorf("took %s", took)
	}
}
