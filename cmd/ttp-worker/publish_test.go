package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
)

// published returns what is on the bus: "subject data".
func published(t *testing.T, b *bus.Bus) (messages []string) {
	t.Helper()
	h := b.NewHistory("TELEMETRY", time.Time{}, time.Time{})
	defer h.Close()
	if _, err := h.Begin(t.Context(), 0); err != nil {
		return nil // a server that has just come back may not know its streams yet
	}
	for {
		m, err := h.Next(t.Context())
		if err != nil {
			return messages
		}
		messages = append(messages, m.Subject+" "+string(m.Data))
	}
}

func provisioned(t *testing.T) (*natstest.Server, *bus.Bus) {
	t.Helper()
	server := natstest.Start(t)
	b := connected(t, server)
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	return server, b
}

func TestPublish_saysWhatIsMissing(t *testing.T) {
	server := natstest.Start(t)
	for name, c := range map[string]struct{ nats, want string }{
		"no streams": {server.URL(), "ttp-worker provision"},
		"no server":  {"nats://127.0.0.1:1", "connection refused (check that the NATS server runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := execute(t, "publish", "--nats", c.nats, "--from", save(t, everySubject)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %s", err, c.want)
			}
		})
	}
}

func TestPublish(t *testing.T) {
	server, b := provisioned(t)
	text := everySubject + cowrieLog(6) + `{"v":1,"topic":"something.else","payload":{}}` + "\n"
	name := save(t, text)
	if out, code := program(t, "publish", "--nats", server.URL(), "--from", name); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	first := published(t, b)
	if want := strings.Count(everySubject, "\n") + 6; len(first) != want {
		t.Errorf("%d messages, want %d", len(first), want)
	}
	if want := strings.Split(everySubject, "\n")[0]; !strings.HasSuffix(first[0], " "+want) {
		t.Errorf("an envelope was changed: %s", first[0])
	}
	if out, code := program(t, "publish", "--nats", server.URL(), name); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	if again := published(t, b); !slices.Equal(first, again) {
		t.Errorf("publishing again added %d messages: the ids differ", len(again)-len(first))
	}
	root := newRoot()
	root.SetIn(strings.NewReader("no JSON\n"))
	root.SetArgs([]string{"publish", "--nats", server.URL()})
	if code := exitCode(root.ExecuteContext(t.Context())); code != exitMalformed {
		t.Errorf("malformed input: exit %d", code)
	}
	if _, code := program(t, "publish", "--follow", "--from", "-"); code != exitUsage {
		t.Errorf("following standard input: exit %d", code)
	}
}

// follower runs publish --follow until it is stopped.
func follower(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot()
	root.SetArgs(append([]string{"publish", "--follow"}, args...))
	root.SetOut(new(bytes.Buffer))
	ended := make(chan int, 1)
	go func() { ended <- exitCode(root.ExecuteContext(ctx)) }()
	return func() {
		t.Helper()
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit %d", code)
		}
	}
}

func TestPublish_follow(t *testing.T) {
	server, b := provisioned(t)
	log := cowrieLog(30)
	parts := strings.SplitAfter(log, "\n")
	third := len(parts) / 3
	name := save(t, strings.Join(parts[:third], ""))
	args := []string{"--nats", server.URL(), "--from", name, "--state", filepath.Join(t.TempDir(), "place")}
	ended := func() int {
		return len(slices.DeleteFunc(published(t, b), func(m string) bool { return !strings.HasPrefix(m, "attacker.session.ended ") }))
	}
	closed := func(upTo int) int { return strings.Count(strings.Join(parts[:upTo], ""), "session.closed") }

	stop := follower(t, args...)
	until(t, "what is in the file", func() bool { return ended() == closed(third) })
	stop()

	appendFile(t, name, strings.Join(parts[third:2*third], ""))
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Join(parts[2*third:len(parts)-20], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = follower(t, args...)
	until(t, "what was written and rotated meanwhile", func() bool { return ended() == closed(len(parts)-20) })
	appendFile(t, name, strings.Join(parts[len(parts)-20:], ""))
	until(t, "what is appended", func() bool { return ended() == closed(len(parts)) })
	stop()

	// What came in pieces is what comes in one.
	whole, other := provisioned(t)
	if out, code := program(t, "publish", "--nats", whole.URL(), "--from", save(t, log)); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	want, got := published(t, other), published(t, b)
	for _, m := range got {
		if !slices.Contains(want, m) {
			t.Errorf("a message that the whole file does not give: %.200s", m)
		}
	}
}

func TestPublish_followWaitsForTheBus(t *testing.T) {
	server, b := provisioned(t)
	url := server.URL()
	server.Down()
	name := save(t, strings.Split(everySubject, "\n")[0]+"\n")
	stop := follower(t, "--nats", url, "--from", name, "--state", filepath.Join(t.TempDir(), "place"))
	server.Up()
	until(t, "connected again", b.Connected)
	until(t, "the event", func() bool { return len(published(t, b)) == 1 })
	stop()
}

func appendFile(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
