package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/internal/testdb"
)

// TestLive_startAndStopUnderLoadLeavesNothing starts and stops everything
// while events come: no goroutine stays, and what one run did not finish the
// next one does.
func TestLive_startAndStopUnderLoadLeavesNothing(t *testing.T) {
	dsn, server := testdb.MySQL(t), natstest.Start(t)
	const rounds, each = 4, 60
	db := testdb.Open(t, dsn)
	db.SetMaxOpenConns(1)
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	for round := range rounds {
		// The last one is left to finish.
		churn(t, db, server.URL(), dsn, round*each, each, time.Duration(round)*7*time.Millisecond, round == rounds-1, rounds*each)
	}
	server.Down()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// churn runs a worker that is stopped so long after the first of its events,
// or when total events are tagged.
func churn(t *testing.T, db *sql.DB, url, dsn string, first, n int, after time.Duration, finish bool, total int) {
	t.Helper()
	o := &runOptions{nats: url, db: dsn, rules: []string{"builtin"}, unknownAttacker: "create", provision: true, migrate: true, lanes: 3, batchSize: 7}
	l, err := newLive(t.Context(), o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.prepare(t.Context(), o, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.work(ctx) }()
	sent, err := l.bus.PublishAll(t.Context(), func(yield func(bus.Message) bool) {
		for i := first; i < first+n; i++ {
			data := fmt.Sprintf(`{"payload":{"attacker_ip":"198.51.100.7","id":"c%d","command_text":"cat /etc/shadow"}}`, i)
			if !yield(bus.Message{Subject: "attacker.command", Data: []byte(data)}) {
				return
			}
		}
	})
	if err != nil || sent != n {
		t.Fatalf("sent %d: %v", sent, err)
	}
	if finish {
		until(t, "every event is tagged and nothing left in the outbox", func() bool {
			return sources(t, db) == total && outboxRows(t, l) == 0
		})
	} else {
		<-time.After(after)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := outboxRows(t, l); n != 0 {
		t.Errorf("%d announcements left in the outbox by a clean stop", n)
	}
}

func outboxRows(t *testing.T, l *live) int64 {
	t.Helper()
	rows, _, err := l.db.OutboxStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// sources counts the events that have tags.
func sources(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(DISTINCT source_id) FROM ttp_tag").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReady_onlyOnceThereIsSomethingToWorkWith(t *testing.T) {
	server := natstest.Start(t)
	o := &runOptions{nats: server.URL(), db: testdb.SQLite(t), rules: []string{"builtin"}, unknownAttacker: "create", provision: true, migrate: true, lanes: 1}
	l, err := newLive(t.Context(), o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if got := l.notReady(); !slices.Contains(got, "worker: starting") {
		t.Errorf("before the start: %q", got)
	}
	if err := l.prepare(t.Context(), o, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if got := l.notReady(); len(got) > 0 {
		t.Errorf("after the start: %q", got)
	}
}
