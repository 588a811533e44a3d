package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ttp-worker/ttp"
)

// soakFor is how long a soak takes unless told otherwise.
const soakFor = 10 * time.Minute

// gauge is a number of the worker that must not grow.
type gauge struct {
	name   string  // of the metric
	title  string  // in the table
	unit   float64 // what the table counts in
	factor float64 // the end may exceed the beginning so many times
	slack  float64 // and by so much
}

func gauges() []gauge {
	return []gauge{
		{"process_resident_memory_bytes", "MiB", 1 << 20, 1.15, 16 << 20},
		{"go_goroutines", "goroutines", 1, 1, 5},
		{"process_open_fds", "files", 1, 1, 5},
		{"ttp_consumer_unacked", "unacked", 1, 1, 200},
		{"ttp_outbox_rows", "outbox", 1, 1, 20},
	}
}

// sample is what one worker said of itself, by the metric's name.
type sample map[string]float64

// Soak lets two workers run for a long time under load and small faults and
// wants their memory, goroutines, files, messages in hand and outbox to stay
// as they are. It returns [ErrMissed] if one grows or the oracle complains.
func Soak(ctx context.Context, o Options) (err error) {
	if o.Duration == 0 {
		o.Duration = soakFor
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	h, clean, err := newHarness(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = clean(err) }()
	fmt.Fprintf(o.Out, "seed %d, %s\n", o.Seed, o.Duration)
	run := &soak{out: o.Out, duration: o.Duration}
	f := fault{name: "soak", setup: setup{database: mariadb, workers: 2, rate: 60}, redelivers: true, inject: run.run, within: o.Duration + faultWithin}
	v := h.try(ctx, f, "soak", rand.New(rand.NewPCG(o.Seed, 0))) //nolint:gosec // to be repeatable
	run.judge(&v)
	fmt.Fprint(o.Out, heading)
	v.print(o.Out)
	if len(v.complaints) > 0 {
		return fmt.Errorf("%w; seed %d, logs in %s", ErrMissed, o.Seed, h.dir)
	}
	return ctx.Err()
}

// soak is one run of it.
type soak struct {
	out      io.Writer
	duration time.Duration
	samples  []sample // every five seconds
}

const (
	sampleEvery  = 5 * time.Second
	disturbEvery = 20 * time.Second
	reportEvery  = time.Minute
)

func (s *soak) run(ctx context.Context, w *world) error {
	var disturbing sync.WaitGroup
	disturbed, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	var failed error
	disturbing.Go(func() { failed = s.disturb(disturbed, ctx, w) })
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for n := 1; disturbed.Err() == nil; n++ {
		select {
		case <-disturbed.Done():
		case <-ticker.C:
			if err := s.take(ctx, w); err != nil {
				return err
			}
			if n%int(reportEvery/sampleEvery) == 0 {
				s.report(n)
			}
		}
	}
	disturbing.Wait()
	return failed
}

// disturb does something small every now and then.
func (s *soak) disturb(disturbed, ctx context.Context, w *world) error {
	small := []func(context.Context, *world) error{blink, burst, fewStrangers, garbage}
	for n := 0; ; n++ {
		select {
		case <-disturbed.Done():
			return nil
		case <-time.After(disturbEvery):
		}
		if err := small[n%len(small)](ctx, w); err != nil {
			return err
		}
	}
}

// blink cuts all connections for a moment.
func blink(ctx context.Context, w *world) error {
	for _, p := range []*proxy{w.natsProxy, w.dbProxy} {
		p.sever()
		w.pause(ctx, 100*time.Millisecond, 500*time.Millisecond)
		p.heal()
	}
	return nil
}

// burst sends a lot at once.
func burst(ctx context.Context, w *world) error {
	g := newGenerator(rand.New(rand.NewPCG(w.h.draw(), 2)), fmt.Sprintf("b%x", w.h.draw()), 0) //nolint:gosec // to be repeatable
	g.actors = w.gen.actors
	for range 500 {
		if err := w.prod.send(ctx, g.next()); err != nil {
			return err
		}
	}
	return nil
}

// fewStrangers are attackers whose rows come a little later.
func fewStrangers(ctx context.Context, w *world) error {
	g := newGenerator(rand.New(rand.NewPCG(w.h.draw(), 2)), fmt.Sprintf("f%x", w.h.draw()), 0) //nolint:gosec // to be repeatable
	var late []actor
	for i := range 200 {
		a := actor{ip: fmt.Sprintf("203.0.113.%d", i)}
		a.uuid = ttp.AttackerUUID(g.run + a.ip)
		late = append(late, a)
		payload := object{"attacker_uuid": a.uuid, "decky_id": decky, "command_text": "cat /tmp/chaos-" + g.id(), "ts": g.stamp()}
		e := g.event(g.id(), "attacker.command", payload, a.fact("command", contentID(a, payload["ts"].(string), payload["command_text"].(string)), "", payload))
		if err := w.prod.send(ctx, e); err != nil {
			return err
		}
	}
	w.pause(ctx, 2*time.Second, 4*time.Second)
	return w.store.addActors(ctx, late)
}

// garbage sends what nobody can read.
func garbage(ctx context.Context, w *world) error {
	g := newGenerator(rand.New(rand.NewPCG(w.h.draw(), 2)), fmt.Sprintf("g%x", w.h.draw()), 0) //nolint:gosec // to be repeatable
	for range 20 {
		if err := w.prod.send(ctx, raw(`{"v":9,"id":"%s","payload":{}}`)(g, actor{})); err != nil {
			return err
		}
	}
	return nil
}

// take asks the workers how they are and keeps the largest of each number.
func (s *soak) take(ctx context.Context, w *world) error {
	all := make(sample)
	for _, k := range w.workers {
		one, err := k.ask(ctx)
		if err != nil {
			return err
		}
		for name, v := range one {
			all[name] = max(all[name], v)
		}
	}
	s.samples = append(s.samples, all)
	return nil
}

// ask reads the worker's metrics.
func (k *worker) ask(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.http+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask a worker for its metrics: %w", err)
	}
	defer answer.Body.Close()
	return parseMetrics(answer.Body)
}

func parseMetrics(text io.Reader) (sample, error) {
	found := make(sample)
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if slices.ContainsFunc(gauges(), func(g gauge) bool { return g.name == name }) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, fmt.Errorf("metric %s: %w", name, err)
			}
			found[name] = v
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(found) < len(gauges()) {
		return nil, errors.New("a metric is missing")
	}
	return found, nil
}

func (s *soak) report(n int) {
	fmt.Fprintf(s.out, "%6s", time.Duration(n)*sampleEvery)
	for _, g := range gauges() {
		fmt.Fprintf(s.out, "  %s %.0f", g.title, s.samples[len(s.samples)-1][g.name]/g.unit)
	}
	fmt.Fprintln(s.out)
}

// judge compares the third of the samples that follows the first fifth, in
// which caches fill, with the last third.
func (s *soak) judge(v *verdict) {
	n := len(s.samples)
	if n < 10 {
		v.complain("only %d samples", n)
		return
	}
	for _, g := range gauges() {
		begin, end := median(s.samples[n/5:n/5+n/3], g.name), median(s.samples[n-n/3:], g.name)
		fmt.Fprintf(s.out, "%-30s %8.1f at first, %8.1f at last\n", g.title, begin/g.unit, end/g.unit)
		if end > begin*g.factor+g.slack {
			v.complain("%s grew from %.0f to %.0f", g.name, begin, end)
		}
	}
}

func median(samples []sample, name string) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, s[name])
	}
	slices.Sort(values)
	return values[len(values)/2]
}
