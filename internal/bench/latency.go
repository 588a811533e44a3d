package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// latencies measures the time from publishing an event to seeing its
// ttp.tagged: one event at a time, and at half of the rate that the worker
// has shown.
func (r *rig) latencies(ctx context.Context, t *table) error {
	defer r.close()
	st, err := r.stage(ctx, scenario{db: "mariadb"})
	if err != nil {
		return err
	}
	p, err := r.spawnWorker("latency", "run", "--nats", st.url, "--db", st.dsn, "--rules", filepath.Join(r.dir, "rules-marked"))
	if err != nil {
		return err
	}
	w, err := newStopwatch(st.url)
	if err != nil {
		return err
	}
	defer w.nc.Close()
	if err := w.run(ctx, 20, 50*time.Millisecond); err != nil { // until everything is warm
		return err
	}
	w.reset()
	if err := w.run(ctx, 200, 50*time.Millisecond); err != nil {
		return err
	}
	t.latency("idle", w.times)
	half := t.rateOf("worker, "+usual.name) / 2
	if half == 0 {
		half = 2000
	}
	w.reset()
	if err := w.run(ctx, int(10*half), time.Duration(float64(time.Second)/half)); err != nil {
		return err
	}
	t.latency(fmt.Sprintf("half load, %.0f events/s", half), w.times)
	return p.Term(time.Minute)
}

// stopwatch publishes events and notes when their announcements arrive.
type stopwatch struct {
	nc *nats.Conn

	mu    sync.Mutex // guards the rest
	sent  map[string]time.Time
	times []float64 // milliseconds
	n     int
	empty chan struct{} // holds a value when nothing is awaited
}

func newStopwatch(url string) (*stopwatch, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	w := &stopwatch{nc: nc, sent: make(map[string]time.Time), empty: make(chan struct{}, 1)}
	_, err = nc.Subscribe("ttp.tagged", w.see)
	return w, err
}

func (w *stopwatch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times = nil
}

func (w *stopwatch) see(msg *nats.Msg) {
	now := time.Now()
	var in struct {
		Payload struct {
			Tags []struct {
				Evidence struct {
					Text string `json:"command_text"`
				}
			}
		}
	}
	if json.Unmarshal(msg.Data, &in) != nil || len(in.Payload.Tags) == 0 {
		return
	}
	text := in.Payload.Tags[0].Evidence.Text
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.sent[text]; ok {
		w.times = append(w.times, float64(now.Sub(at).Microseconds())/1000)
		delete(w.sent, text)
	}
	if len(w.sent) == 0 {
		select {
		case w.empty <- struct{}{}:
		default:
		}
	}
}

// run publishes n events, one every so often, and waits for all of them.
func (w *stopwatch) run(ctx context.Context, n int, every time.Duration) error {
	next := time.Now()
	for range n {
		if err := w.publish(); err != nil {
			return err
		}
		next = next.Add(every)
		if wait := time.Until(next); wait > time.Millisecond {
			if err := w.nc.Flush(); err != nil {
				return err
			}
			<-time.After(wait)
		}
	}
	deadline := time.After(time.Minute)
	for {
		w.mu.Lock()
		left := len(w.sent)
		w.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-w.empty:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%d of %d events were never announced", left, n)
		}
	}
}

func (w *stopwatch) publish() error {
	w.mu.Lock()
	w.n++
	text := fmt.Sprintf("probe %d #mark1", w.n)
	w.sent[text] = time.Now()
	data := fmt.Appendf(nil, `{"v":1,"payload":{"attacker_ip":"10.0.0.1","decky_id":"d","ts":"2026-02-01T00:00:00","command_text":%q}}`, text)
	w.mu.Unlock()
	return w.nc.Publish("attacker.command", data)
}
