// Package worker is the way of an event: fetched from a [Source], decoded,
// tagged, stored in a [Sink], announced by a [Publisher], and only then settled.
// It owns the policy for everything that can go wrong on the way.
package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

// Source is where messages come from. Each lane has one of its own; it is not
// safe for concurrent use.
type Source interface {
	// Fetch waits for messages and returns them as soon as a batch is full or
	// no more are coming. It rides out failures of the bus. Once ctx ends it
	// returns what it has, or ctx.Err() if that is nothing.
	Fetch(ctx context.Context) ([]Delivery, error)

	// Held returns what has arrived behind the last batch and waits for the
	// next Fetch, so that it can be kept alive while the batch cannot go on.
	Held() []Delivery

	// Close hands back what is held.
	Close() error
}

// Delivery is one message in hand. Exactly one of Ack, AckSync, Retry and
// Reject ends it.
type Delivery interface {
	Subject() string // without the configured prefix
	Data() []byte    // nobody writes to it
	Meta() Meta

	Ack() error                        // sends, does not wait
	AckSync(ctx context.Context) error // returns when the server has it
	Retry(after time.Duration) error   // hands it back, to be delivered again
	Recall() func() error              // what ends the delay of a Retry early; keeps none of the data
	Reject(reason string) error        // never deliver it again
	InProgress() error                 // still at it: restarts the server's clock
}

// Meta is what the bus knows about a message.
type Meta struct {
	Stream     string
	Sequence   uint64    // in the stream
	Deliveries int       // 1 on the first
	At         time.Time // when the stream took it

	// TraceParent is the trace that the message belongs to, as W3C Trace
	// Context writes it; "" for none. It goes on with what the message gains.
	TraceParent string
}

// Sink is where tags go.
type Sink interface {
	// Write stores the tags of a batch in one transaction, together with the
	// announcements of those that are new. Rows the database refuses are set
	// apart, the others stored; an error means that nothing was.
	Write(ctx context.Context, batch []ttp.Tagged) (ttp.Written, error)

	// Announced forgets rows of the outbox whose announcements have all been
	// published.
	Announced(ctx context.Context, outbox []string) error

	// Unannounced returns the announcements of at most limit rows of the outbox
	// that are older than age, oldest first; those of a row all together.
	Unannounced(ctx context.Context, age time.Duration, limit int) ([]ttp.Announcement, error)

	// OutboxStats returns how many announcements wait and the age of the oldest.
	OutboxStats(ctx context.Context) (rows int64, oldest time.Duration, err error)
}

// Publisher tells others. It is safe for concurrent use.
type Publisher interface {
	// Publish returns the ids of the announcements that the server has taken,
	// as new or as known already. An error that is [ttp.Permanent] is about
	// announcements that no server will take.
	Publish(ctx context.Context, list []ttp.Announcement) (done []string, err error)

	// DeadLetter stores the message and why it could not be processed. It
	// returns when the server has it.
	DeadLetter(ctx context.Context, d Delivery, reason string, cause error) error

	// Suppressed tells how many tags of a rule were dropped, best effort.
	Suppressed(ctx context.Context, ruleID, techniqueID, reason string, count int) error
}

// Worker runs the pipeline. Set the fields and call Run once; none may change
// while it runs.
type Worker struct {
	Sources   []Source // one lane each
	Resolver  *intake.Resolver
	Tagger    tagger.Tagger
	Sink      Sink
	Publisher Publisher

	Log     *zap.Logger // nil: none
	Metrics *Metrics    // nil: not measured
	Status  *Status     // nil: nobody asks
	Pulse   *Pulse      // nil: nobody listens
	Tracer  Tracer      // nil: nothing is traced

	// Explain, if set, says of a database error what class it is and what the
	// operator can do. Only of the class "other" may a message itself be the
	// cause; all other classes pass, and are waited for. "conflict" mostly
	// passes at once, so that it is no reason to be called not ready.
	Explain func(error) (class, hint string)

	AckWait       time.Duration // the consumer's; messages in hand are kept alive every third of it; 0 means 30s
	BatchTimeout  time.Duration // one attempt to store a batch; 0 means 30s
	StopTimeout   time.Duration // from the end of Run's context to giving up what is in hand; 0 means 20s
	UnknownFor    time.Duration // how long an event waits for its attacker's row; 0 means 10m
	MaxDeliveries int           // of a message that fails for a reason of its own; 0 means 10
	SweepEvery    time.Duration // between looks for announcements left behind; 0 means a sixth of AckWait
	SweepAge      time.Duration // how old these are at least, so that lanes are not overtaken; 0 means half of AckWait

	suppressed suppressed
	waiting    waiting
	suspects   suspects
	repeats    repeats

	letterFailed atomic.Pointer[time.Time] // when a dead letter was not taken last
}

func (w *Worker) setDefaults() {
	defaultTo(&w.AckWait, 30*time.Second)
	defaultTo(&w.BatchTimeout, 30*time.Second)
	defaultTo(&w.StopTimeout, 20*time.Second)
	defaultTo(&w.UnknownFor, 10*time.Minute)
	defaultTo(&w.SweepEvery, w.AckWait/6)
	defaultTo(&w.SweepAge, w.AckWait/2)
	if w.MaxDeliveries == 0 {
		w.MaxDeliveries = 10
	}
	if w.Log == nil {
		w.Log = zap.NewNop()
	}
	if w.Metrics == nil {
		w.Metrics = NewMetrics(nil)
	}
	if w.Status == nil {
		w.Status = new(Status)
	}
	if w.Pulse == nil {
		w.Pulse = new(Pulse)
	}
	if w.Explain == nil {
		w.Explain = func(error) (string, string) { return "", "" }
	}
}

func defaultTo(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Run works until ctx ends: then it finishes what is in hand within
// StopTimeout, hands the rest back and returns nil. It returns when all it
// started has ended.
func (w *Worker) Run(ctx context.Context) error {
	w.setDefaults()
	if len(w.Sources) == 0 || w.Resolver == nil || w.Tagger == nil || w.Sink == nil || w.Publisher == nil {
		return fmt.Errorf("worker: a source, the resolver, the tagger, the sink and the publisher are required")
	}
	hard, cancel := graceful(ctx, w.StopTimeout)
	defer cancel()

	var lanes, helpers sync.WaitGroup
	for i, source := range w.Sources {
		l := &lane{Worker: w, source: source, name: LaneName(i), log: w.Log.With(zap.Int("lane", i))}
		lanes.Go(func() { l.run(ctx, hard) })
	}
	stopHelpers, cancelHelpers := context.WithCancel(hard)
	helpers.Go(func() { w.sweep(ctx, stopHelpers) })
	helpers.Go(func() { w.reportSuppressed(stopHelpers) })
	helpers.Go(func() { w.wake(stopHelpers) })

	lanes.Wait()
	cancelHelpers()
	helpers.Wait()
	w.lastSweep(hard)
	w.flushSuppressed(hard)
	return nil
}

// graceful returns a context that outlives ctx by at most grace.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(hard, func() { timer.Stop() })
	})
	return hard, func() { stop(); cancel() }
}
