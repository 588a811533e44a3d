package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/servers"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// rig is what contenders are measured in.
type rig struct {
	dir                string
	events             int
	corpus             []string
	tags               []int // of each line of the corpus, by the built-in rules
	worker, natsServer string
	profiles           string // directory; "": none are wanted
	running            []*servers.Process
	ports              servers.Ports
}

// measurement is what one run showed, from the first delivery on.
type measurement struct {
	events, tags int
	elapsed      time.Duration
	used         usage
	peakMemory   int64 // since the contender's start
}

func (m measurement) rate() float64 { return float64(m.events) / m.elapsed.Seconds() }

func (r *rig) close() {
	for _, p := range r.running {
		_ = p.Kill() // it may have ended
	}
	r.running = nil
}

// stage is one run's servers.
type stage struct {
	dir      string
	embedded string // where the worker's own servers keep their state, "" for none
	url      string // of the bus
	nc       *nats.Conn
	js       jetstream.JetStream
	nats, db *servers.Server // nil if the worker brings it
	dsn      string
	driver   string // the dsn for the bare loop
}

// measure runs one scenario on fresh servers.
func (r *rig) measure(ctx context.Context, s scenario) (m measurement, err error) {
	defer r.close()
	st, err := r.stage(ctx, s)
	if err != nil {
		return m, err
	}
	if err := r.publish(ctx, st.js, s); err != nil {
		return m, err
	}
	if s.db == "sqlite" {
		if err := r.embed(ctx, st); err != nil {
			return m, err
		}
	}
	if s.again {
		if _, err := r.contest(ctx, s, st); err != nil {
			return m, err
		}
		if err := st.js.DeleteConsumer(ctx, "TELEMETRY", "ttp-worker"); err != nil {
			return m, err
		}
	}
	return r.contest(ctx, s, st)
}

// stage starts the servers and makes streams, tables and attackers.
func (r *rig) stage(ctx context.Context, s scenario) (*stage, error) {
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return nil, err
	}
	st := &stage{dir: dir}
	if s.db != "sqlite" {
		if err := r.startDatabase(ctx, s, st); err != nil {
			return nil, err
		}
	}
	port, err := r.ports.Next()
	if err != nil {
		return nil, err
	}
	if st.nats, err = servers.NewNATS(r.natsServer, filepath.Join(dir, "nats"), port, "2m", ""); err != nil {
		return nil, err
	}
	if err := st.nats.Start(); err != nil {
		return nil, err
	}
	r.running = append(r.running, st.nats.Process)
	st.url = "nats://" + st.nats.Addr()
	if err := st.connect(); err != nil {
		return nil, err
	}
	return st, st.streams(ctx)
}

// embed ends the server that has taken the events and gives its streams to the
// worker's own, beside a database in the same directory.
func (r *rig) embed(ctx context.Context, st *stage) error {
	st.embedded = filepath.Join(st.dir, "state")
	if err := st.nats.Term(time.Minute); err != nil {
		return err
	}
	if err := os.MkdirAll(st.embedded, 0o700); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(st.dir, "nats", "store"), filepath.Join(st.embedded, "nats")); err != nil {
		return err
	}
	port, err := r.ports.Next()
	if err != nil {
		return err
	}
	st.nats, st.url = nil, fmt.Sprintf("nats://127.0.0.1:%d", port)
	st.dsn = "sqlite://" + filepath.Join(st.embedded, "ttp.db")
	db, err := migrate(ctx, st.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	var list []ttp.Attacker
	for n := range (mix{}).attackers() {
		list = append(list, ttp.Attacker{UUID: ttp.AttackerUUID(addressOf(n)), Address: addressOf(n)})
	}
	return db.CreateAttackers(ctx, list)
}

func (r *rig) startDatabase(ctx context.Context, s scenario, st *stage) error {
	port, err := r.ports.Next()
	if err != nil {
		return err
	}
	st.db, err = servers.NewMariaDB(filepath.Join(st.dir, "db"), port, "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=1", "--innodb-log-file-size=512M")
	if err != nil {
		return err
	}
	if err := st.db.Start(); err != nil {
		return err
	}
	r.running = append(r.running, st.db.Process)
	root, err := st.db.Open("root", "")
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.ExecContext(ctx, "CREATE DATABASE bench"); err != nil {
		return err
	}
	st.dsn = (&url.URL{Scheme: "mysql", User: url.User("root"), Host: st.db.Addr(), Path: "/bench"}).String()
	st.driver = "root@tcp(" + st.db.Addr() + ")/bench?interpolateParams=true&maxAllowedPacket=0"
	db, err := migrate(ctx, st.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	bench, err := st.db.Open("root", "bench")
	if err != nil {
		return err
	}
	defer bench.Close()
	return preload(ctx, bench, s.mix.attackers(), s.rows)
}

// migrate makes the tables.
func migrate(ctx context.Context, dsn string) (*sink.DB, error) {
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		return nil, err
	}
	return db, db.Migrate(ctx)
}

// connect connects to the bus, wherever it is now.
func (st *stage) connect() error {
	if st.nc != nil {
		st.nc.Close()
	}
	var err error
	if st.nc, err = nats.Connect(st.url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(20*time.Millisecond)); err != nil {
		return err
	}
	st.js, err = jetstream.New(st.nc, jetstream.WithPublishAsyncMaxPending(10_000), jetstream.WithDefaultTimeout(time.Second))
	return err
}

func (st *stage) streams(ctx context.Context) error {
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "TELEMETRY", Subjects: []string{"attacker.>", "identity.>", "credential.>", "email.>", "canary.>"}},
		{Name: "TTP", Subjects: []string{"ttp.tagged", "ttp.rule.>"}},
		{Name: "TTP_DLQ", Subjects: []string{"ttp.dlq.>"}},
	} {
		if _, err := st.js.CreateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

// publish puts the events of a run on the bus.
func (r *rig) publish(ctx context.Context, js jetstream.JetStream, s scenario) error {
	for n := range r.messages(s) + s.backlog {
		subject, data := r.message(s.mix, n)
		if _, err := js.PublishAsync(subject, data, jetstream.WithStallWait(time.Minute)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eventsOf is how many events are measured.
func (r *rig) eventsOf(s scenario) int { return cmp.Or(s.events, r.events) }

// messages is how many messages have the events of a run.
func (r *rig) messages(s scenario) int { return r.eventsOf(s) / max(1, s.mix.session) }

func countTags(ctx context.Context, st *stage) (n int, err error) {
	var db *sql.DB
	if st.db != nil {
		db, err = st.db.Open("root", "bench")
	} else {
		db, err = sql.Open("sqlite", strings.TrimPrefix(st.dsn, "sqlite://"))
	}
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM ttp_tag").Scan(&n)
	return n, err
}
