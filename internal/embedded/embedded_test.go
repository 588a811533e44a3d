package embedded_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/internal/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func dial(t *testing.T, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestStart(t *testing.T) {
	t.Parallel()

	t.Run("without an address it is reached from inside only", func(t *testing.T) {
		t.Parallel()
		s := run(t, embedded.Options{Dir: filepath.Join(t.TempDir(), "made", "for it")})
		if s.URL() != "" {
			t.Errorf("listens on %s", s.URL())
		}
		js := dial(t, "", nats.InProcessServer(s))
		if _, err := js.AccountInfo(t.Context()); err != nil {
			t.Errorf("JetStream: %v", err)
		}
		if limit := js.Conn().MaxPayload(); limit != 8<<20 {
			t.Errorf("takes messages of %d bytes, want 8 MiB", limit)
		}
	})

	t.Run("what was stored is there after a restart", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		t.Run("first", func(t *testing.T) {
			js := dial(t, run(t, embedded.Options{Dir: dir, Listen: "127.0.0.1:0"}).URL())
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
				t.Fatal(err)
			}
		})
		js := dial(t, run(t, embedded.Options{Dir: dir, Listen: "localhost:0"}).URL())
		stream, err := js.Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := stream.GetMsg(t.Context(), 1); err != nil || string(msg.Data) != "kept" {
			t.Errorf("got %v, %v", msg, err)
		}
	})

	t.Run("its life is debugging", func(t *testing.T) {
		t.Parallel()
		log, logged := observer.New(zap.DebugLevel)
		run(t, embedded.Options{Dir: t.TempDir(), Log: zap.New(log)})
		if logged.Len() == 0 {
			t.Error("nothing is logged")
		}
		for _, line := range logged.All() {
			if line.Level > zap.DebugLevel {
				t.Errorf("%s: %s", line.Level, line.Message)
			}
		}
	})
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	taken := t.TempDir()
	run(t, embedded.Options{Dir: taken})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unusable := t.TempDir() // the server makes a directory of this name
	if err := os.WriteFile(filepath.Join(unusable, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o    embedded.Options
		want []string
	}{
		"no directory":                        {embedded.Options{}, []string{"no directory"}},
		"a directory that is a file":          {embedded.Options{Dir: file}, []string{file}},
		"a directory that can't be used":      {embedded.Options{Dir: unusable}, []string{unusable, "JetStream"}},
		"a directory that another server has": {embedded.Options{Dir: taken}, []string{taken, "another process is using it"}},
		"an address that is in use":           {embedded.Options{Listen: busy.Addr().String()}, []string{busy.Addr().String(), "in use", "another port"}},
		"an address of the network":           {embedded.Options{Listen: "0.0.0.0:4222"}, []string{"0.0.0.0:4222", "loopback", "log-in"}},
		"an address without a host":           {embedded.Options{Listen: ":4222"}, []string{`":4222"`, "127.0.0.1:4222"}},
		"a host name":                         {embedded.Options{Listen: "example.org:4222"}, []string{"127.0.0.1:4222"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.o.Dir == "" && name != "no directory" {
				test.o.Dir = t.TempDir()
			}
			begun := time.Now()
			s, err := embedded.Start(test.o)
			if err == nil {
				s.Stop()
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestStopGivesTheDirectoryFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 3 {
		s, err := embedded.Start(embedded.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s.Stop()
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	s, err := embedded.Start(embedded.Options{Dir: dir, Listen: busy.Addr().String()})
	if err == nil {
		s.Stop()
		t.Fatal("no error")
	}
	run(t, embedded.Options{Dir: dir}) // a start that failed leaves it free, too
}
