package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"ttp-worker/internal/failpoint"
	"ttp-worker/internal/servers"
)

const (
	mariadb = "mariadb"
	sqlite  = "sqlite"
)

// faults lists everything that is made to go wrong.
func faults() []fault {
	return slices.Concat(crashes(), pauses(), busFaults(), databaseFaults(), networkFaults(), poisonFaults(), loadFaults(), stopFaults(), stateFaults())
}

// crashes end the worker at every step of a batch.
func crashes() (list []fault) {
	for _, p := range failpoint.Points() {
		for _, db := range []string{mariadb, sqlite} {
			list = append(list, fault{
				name: "kill " + string(p), setup: setup{database: db}, short: true,
				redelivers: p != failpoint.AfterAck, inject: crash(p),
			})
		}
	}
	list = append(list, fault{name: "kill at random", setup: setup{database: mariadb, workers: 3}, redelivers: true, inject: killAtRandom})
	return list
}

// crash lets the worker die at p, twice, and then start without fail-points.
func crash(p failpoint.Point) func(context.Context, *world) error {
	return func(_ context.Context, w *world) error {
		k := w.workers[0]
		if err := k.Kill(); err != nil {
			return err
		}
		for range 2 {
			if err := w.rerun(k, fmt.Sprintf("%s=kill@%d", p, w.h.between(1, 4))); err != nil {
				return err
			}
			if code, err := k.Wait(startWithin); err != nil || code != -1 {
				return errors.Join(err, fmt.Errorf("not killed %s: exit code %d, see %s", p, code, k.log))
			}
		}
		return w.rerun(k, "")
	}
}

// killAtRandom kills workers at any time, one after the other.
func killAtRandom(ctx context.Context, w *world) error {
	for range 6 {
		w.pause(ctx, 100*time.Millisecond, 700*time.Millisecond)
		k := w.workers[w.h.between(0, len(w.workers)-1)]
		if err := k.Kill(); err != nil {
			return err
		}
		if err := w.rerun(k, ""); err != nil {
			return err
		}
	}
	return nil
}

// pauses stop a worker for longer than the server waits for its word, so that
// another one gets its messages, and then let it go on.
func pauses() (list []fault) {
	for _, db := range []string{mariadb, sqlite} {
		list = append(list, fault{
			name: "stop at random", setup: setup{database: db, workers: 2}, short: db == mariadb, redelivers: true, inject: stopAtRandom,
		})
		for _, p := range failpoint.Points() {
			list = append(list, fault{
				name: "stop " + string(p), setup: setup{database: db, workers: 1}, short: p == failpoint.AfterCommit, inject: stopAt(p),
				redelivers: felt(db, p),
			})
		}
	}
	return list
}

// felt reports whether messages must come again when a worker stops at p. From
// the publishing on it may be the sweeper that stops, with no batch in hand; and
// who stops while any of its lanes is in a transaction of SQLite keeps the others
// from writing, so that they ask for no messages until he goes on.
func felt(db string, p failpoint.Point) bool {
	switch p {
	case failpoint.AfterTag, failpoint.AfterBegin, failpoint.AfterInsert, failpoint.AfterOutbox, failpoint.AfterCommit:
		return db == mariadb
	}
	return false
}

const longPause = 2*ackWait + ackWait/2

func stopAtRandom(ctx context.Context, w *world) error {
	for range 2 {
		k := w.workers[w.h.between(0, 1)]
		if err := k.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		w.pause(ctx, longPause, longPause)
		if err := k.Signal(syscall.SIGCONT); err != nil {
			return err
		}
		w.pause(ctx, 100*time.Millisecond, 500*time.Millisecond)
	}
	return nil
}

// stopAt lets a second worker stop at p, in whose hands the messages then are.
func stopAt(p failpoint.Point) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if err := w.addWorker(fmt.Sprintf("%s=stop@%d", p, w.h.between(1, 4))); err != nil {
			return err
		}
		k := w.workers[len(w.workers)-1]
		err := servers.Eventually(startWithin, func() error {
			if s := k.State(); s != 'T' {
				return fmt.Errorf("not stopped %s: in state %c", p, s)
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.pause(ctx, longPause, longPause)
		return k.Signal(syscall.SIGCONT)
	}
}

func busFaults() (list []fault) {
	restart := func(sig syscall.Signal, away time.Duration) func(context.Context, *world) error {
		return func(_ context.Context, w *world) error { return w.nats[0].Restart(sig, away) }
	}
	for _, db := range []string{mariadb, sqlite} {
		list = append(list,
			fault{name: "nats restarted", setup: setup{database: db}, inject: restart(syscall.SIGTERM, 200*time.Millisecond)},
			fault{name: "nats killed", setup: setup{database: db}, short: db == mariadb, inject: restart(syscall.SIGKILL, 200*time.Millisecond)},
			fault{name: "nats away 5 ack waits", setup: setup{database: db}, inject: restart(syscall.SIGKILL, 5*ackWait)})
	}
	return append(list, fault{name: "cluster loses a node", setup: setup{database: mariadb, cluster: true}, inject: loseNode})
}

// loseNode kills the node that leads the stream of events and, when another
// one does, brings it back.
func loseNode(ctx context.Context, w *world) error {
	stream, err := w.js.Stream(ctx, "TELEMETRY")
	if err != nil {
		return err
	}
	leader := w.nats[0]
	for _, s := range w.nats {
		if c := stream.CachedInfo().Cluster; c != nil && c.Leader == fmt.Sprintf("n%d", s.Port) {
			leader = s
		}
	}
	return leader.Restart(syscall.SIGKILL, 3*ackWait)
}

func databaseFaults() []fault {
	restart := func(sig syscall.Signal, away time.Duration) func(context.Context, *world) error {
		return func(_ context.Context, w *world) error { return w.db.Restart(sig, away) }
	}
	own := setup{database: mariadb, ownDB: true}
	return append([]fault{
		{name: "database restarted", setup: own, inject: restart(syscall.SIGTERM, 200*time.Millisecond)},
		{name: "database killed", setup: own, short: true, inject: restart(syscall.SIGKILL, 200*time.Millisecond)},
		{name: "database and nats killed", setup: own, inject: killBoth},
	}, patientFaults()...)
}

// longAckWait leaves a busy machine the time to keep messages alive.
const longAckWait = 3 * ackWait

// patientFaults keep the database from work for longer than the ack wait.
// Nothing may be delivered again meanwhile.
func patientFaults() []fault {
	list := []fault{
		{name: "database away 5 ack waits", setup: setup{database: mariadb, ownDB: true}, inject: func(_ context.Context, w *world) error {
			return w.db.Restart(syscall.SIGKILL, 5*longAckWait)
		}},
		{name: "database read-only", setup: setup{database: mariadb, ownDB: true, grants: true}, inject: readOnly},
		{name: "table locked", setup: setup{database: mariadb}, short: true, inject: lockTable},
		{name: "database locked", setup: setup{database: sqlite}, inject: lockFile},
	}
	for i := range list {
		list[i].args = []string{"--ack-wait", longAckWait.String()}
		list[i].check = noRedelivery
	}
	return list
}

// noRedelivery wants the messages to be kept alive during the fault.
func noRedelivery(_ *world, v *verdict) {
	if v.redelivered > 0 {
		v.complain("%d messages were redelivered: they were not kept alive", v.redelivered)
	}
}

func killBoth(ctx context.Context, w *world) error {
	both := []*servers.Server{w.nats[0], w.db}
	for _, s := range both {
		if err := s.Kill(); err != nil {
			return err
		}
	}
	w.pause(ctx, time.Second, 2*time.Second)
	if w.h.between(0, 1) == 0 {
		slices.Reverse(both)
	}
	for _, s := range both {
		if err := s.Start(); err != nil {
			return err
		}
		w.pause(ctx, 0, 2*time.Second)
	}
	return nil
}

func readOnly(ctx context.Context, w *world) error {
	if err := w.db.Exec("SET GLOBAL read_only = 1"); err != nil {
		return err
	}
	w.pause(ctx, 2*longAckWait, 2*longAckWait)
	return w.db.Exec("SET GLOBAL read_only = 0")
}

// lockTable holds a lock on the table for longer than a lock is waited for.
func lockTable(ctx context.Context, w *world) error {
	conn, err := w.store.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "LOCK TABLES ttp_tag WRITE, attackers WRITE"); err != nil {
		return err
	}
	w.pause(ctx, 2*longAckWait, 2*longAckWait)
	_, err = conn.ExecContext(ctx, "UNLOCK TABLES")
	return err
}

// lockFile holds SQLite's one write lock for longer than it is waited for.
func lockFile(ctx context.Context, w *world) error {
	tx, err := w.store.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	w.pause(ctx, 2*longAckWait, 2*longAckWait)
	return tx.Rollback()
}

func networkFaults() (list []fault) {
	for what, of := range map[string]func(*world) *proxy{
		"nats":     func(w *world) *proxy { return w.natsProxy },
		"database": func(w *world) *proxy { return w.dbProxy },
	} {
		s := setup{database: mariadb}
		list = append(list,
			fault{name: what + " connections cut", setup: s, inject: cut(of)},
			fault{name: what + " connections held", setup: s, inject: hold(of)},
			fault{name: what + " connections slow", setup: s, inject: slow(of)})
	}
	slices.SortFunc(list, func(a, b fault) int { return slices.Compare([]byte(a.name), []byte(b.name)) })
	return list
}

// cut cuts the connections again and again, at any time.
func cut(of func(*world) *proxy) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		for range 8 {
			of(w).sever()
			w.pause(ctx, 0, 200*time.Millisecond)
			of(w).heal()
			w.pause(ctx, 50*time.Millisecond, 800*time.Millisecond)
		}
		return nil
	}
}

func hold(of func(*world) *proxy) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		of(w).hold()
		w.pause(ctx, longPause, longPause)
		of(w).heal()
		return nil
	}
}

func slow(of func(*world) *proxy) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		of(w).slow(100 * time.Millisecond)
		w.pause(ctx, longPause, longPause)
		of(w).heal()
		return nil
	}
}
