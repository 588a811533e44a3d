package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/servers"
)

// usage is processor time.
type usage struct{ contender, nats, db time.Duration }

// usedBy is what contenders and servers have used since they started. A server
// inside the worker is part of the contender.
func usedBy(st *stage, contenders []*servers.Process) (u usage) {
	for _, p := range contenders {
		u.contender += p.CPU()
	}
	if st.nats != nil {
		u.nats = st.nats.CPU()
	}
	if st.db != nil {
		u.db = st.db.CPU()
	}
	return u
}

func (u usage) less(v usage) usage {
	return usage{u.contender - v.contender, u.nats - v.nats, u.db - v.db}
}

// contest lets the contender work until nothing is left. What it needs to
// start is not counted.
func (r *rig) contest(ctx context.Context, s scenario, st *stage) (m measurement, err error) {
	contenders, err := r.start(s, st)
	if err != nil {
		return m, err
	}
	if err := st.connect(); err != nil {
		return m, err
	}
	err = await(ctx, st.js, contenders, func(c *jetstream.ConsumerInfo) bool { return c.Delivered.Consumer > 0 })
	if err != nil {
		return m, err
	}
	begun, before := time.Now(), usedBy(st, contenders)
	if err := r.profile(contenders); err != nil {
		return m, err
	}
	err = await(ctx, st.js, contenders, func(c *jetstream.ConsumerInfo) bool {
		return c.AckFloor.Stream >= uint64(r.messages(s)) && (c.NumAckPending == 0 || s.backlog > 0)
	})
	if err != nil {
		return m, err
	}
	m = measurement{events: r.eventsOf(s), elapsed: time.Since(begun), used: usedBy(st, contenders).less(before)}
	if err := r.profile(contenders); err != nil {
		return m, err
	}
	for _, p := range contenders {
		m.peakMemory = max(m.peakMemory, p.PeakMemory())
		if err := p.Term(time.Minute); err != nil {
			return m, err
		}
	}
	m.tags, err = countTags(ctx, st)
	m.tags -= s.rows
	return m, err
}

// profile begins or ends the profiles of workers, if these are wanted.
func (r *rig) profile(workers []*servers.Process) error {
	if r.profiles == "" {
		return nil
	}
	var errs []error
	for _, p := range workers {
		errs = append(errs, p.Signal(syscall.SIGUSR1))
	}
	return errors.Join(errs...)
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
	args := []string{"run", "--nats", st.url, "--lanes", fmt.Sprint(s.lanes)}
	if st.embedded != "" {
		args = append(args, "--embedded", st.embedded)
	} else {
		args = append(args, "--db", st.dsn)
	}
	for n := range s.workers {
		p, err := r.spawnWorker(fmt.Sprintf("%s %d", s.name, n), append(args, r.rules(s)...)...)
		if err != nil {
			return contenders, err
		}
		contenders = append(contenders, p)
	}
	return contenders, nil
}

// spawnWorker starts the worker; its profiles go to a directory called name.
func (r *rig) spawnWorker(name string, args ...string) (*servers.Process, error) {
	var env []string
	if r.profiles != "" {
		name = strings.NewReplacer(" ", "_", ",", "").Replace(name)
		env = append(env, "TTP_TEST_PROFILE="+filepath.Join(r.profiles, name))
	}
	p, err := servers.Spawn(filepath.Join(r.dir, "worker.log"), env, r.worker, args...)
	r.keep(nil, p)
	return p, err
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

// await waits until the shared consumer is as it should be.
func await(ctx context.Context, js jetstream.JetStream, contenders []*servers.Process, good func(*jetstream.ConsumerInfo) bool) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		for _, p := range contenders {
			if p.Ended() {
				return errors.New("a contender has ended, see " + p.Log)
			}
		}
		consumer, err := js.Consumer(ctx, "TELEMETRY", "ttp-worker")
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			continue // it is starting
		case err != nil:
			return err
		case good(consumer.CachedInfo()):
			return nil
		}
	}
}
