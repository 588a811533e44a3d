package bus_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
)

// endpoints answer, each in another way.
var endpoints = []bus.Endpoint{
	{Name: "echo", Does: "says it again", Answer: func(_ context.Context, request []byte) bus.Reply { return bus.Reply{Data: request, Next: "page 2"} }},
	{Name: "refuse", Does: "refuses", Answer: func(context.Context, []byte) bus.Reply {
		return bus.Reply{Data: []byte(`{"status":422}`), Code: 422, Why: "a parameter is wrong"}
	}},
	{Name: "flood", Does: "says too much", Answer: func(context.Context, []byte) bus.Reply {
		return bus.Reply{Data: []byte(strings.Repeat("x", 16<<20))}
	}},
}

func TestServe(t *testing.T) {
	s := natstest.Start(t)
	b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: s.URL()}, Prefix: "decnet."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	stop, err := b.Serve(t.Context(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ask := func(subject, request string) *nats.Msg {
		t.Helper()
		m, err := nc.Request(subject, []byte(request), 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return m
	}
	if m := ask("decnet.ttp-reads.echo", "hello"); string(m.Data) != "hello" || m.Header.Get(bus.NextHeader) != "page 2" {
		t.Errorf("echo: %q %v", m.Data, m.Header)
	}
	for name, code := range map[string]string{"refuse": "422", "flood": "413"} {
		m := ask("decnet.ttp-reads."+name, "")
		var problem struct{ Status int }
		if err := json.Unmarshal(m.Data, &problem); err != nil || m.Header.Get(micro.ErrorCodeHeader) != code || problem.Status == 0 {
			t.Errorf("%s: %v %.100q, want the code %s", name, m.Header, m.Data, code)
		}
	}
	var info micro.Info
	if err := json.Unmarshal(ask("$SRV.INFO.ttp-worker", "").Data, &info); err != nil || len(info.Endpoints) != len(endpoints) {
		t.Errorf("the service is not to be found: %v %+v", err, info)
	}
	stop()
	if m, err := nc.Request("decnet.ttp-reads.echo", nil, 10*time.Second); err == nil {
		t.Errorf("after stop: %q", m.Data)
	}
}
