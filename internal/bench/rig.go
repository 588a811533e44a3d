package main

import (
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
	if err := r.publish(ctx, st.js, s.mix); err != nil {
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
		if err := r.startDatabase(ctx, st, dir); err != nil {
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
	return r.tables(ctx, st.dsn)
}

func (r *rig) startDatabase(ctx context.Context, st *stage, dir string) error {
	port, err := r.ports.Next()
	if err != nil {
		return err
	}
	st.db, err = servers.NewMariaDB(filepath.Join(dir, "db"), port, "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=1", "--innodb-log-file-size=512M")
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
	return r.tables(ctx, st.dsn)
}

// tables makes the tables, with the attackers that the events are of.
func (r *rig) tables(ctx context.Context, dsn string) error {
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	var list []ttp.Attacker
	for n := range attackers {
		address := fmt.Sprintf("10.0.%d.%d", n/250, n%250)
		list = append(list, ttp.Attacker{UUID: ttp.AttackerUUID(address), Address: address})
	}
	return db.CreateAttackers(ctx, list)
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
func (r *rig) publish(ctx context.Context, js jetstream.JetStream, m mix) error {
	for n := range r.messages(m) {
		subject, data := r.message(m, n)
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

// messages is how many messages have the events of a run.
func (r *rig) messages(m mix) int {
	if m.session > 0 {
		return r.events / m.session
	}
	return r.events
}

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
