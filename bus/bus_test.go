package bus_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server, a bus on it, and a client that looks at it from outside.
type fixture struct {
	*natstest.Server
	bus *bus.Bus
	nc  *nats.Conn
	js  jetstream.JetStream
}

// start runs a server with the streams of o, and a bus.
func start(t testing.TB, o bus.Options) *fixture {
	t.Helper()
	f := bare(t, o)
	if err := f.bus.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	return f
}

// bare runs a server without any stream, and a bus.
func bare(t testing.TB, o bus.Options) *fixture {
	t.Helper()
	f := &fixture{Server: natstest.Start(t)}
	f.bus = f.connect(t, o)
	var err error
	if f.nc, err = nats.Connect(f.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	if f.js, err = jetstream.New(f.nc); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	return connectTo(t, f.URL(), o)
}

func connectTo(t testing.TB, url string, o bus.Options) *bus.Bus {
	t.Helper()
	o.URL = url
	b, err := bus.Connect(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// source returns a source that is closed with the test.
func source(t testing.TB, b *bus.Bus, batch bus.Batch) *bus.Source {
	t.Helper()
	s := b.NewSource(batch)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// publish publishes n commands numbered from first.
func publish(t testing.TB, b *bus.Bus, first, n int) {
	t.Helper()
	sent, err := b.PublishAll(t.Context(), func(yield func(bus.Message) bool) {
		for i := range n {
			if !yield(command(first + i)) {
				return
			}
		}
	})
	if err != nil || sent != n {
		t.Fatalf("published %d of %d: %v", sent, n, err)
	}
}

func command(i int) bus.Message {
	return bus.Message{Subject: "attacker.command", Data: []byte(fmt.Sprint(i)), ID: fmt.Sprint("m", i)}
}

// fetch returns the next batch, within ten seconds.
func fetch(t testing.TB, s *bus.Source) []worker.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	batch, err := s.Fetch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// eventually waits until ok, for ten seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 10s: %s", what)
}

// consumer returns what the server says of the consumer.
func (f *fixture) consumer(t testing.TB) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := f.js.Consumer(t.Context(), "TELEMETRY", "ttp-worker")
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// stored returns the messages of a stream.
func (f *fixture) stored(t testing.TB, name string) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := f.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

// storeLarge leaves one message of size bytes in the store of a server.
func storeLarge(t *testing.T, o server.Options, size int) {
	t.Helper()
	t.Run("store", func(t *testing.T) {
		b := busOn(t, o)
		if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), bus.Message{Subject: "attacker.http", Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	})
}

// busOn runs a server with other options than ours until the test ends.
func busOn(t *testing.T, o server.Options) *bus.Bus {
	t.Helper()
	return connectTo(t, serve(t, o), bus.Options{})
}

// serve runs a server until the test ends and returns its URL.
func serve(t *testing.T, o server.Options) string {
	t.Helper()
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	return s.ClientURL()
}

func numbers(batch []worker.Delivery) []string {
	list := make([]string, len(batch))
	for i, d := range batch {
		list[i] = string(d.Data())
	}
	return list
}

// collect fetches until there are n messages.
func collect(t testing.TB, s *bus.Source, n int) []worker.Delivery {
	t.Helper()
	var all []worker.Delivery
	for len(all) < n {
		all = append(all, fetch(t, s)...)
	}
	return all
}

// ackAll settles a batch the way the worker does.
func ackAll(t testing.TB, batch []worker.Delivery) {
	t.Helper()
	last := len(batch) - 1
	for _, d := range batch[:last] {
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch[last].AckSync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()

	t.Run("a server that is away at start is waited for", func(t *testing.T) {
		t.Parallel()
		s := natstest.Start(t)
		url := s.URL()
		s.Down()
		log, logged := observer.New(zap.DebugLevel)
		b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: url}}, zap.New(log))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.Publish(t.Context(), command(1)); err == nil || ttp.IsPermanent(err) || errors.Is(err, nats.ErrHeadersNotSupported) {
			t.Errorf("publishing without a server: %v, want a transient error", err)
		}
		eventually(t, "said why", func() bool { return strings.Contains(b.Trouble(), "connection refused") })
		s.Up()
		eventually(t, "connected", b.Connected)
		if trouble := b.Trouble(); trouble != "" {
			t.Errorf("connected, and yet %s", trouble)
		}
		for _, line := range []string{"NATS not reachable", "NATS reachable", "connected to NATS"} {
			eventually(t, line, func() bool { return logged.FilterMessage(line).Len() == 1 })
		}
	})

	t.Run("in process needs no address", func(t *testing.T) {
		t.Parallel()
		s, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		log, logged := observer.New(zap.InfoLevel)
		b, err := bus.Connect(bus.Options{Connection: bus.Connection{InProcess: s}}, zap.New(log))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		eventually(t, "logged where", func() bool { return logged.FilterField(zap.String("server", "in this process")).Len() == 1 })
		if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), command(1)); err != nil {
			t.Error(err)
		}
	})

	t.Run("a password in a bad URL is not told", func(t *testing.T) {
		t.Parallel()
		_, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: "nats://user:sesame@host:port"}}, nil)
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("got %v", err)
		}
	})

	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		o    bus.Options
		want string
	}{
		"a stream name with a dot":              {bus.Options{TTP: "a.b"}, `"a.b"`},
		"a consumer name with a blank":          {bus.Options{Consumer: bus.Consumer{Name: "a b"}}, `"a b"`},
		"a prefix without its dot":              {bus.Options{Prefix: "decnet"}, `"decnet"`},
		"a prefix with a wildcard":              {bus.Options{Prefix: "*."}, `"*."`},
		"a seed that is not there":              {bus.Options{Connection: bus.Connection{NKeyFile: missing}}, "missing"},
		"authorities that are not there":        {bus.Options{Connection: bus.Connection{CAFile: missing}}, "missing"},
		"a client certificate without its key":  {bus.Options{Connection: bus.Connection{CertFile: missing}}, "go together"},
		"a client certificate that's not there": {bus.Options{Connection: bus.Connection{CertFile: missing, KeyFile: missing}}, "missing"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			t.Parallel()
			b, err := bus.Connect(test.o, nil)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %s", err, test.want)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	f := start(t, bus.Options{Prefix: "decnet."})
	seen := make(chan string, 10)
	stop, err := f.bus.Watch(t.Context(), "attacker.>", func(subject string, data []byte) { seen <- subject + " " + string(data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	publish(t, f.bus, 7, 1)
	if got := <-seen; got != "attacker.command 7" {
		t.Errorf("seen %q", got)
	}
}

func TestWatch_beginsWhenAServerThatIsAwayIsBack(t *testing.T) {
	t.Parallel()
	f := start(t, bus.Options{})
	f.Down()
	seen := make(chan string, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	stop, err := f.bus.Watch(ctx, "attacker.>", func(_ string, data []byte) { seen <- string(data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	f.Up()
	eventually(t, "connected", f.bus.Connected)
	publish(t, f.bus, 7, 1)
	if got := <-seen; got != "7" {
		t.Errorf("seen %q", got)
	}
}
