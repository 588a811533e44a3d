package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
)

// dlq runs the command on the server at url and returns what it prints.
func dlq(t *testing.T, url string, args ...string) (string, error) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"dlq"}, append(args, "--nats", url)...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// withLetters is a server with four dead letters, 1 to 4.
func withLetters(t *testing.T) (*natstest.Server, *bus.Bus) {
	t.Helper()
	server := natstest.Start(t)
	b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: server.URL()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	letters := []struct{ subject, data, reason string }{
		{"attacker.command", "one\x1b[2J", "malformed"},
		{"attacker.command", "two", "unknown-attacker"},
		{"attacker.http", "three", "unknown-attacker"},
		{"canary.t.triggered", "\xff", "malformed"},
	}
	for _, m := range letters {
		if err := b.Publish(t.Context(), bus.Message{Subject: m.subject, Data: []byte(m.data)}); err != nil {
			t.Fatal(err)
		}
	}
	s := b.NewSource(bus.Batch{Size: len(letters), Wait: time.Minute, Gap: time.Minute})
	t.Cleanup(func() { _ = s.Close() })
	batch, err := s.Fetch(t.Context())
	if err != nil || len(batch) != len(letters) {
		t.Fatalf("%d messages, %v", len(batch), err)
	}
	for i, d := range batch {
		if err := errors.Join(b.NewPublisher().DeadLetter(t.Context(), d, letters[i].reason, errors.New("why")), d.AckSync(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	return server, b
}

func TestDLQ_listIsFiltered(t *testing.T) {
	server, _ := withLetters(t)
	for filter, want := range map[string][]uint64{
		"":                                        {1, 2, 3, 4},
		"--subject attacker.*":                    {1, 2, 3},
		"--reason malformed":                      {1, 4},
		"--reason malformed --subject canary.>":   {4},
		"--sequence 2 --sequence 3":               {2, 3},
		"--since 1h":                              {1, 2, 3, 4},
		"--since 2999-01-01":                      nil,
		"--reason unknown-attacker --sequence 3":  {3},
		"--subject attacker.session.ended --json": nil,
	} {
		out, err := dlq(t, server.URL(), append([]string{"list", "--json=true"}, strings.Fields(filter)...)...)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		}
		var got []uint64
		for line := range strings.Lines(out) {
			var l letter
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: %v", filter, err)
			}
			got = append(got, l.Number)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
}

func TestDLQ_showEscapesWhatWasSent(t *testing.T) {
	server, _ := withLetters(t)
	out, err := dlq(t, server.URL(), "show", "--sequence", "1")
	if err != nil || strings.Contains(out, "\x1b") || !strings.Contains(out, `one\x1b[2J`) || !strings.Contains(out, "attacker.command") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = dlq(t, server.URL(), "show", "--sequence", "4", "--json")
	var l letter
	if err := errors.Join(err, json.Unmarshal([]byte(out), &l)); err != nil || string(l.Base64) != "\xff" || l.Data != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDLQ_retryPutsBackWhatIsMeant(t *testing.T) {
	server, b := withLetters(t)
	out, err := dlq(t, server.URL(), "retry", "--reason", "unknown-attacker")
	if err != nil || out != "retried=2 failed=0\n" {
		t.Errorf("%v: %s", err, out)
	}
	s := b.NewSource(bus.Batch{Size: 2, Wait: time.Minute, Gap: time.Minute})
	t.Cleanup(func() { _ = s.Close() })
	batch, err := s.Fetch(t.Context())
	if err != nil || len(batch) != 2 {
		t.Fatalf("%d messages came back, %v", len(batch), err)
	}
	if got := batch[0].Subject() + " " + string(batch[0].Data()) + ", " + batch[1].Subject() + " " + string(batch[1].Data()); got != "attacker.command two, attacker.http three" {
		t.Errorf("came back: %s", got)
	}
	if out, err := dlq(t, server.URL(), "list"); err != nil || strings.Contains(out, "unknown-attacker") || strings.Count(out, "malformed") != 2 {
		t.Errorf("left: %v\n%s", err, out)
	}
}

func TestDLQ_retryIsForTheMasterAndNeverByMistake(t *testing.T) {
	server, _ := withLetters(t)
	if _, err := dlq(t, server.URL(), "retry"); !errors.As(err, new(usageError)) {
		t.Errorf("retry of nothing in particular: %v", err)
	}
	if _, err := dlq(t, server.URL(), "list", "--sequence", "x"); !errors.As(err, new(usageError)) {
		t.Errorf("a number that is none: %v", err)
	}
	if _, err := dlq(t, server.URL(), "list", "--since", "soon"); !errors.As(err, new(usageError)) {
		t.Errorf("a time that is none: %v", err)
	}
	t.Setenv("DECNET_MODE", "agent")
	if _, err := dlq(t, server.URL(), "retry", "--all"); err == nil || !strings.Contains(err.Error(), "DECNET_MODE") {
		t.Errorf("retry on an agent: %v", err)
	}
	if out, err := dlq(t, server.URL(), "list"); err != nil || strings.Count(out, "\n") != 5 {
		t.Errorf("list on an agent: %v\n%s", err, out)
	}
}

func TestDLQ_withoutAServerSaysSo(t *testing.T) {
	server := natstest.Start(t)
	url := server.URL()
	if _, err := dlq(t, url, "list"); !errors.As(err, new(*bus.MissingStreamError)) {
		t.Errorf("no stream: %v", err)
	}
	server.Down()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := newRoot()
	root.SetArgs([]string{"dlq", "list", "--nats", url})
	if err := root.ExecuteContext(ctx); err == nil {
		t.Error("no server, no error")
	}
}
