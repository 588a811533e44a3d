package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/servers"
)

// fault is something that goes wrong, and what is expected of it.
type fault struct {
	name string
	setup
	within     time.Duration // how long all of it may take; 0 means 4 minutes
	redelivers bool          // messages must have come again, else the fault was not felt
	short      bool          // part of the short form

	// inject makes it go wrong and right again while events flow.
	inject func(ctx context.Context, w *world) error

	// check, if set, looks at what is particular to the fault, once all is over.
	check func(w *world, v *verdict)
}

// Limits of what a fault may take.
const (
	probeWithin = 10 * time.Second
	quietWithin = 2 * time.Minute
	stopWithin  = 25 * time.Second
	faultWithin = 4 * time.Minute
)

// try runs one fault from an empty world to the oracle.
func (h *harness) try(ctx context.Context, f fault, name string, rng *rand.Rand) verdict {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(f.within, faultWithin))
	defer cancel()
	v := verdict{fault: f.name + "/" + f.database}
	start := time.Now()
	w, err := h.newWorld(ctx, f.setup, name, rng)
	if err == nil {
		err = w.play(ctx, f, &v)
	}
	if err != nil {
		v.complain("%v", err)
	}
	if w != nil {
		if err := w.close(); err != nil {
			v.complain("clean up: %v", err)
		}
	}
	v.seconds = time.Since(start).Seconds()
	return v
}

func (w *world) play(ctx context.Context, f fault, v *verdict) error {
	if err := w.startWorkers(); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watched := make(chan struct{}) // closed when watching has ended
	go func() { defer close(watched); w.seen.run(watching) }()
	if err := w.disturb(ctx, f); err != nil {
		return err
	}
	if err := w.quiet(ctx); err != nil {
		v.complain("%v", err)
	}
	stopWatching()
	<-watched
	return w.readBack(ctx, f, v)
}

// disturb lets events flow, injects the fault and sees that a fresh event gets
// through after it.
func (w *world) disturb(ctx context.Context, f fault) error {
	if err := w.probe(ctx, startWithin); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	flowing, dry := context.WithCancel(ctx)
	defer dry()
	produced := make(chan error, 1) // of the producer, once
	go func() {
		if w.rate == none {
			produced <- nil
			return
		}
		produced <- w.prod.run(flowing, ctx, w.gen, w.rate)
	}()
	w.pause(ctx, 300*time.Millisecond, 600*time.Millisecond)
	err := f.inject(ctx, w)
	if err == nil {
		err = w.probe(ctx, probeWithin)
	}
	if err != nil {
		w.dumpStacks()
	}
	dry()
	return errors.Join(err, <-produced)
}

// dumpStacks ends the workers so that their logs say what they were doing.
func (w *world) dumpStacks() {
	for _, k := range w.workers {
		_ = k.Signal(syscall.SIGQUIT) // one that has ended has nothing to say
	}
	for _, k := range w.workers {
		_, _ = k.Wait(time.Second) // whoever hangs is killed later
	}
}

// pause waits for a random time.
func (w *world) pause(ctx context.Context, least, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(least + time.Duration(w.h.float()*float64(most-least))):
	}
}

// probe sends an event of its own and waits until it was announced.
func (w *world) probe(ctx context.Context, within time.Duration) error {
	within = w.h.allowed(within)
	start := time.Now()
	e := newGenerator(rand.New(rand.NewPCG(w.h.draw(), 1)), fmt.Sprintf("p%x", w.h.draw()), 0).command(w.gen.actors[0])
	sending, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := w.prod.send(sending, e); err != nil {
		return fmt.Errorf("no stream took a probe within %s: %w", within, err)
	}
	if err := w.announced(ctx, start, within, e); err != nil {
		return fmt.Errorf("a fresh event: %w; %s", err, w.seen.where())
	}
	return nil
}

// announced waits until all of the events were announced, and holds that the
// stream took that within so long of start. On a busy machine the observer comes
// to it later.
func (w *world) announced(ctx context.Context, start time.Time, within time.Duration, events ...event) error {
	ctx, cancel := context.WithDeadline(ctx, start.Add(within+quietWithin))
	defer cancel()
	for i, e := range events {
		at, err := w.seen.await(ctx, e.facts[0].SourceID)
		if err != nil {
			return fmt.Errorf("event %d of %d was not announced within %s", i+1, len(events), within)
		}
		if took := at.Sub(start); took > within {
			return fmt.Errorf("event %d of %d was announced after %s, not within %s", i+1, len(events), took, within)
		}
	}
	return nil
}

// quiet waits until nothing is under way any more.
func (w *world) quiet(ctx context.Context) error {
	return servers.Eventually(quietWithin, func() error {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		info, err := w.consumer(attempt)
		if err != nil {
			return err
		}
		outbox, err := w.store.outbox(attempt)
		if err != nil {
			return err
		}
		if info.NumPending > 0 || info.NumAckPending > 0 || outbox > 0 {
			return fmt.Errorf("still %d messages pending, %d not acknowledged, %d announcements in the outbox", info.NumPending, info.NumAckPending, outbox)
		}
		return nil
	})
}

func (w *world) consumer(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	c, err := w.js.Consumer(ctx, "TELEMETRY", "ttp-worker")
	if err != nil {
		return nil, fmt.Errorf("look at the consumer: %w", err)
	}
	return c.CachedInfo(), nil
}

// readBack stops the workers and holds what they did against what was sent.
func (w *world) readBack(ctx context.Context, f fault, v *verdict) error {
	if err := w.seen.drain(ctx); err != nil {
		return err
	}
	letters, err := w.lookAtBus(ctx, v)
	if err != nil {
		return err
	}
	w.stopWorkers(v)
	if !w.embedded {
		if err := w.seen.drain(ctx); err != nil {
			return err
		}
	}
	sent := w.prod.all()
	v.judgeLetters(sent, letters)
	stored, err := w.store.tags(ctx)
	if err != nil {
		return err
	}
	want, err := tagsOf(ctx, w.h.bin.worker, w.h.rules, factsOf(sent))
	if err != nil {
		return err
	}
	v.sent = len(sent)
	v.compare(want, stored, w.seen)
	v.judge()
	if f.redelivers && v.redelivered == 0 {
		v.complain("nothing was redelivered: the fault was not felt")
	}
	if f.check != nil {
		f.check(w, v)
	}
	return nil
}

func factsOf(sent []event) (facts []fact) {
	for _, e := range sent {
		facts = append(facts, e.facts...)
	}
	return facts
}

// stopWorkers ends those that still run, as an operator does.
func (w *world) stopWorkers(v *verdict) {
	for _, k := range w.workers {
		if err := k.Term(stopWithin); err != nil {
			v.complain("%v", err)
		}
	}
}

// lookAtBus counts redeliveries and returns the data of the dead letters.
func (w *world) lookAtBus(ctx context.Context, v *verdict) (letters []string, err error) {
	err = servers.Eventually(startWithin, func() error {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		info, err := w.consumer(attempt)
		if err != nil {
			return err
		}
		v.redelivered = int(info.Delivered.Consumer) - int(info.Delivered.Stream)
		letters, err = w.deadLetters(attempt)
		return err
	})
	return letters, err
}

// deadLetters returns the data of the dead letters.
func (w *world) deadLetters(ctx context.Context) ([]string, error) {
	stream, err := w.js.Stream(ctx, "TTP_DLQ")
	if err != nil {
		return nil, fmt.Errorf("look at the dead letters: %w", err)
	}
	var letters []string
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			return nil, fmt.Errorf("read dead letter %d: %w", seq, err)
		}
		letters = append(letters, string(msg.Data))
	}
	return letters, nil
}

// judgeLetters wants each poisonous message among the dead letters, once, and
// no other.
func (v *verdict) judgeLetters(sent []event, letters []string) {
	v.deadLettered = len(letters)
	times := make(map[string]int)
	for _, l := range letters {
		times[l]++
	}
	for _, e := range sent {
		n := times[string(e.data)]
		delete(times, string(e.data))
		if e.poison && n != 1 || !e.poison && n != 0 {
			v.complain("message %s (poison: %v) is a dead letter %d times", e.id, e.poison, n)
		}
	}
	for l := range times {
		v.complain("a dead letter that nobody sent: %.80q", l)
	}
}

// worldName is a name for a directory and a database.
func worldName(n int, f fault) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, filepath.Base(fmt.Sprintf("w%d_%.24s_%.2s", n, f.name, f.database)))
}
