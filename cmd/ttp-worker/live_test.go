package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/internal/testdb"
	"ttp-worker/ttp"
)

// harness is a worker on a real bus and a real database, and what it published.
type harness struct {
	*live
	mu   sync.Mutex // guards seen
	seen map[string][]ttp.Envelope
	stop func()
}

func startLive(t *testing.T, dsn string, log *zap.Logger, dirs ...string) *harness {
	t.Helper()
	o := &runOptions{
		embedded: t.TempDir(), db: dsn, rules: append([]string{"builtin"}, dirs...), unknownAttacker: "create", provision: true, migrate: true, lanes: 2, prefix: "hp.",
	}
	l, err := newLive(t.Context(), o, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if err := l.prepare(t.Context(), o, log); err != nil {
		t.Fatal(err)
	}
	h := &harness{live: l, seen: make(map[string][]ttp.Envelope)}
	unwatch, err := l.bus.Watch(t.Context(), "ttp.>", h.see)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.work(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		unwatch()
	})
	t.Cleanup(h.stop)
	return h
}

func (h *harness) see(subject string, data []byte) {
	env, err := ttp.ParseEnvelope(string(data))
	if err != nil {
		env = ttp.Envelope{Type: "not an envelope"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[subject] = append(h.seen[subject], env)
}

func (h *harness) count(subject string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, list := range h.seen {
		if strings.HasPrefix(s, subject) {
			n += len(list)
		}
	}
	return n
}

func (h *harness) publish(t *testing.T, subject, payload string) {
	t.Helper()
	if err := h.bus.Publish(t.Context(), bus.Message{Subject: subject, Data: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatal("never: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

const sessionEnded = `{"v":1,"payload":{"session_id":"S","attacker_uuid":null,"attacker_ip":"198.51.100.7","decky_id":"node","service":"ssh",
	"ended_at":"2026-05-02T06:23:30","commands":[{"id":"S#0","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:48","decky":"SRV"}]}}`

func TestLive_tagsStoresAndAnnouncesOnce(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "sqlite": testdb.SQLite} {
		t.Run(name, func(t *testing.T) {
			h := startLive(t, dsn(t), zap.NewNop())
			h.publish(t, "attacker.session.ended", sessionEnded)
			until(t, "ttp.tagged and ttp.rule.fired.T1003", func() bool { return h.count("ttp.tagged") == 1 && h.count("ttp.rule.fired.T1003") == 1 })

			h.mu.Lock()
			payload := h.seen["ttp.tagged"][0].Payload
			h.mu.Unlock()
			if got := payload.Text("source_kind") + " " + payload.Text("source_id") + " " + payload.Text("attacker_uuid"); got != "session S "+ttp.AttackerUUID("198.51.100.7") {
				t.Errorf("announced as %s", got)
			}
			first, err := h.db.AttackersByAddress(t.Context(), []string{"198.51.100.7"})
			if err != nil || len(first) != 1 {
				t.Errorf("attackers: %v, %v", first, err)
			}

			// The same again adds nothing; a dead letter does not stop what follows.
			h.publish(t, "attacker.session.ended", sessionEnded)
			for _, bad := range []string{"no JSON", `{"v":9,"payload":{}}`, `{"payload":{"command_text":"cat /etc/shadow"}}`} {
				h.publish(t, "attacker.command", bad)
			}
			h.publish(t, "canary.t1.triggered", `{"payload":{"token_id":"t1","trigger_id":"T1","src_ip":"198.51.100.8","request_path":"/c/x","decky_name":"d"}}`)
			until(t, "the canary's tags and three dead letters", func() bool { return h.count("ttp.tagged") >= 2 && h.count("ttp.dlq.attacker.command") == 3 })
			h.stop()
			if n := h.count("ttp.tagged"); n != 2 {
				t.Errorf("%d announcements, want 2", n)
			}
			if rows, _, err := h.db.OutboxStats(t.Context()); rows != 0 || err != nil {
				t.Errorf("outbox: %d rows, %v", rows, err)
			}
		})
	}
}

func TestDemo_secondRunAddsNothing(t *testing.T) {
	dir := t.TempDir()
	var first, second strings.Builder
	if err := demo(t.Context(), dir, new(answerOptions), &first); err != nil {
		t.Fatal(err)
	}
	if err := demo(t.Context(), dir, new(answerOptions), &second); err != nil {
		t.Fatal(err)
	}
	if out := first.String(); !strings.Contains(out, "T1059.004") || strings.Contains(out, "inserted=0 ") {
		t.Errorf("first run:\n%s", out)
	}
	if !strings.Contains(second.String(), " inserted=0 published=0 seen=0 ") {
		t.Errorf("second run:\n%s", second.String())
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want int
	}{
		"help":                        {args: []string{"--help"}},
		"run without a database":      {args: []string{"run"}, want: exitUsage},
		"unknown flag":                {args: []string{"tag", "--nope"}, want: exitUsage},
		"unknown argument":            {args: []string{"tag", "x"}, want: exitUsage},
		"bad database address":        {args: []string{"migrate", "--db", "x"}, want: exitUsage},
		"rules that are not there":    {args: []string{"rules", "test", "--rules", "/nonexistent"}, want: exitUsage},
		"bad value in an environment": {args: []string{"run"}, env: map[string]string{"TTP_LANES": "x"}, want: exitUsage},
		"run on an agent":             {args: []string{"run"}, env: map[string]string{"DECNET_MODE": "agent"}, want: exitFailed},
		"run on an agent, allowed":    {args: []string{"run", "--allow-agent"}, env: map[string]string{"DECNET_MODE": "agent"}, want: exitUsage},
		"built-in rules":              {args: []string{"rules", "test"}},
		"fail-point in a product":     {args: []string{"--help"}, env: map[string]string{"TTP_FAILPOINT": "after-commit=kill@1"}, want: exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			if got := run(c.args); got != c.want {
				t.Errorf("exit %d, want %d", got, c.want)
			}
		})
	}
}
