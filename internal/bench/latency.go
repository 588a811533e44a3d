package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"ttp-worker/internal/servers"
	"ttp-worker/tagger/builtin"
)

// latencies measures the time from publishing an event to seeing its
// ttp.tagged: one event at a time, and at half of the rate that the worker
// has shown.
func (r *rig) latencies(ctx context.Context, t *table) error {
	return r.timed(ctx, "latency", []string{"--rules", filepath.Join(r.dir, "rules-marked")}, "probe %d #mark1", func(w *stopwatch, _ *servers.Process) error {
		if err := w.run(ctx, 200, 50*time.Millisecond); err != nil {
			return err
		}
		t.latency("publish to ttp.tagged, idle", w.reset())
		half := cmp.Or(t.rateOf("worker, "+usual.name)/2, 2000)
		if err := w.run(ctx, int(10*half), time.Duration(float64(time.Second)/half)); err != nil {
			return err
		}
		t.latency(fmt.Sprintf("publish to ttp.tagged, half load, %.0f events/s", half), w.reset())
		return nil
	})
}

// reloads measures what it costs, while events come at half of the rate that the
// worker has shown with real commands, when every file of the built-in rules
// changes.
func (r *rig) reloads(ctx context.Context, t *table) error {
	const times, seconds = 5, 10
	dir := filepath.Join(r.dir, "rules-copied")
	if err := copyRules(dir, func(text []byte) []byte { return text }); err != nil {
		return err
	}
	return r.timed(ctx, "reload", []string{"--rules", dir}, "cat /etc/shadow; echo %d", func(w *stopwatch, p *servers.Process) error {
		half := cmp.Or(t.rateOf("worker, "+real.name)/2, 1500)
		load := func() error { return w.run(ctx, int(seconds*half), time.Duration(float64(time.Second)/half)) }
		if err := load(); err != nil {
			return err
		}
		t.latency(fmt.Sprintf("publish to ttp.tagged, built-in rules, %.0f events/s", half), w.reset())
		before := 0
		for _, c := range changes {
			changed := make(chan error, times) // the goroutine sends as often
			go func() {
				for n := range times {
					<-time.After(seconds * time.Second / (times + 1))
					changed <- copyRules(dir, func(text []byte) []byte { return c.change(text, n) })
				}
			}()
			errs := []error{load()}
			for range times {
				errs = append(errs, <-changed)
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			t.latency(fmt.Sprintf("the same with %d reloads, %s", times, c.name), w.reset())
			took, err := reloadTimes(p.Log)
			if err != nil {
				return err
			}
			t.latency("reload, "+c.name, took[before:])
			before = len(took)
		}
		return nil
	})
}

// changes are how rule files are changed.
var changes = []struct {
	name   string
	change func(text []byte, n int) []byte
}{
	{"all files touched", func(text []byte, n int) []byte { return fmt.Appendf(text, "# changed %d\n", n) }},
	{"all rules changed", func(text []byte, n int) []byte {
		return title.ReplaceAll(text, fmt.Appendf(nil, "title: %d ", n))
	}},
}

var title = regexp.MustCompile(`(?m)^title: `)

// copyRules writes the built-in rules to dir, each file with a change.
func copyRules(dir string, change func(text []byte) []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := builtin.FS.ReadDir(".")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := builtin.FS.ReadFile(f.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), change(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// reloadTimes reads from the worker's log how long its reloads took, in
// milliseconds.
func reloadTimes(log string) (took []float64, err error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Message string  `json:"msg"`
			Took    float64 `json:"took"` // seconds
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "rules reloaded" {
			took = append(took, 1000*line.Took)
		}
	}
	return took, lines.Err()
}

// starts measures the time from starting the worker to being ready, the servers
// being there.
func (r *rig) starts(ctx context.Context, t *table) error {
	defer r.close()
	st, err := r.stage(ctx, scenario{db: "mariadb"})
	if err != nil {
		return err
	}
	for range 5 {
		port, err := r.ports.Next()
		if err != nil {
			return err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		begun := time.Now()
		p, err := r.spawnWorker("start", "run", "--nats", st.url, "--db", st.dsn, "--http", address)
		if err != nil {
			return err
		}
		for !ready(ctx, address) {
			if ctx.Err() != nil || time.Since(begun) > time.Minute {
				return errors.New("the worker does not get ready, see " + p.Log)
			}
			<-time.After(time.Millisecond)
		}
		t.latency("start to ready, built-in rules", []float64{time.Since(begun).Seconds() * 1000})
		if err := p.Term(time.Minute); err != nil {
			return err
		}
	}
	return nil
}

func ready(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// timed runs a worker and, once everything is warm, measure.
func (r *rig) timed(ctx context.Context, name string, rules []string, text string, measure func(*stopwatch, *servers.Process) error) error {
	defer r.close()
	st, err := r.stage(ctx, scenario{db: "mariadb"})
	if err != nil {
		return err
	}
	p, err := r.spawnWorker(name, append([]string{"run", "--nats", st.url, "--db", st.dsn}, rules...)...)
	if err != nil {
		return err
	}
	w, err := newStopwatch(st.url, text)
	if err != nil {
		return err
	}
	defer w.nc.Close()
	if err := w.run(ctx, 20, 50*time.Millisecond); err != nil {
		return err
	}
	w.reset()
	if err := measure(w, p); err != nil {
		return err
	}
	return p.Term(time.Minute)
}

// stopwatch publishes events and notes when their announcements arrive.
type stopwatch struct {
	nc   *nats.Conn
	text string // of the commands, with a place for a number

	mu    sync.Mutex // guards the rest
	sent  map[string]time.Time
	times []float64 // milliseconds
	n     int
	empty chan struct{} // holds a value when nothing is awaited
}

func newStopwatch(url, text string) (*stopwatch, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	w := &stopwatch{nc: nc, text: text, sent: make(map[string]time.Time), empty: make(chan struct{}, 1)}
	_, err = nc.Subscribe("ttp.tagged", w.see)
	return w, err
}

// reset returns the times so far and forgets them.
func (w *stopwatch) reset() []float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	times := w.times
	w.times = nil
	return times
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
	text := fmt.Sprintf(w.text, w.n)
	w.sent[text] = time.Now()
	data := fmt.Appendf(nil, `{"v":1,"payload":{"attacker_ip":"10.0.0.1","decky_id":"d","ts":"2026-02-01T00:00:00","command_text":%q}}`, text)
	w.mu.Unlock()
	return w.nc.Publish("attacker.command", data)
}
