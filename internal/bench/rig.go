package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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
	running            []*servers.Process
	ports              servers.Ports
}

// measurement is what one run showed.
type measurement struct {
	events, tags                 int
	elapsed                      time.Duration
	contenderCPU, natsCPU, dbCPU time.Duration
	peakMemory                   int64
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
	url      string // of the bus
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
	if s.db == "sqlite" {
		return r.embedded(ctx, s, st)
	}
	if err := r.publish(ctx, st.js, s.mix); err != nil {
		return m, err
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
	if s.db == "sqlite" {
		st.dsn = "sqlite://" + filepath.Join(dir, "ttp.db")
		return st, nil
	}
	if err := r.startDatabase(ctx, st, dir); err != nil {
		return nil, err
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
	return st, st.connect(ctx)
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
	list := []ttp.Attacker{{UUID: bareAttacker, Address: "192.0.2.1"}}
	for n := range attackers {
		address := fmt.Sprintf("10.0.%d.%d", n/250, n%250)
		list = append(list, ttp.Attacker{UUID: ttp.AttackerUUID(address), Address: address})
	}
	return db.CreateAttackers(ctx, list)
}

func (st *stage) connect(ctx context.Context) error {
	nc, err := nats.Connect(st.url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		return err
	}
	if st.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(10_000)); err != nil {
		return err
	}
	if st.nats == nil {
		return nil
	}
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

// contest lets the contender work until nothing is left.
func (r *rig) contest(ctx context.Context, s scenario, st *stage) (m measurement, err error) {
	contenders, err := r.start(s, st)
	if err != nil {
		return m, err
	}
	nats0, db0 := st.nats.CPU(), st.db.CPU()
	elapsed, err := untilIdle(ctx, st.js, r.messages(s.mix), contenders)
	if err != nil {
		return m, err
	}
	m = measurement{events: r.events, elapsed: elapsed, natsCPU: st.nats.CPU() - nats0, dbCPU: st.db.CPU() - db0}
	for _, p := range contenders {
		m.contenderCPU += p.CPU()
		m.peakMemory = max(m.peakMemory, p.PeakMemory())
		if err := p.Term(time.Minute); err != nil {
			return m, err
		}
	}
	m.tags, err = countTags(ctx, st)
	return m, err
}

func (r *rig) start(s scenario, st *stage) (contenders []*servers.Process, err error) {
	if s.contender == "bare" {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p, err := servers.Spawn(filepath.Join(r.dir, "bare.log"), nil, exe, "-bare-nats", st.url, "-bare-db", st.driver)
		return r.keep(contenders, p), err
	}
	for range s.workers {
		args := append([]string{"run", "--nats", st.url, "--db", st.dsn, "--lanes", fmt.Sprint(s.lanes)}, r.rules(s)...)
		p, err := servers.Spawn(filepath.Join(r.dir, "worker.log"), nil, r.worker, args...)
		if err != nil {
			return contenders, err
		}
		contenders = r.keep(contenders, p)
	}
	return contenders, nil
}

func (r *rig) keep(list []*servers.Process, p *servers.Process) []*servers.Process {
	if p != nil {
		r.running = append(r.running, p)
		list = append(list, p)
	}
	return list
}

// rules are the flags that name the rules of a scenario.
func (r *rig) rules(s scenario) []string {
	switch {
	case s.mix.marks != nil:
		return []string{"--rules", filepath.Join(r.dir, "rules-marked")}
	case s.rules > 1:
		return []string{"--rules", "builtin", "--rules", filepath.Join(r.dir, fmt.Sprintf("rules-%d", s.rules))}
	}
	return []string{"--rules", "builtin"}
}

// untilIdle waits until every message is acknowledged and returns how long it
// took from the first delivery on.
func untilIdle(ctx context.Context, js jetstream.JetStream, messages int, contenders []*servers.Process) (time.Duration, error) {
	var begun time.Time
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticker.C:
		}
		for _, p := range contenders {
			if p.Ended() {
				return 0, errors.New("a contender has ended, see " + p.Log)
			}
		}
		consumer, err := js.Consumer(ctx, "TELEMETRY", "ttp-worker")
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		info := consumer.CachedInfo()
		if begun.IsZero() && info.Delivered.Consumer > 0 {
			begun = time.Now()
		}
		if info.AckFloor.Stream >= uint64(messages) && info.NumAckPending == 0 {
			return time.Since(begun), nil
		}
	}
}

func countTags(ctx context.Context, st *stage) (n int, err error) {
	db, err := st.db.Open("root", "bench")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM ttp_tag").Scan(&n)
	return n, err
}

// embedded measures the worker with bus and database inside. The events can
// only be published while it works.
func (r *rig) embedded(ctx context.Context, s scenario, st *stage) (m measurement, err error) {
	port, err := r.ports.Next()
	if err != nil {
		return m, err
	}
	st.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	dir := filepath.Join(st.dir, "state")
	args := append([]string{"run", "--embedded", dir, "--nats", st.url, "--lanes", fmt.Sprint(s.lanes)}, r.rules(s)...)
	p, err := servers.Spawn(filepath.Join(r.dir, "worker.log"), nil, r.worker, args...)
	contenders := r.keep(nil, p)
	if err != nil {
		return m, err
	}
	if err := st.connect(ctx); err != nil {
		return m, err
	}
	if err := servers.Eventually(30*time.Second, func() error {
		_, err := st.js.Consumer(ctx, "TELEMETRY", "ttp-worker")
		return err
	}); err != nil {
		return m, err
	}
	published := make(chan error, 1)
	begun := time.Now()
	go func() { published <- r.publish(ctx, st.js, s.mix) }()
	if _, err := untilIdle(ctx, st.js, r.messages(s.mix), contenders); err != nil {
		return m, err
	}
	m = measurement{events: r.events, elapsed: time.Since(begun), contenderCPU: p.CPU(), peakMemory: p.PeakMemory()}
	if err := <-published; err != nil {
		return m, err
	}
	return m, p.Term(time.Minute)
}
