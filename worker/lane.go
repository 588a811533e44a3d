package worker

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
)

// lane is one goroutine that takes batches all the way.
type lane struct {
	*Worker
	source Source
	name   string
	log    *zap.Logger
}

// run works until ctx ends and what is in hand is settled. hard outlives ctx;
// when it ends, what is in hand is given up.
func (l *lane) run(ctx, hard context.Context) {
	defer l.Pulse.End(l.name)
	for {
		l.beat()
		deliveries, err := l.source.Fetch(ctx)
		l.beat()
		if len(deliveries) > 0 {
			l.process(ctx, hard, deliveries)
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			l.log.Error("fetching ended; this lane is down", zap.Error(err))
			break
		}
	}
	if err := l.source.Close(); err != nil {
		l.log.Warn("messages not handed back; they come again after the ack wait", zap.Error(err))
	}
}

// process takes a batch to its end: stored, announced and settled, or, if the
// worker is stopping and the database stays away, handed back.
func (l *lane) process(ctx, hard context.Context, deliveries []Delivery) {
	defer l.keepAlive(deliveries)()
	hard, end := l.trace(hard, deliveries)
	defer end()
	b := l.newBatch(deliveries)
	if !l.untilStored(ctx, hard, b) {
		l.handBack(b)
		return
	}
	l.announce(hard, b.fresh)
	l.settle(hard, b)
}

// keepAlive tells the bus, every third of the ack wait, that the messages in
// hand and those behind them are still being worked on. Call what it returns
// to end it.
func (l *lane) keepAlive(deliveries []Delivery) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(l.AckWait / 3)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			for _, d := range deliveries {
				_ = d.InProgress() // a lost one costs a redelivery, which does no harm
			}
			for _, d := range l.source.Held() {
				_ = d.InProgress()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// retryPause is the longest pause between two attempts, and so about how long
// after an outage work goes on.
const retryPause = 6 * time.Second

// untilStored repeats the attempt until it succeeds; a database that is away
// is waited for as long as it takes. It returns false if the worker stops
// before that.
func (l *lane) untilStored(ctx, hard context.Context, b *batch) bool {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(retryPause*2/3),
		backoff.WithMaxElapsedTime(0), backoff.WithRandomizationFactor(0.5))
	var trouble outage
	for attempt := 1; ; attempt++ {
		err := l.attempt(hard, b)
		if err == nil {
			trouble.over(l, b)
			return true
		}
		trouble.goesOn(l, b, err)
		if attempt >= isolateAfter && l.isolate(hard, b, err) {
			trouble.over(l, b)
			return true
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			// Stopping: one more try in case it was a hiccup.
			return hard.Err() == nil && l.attempt(hard, b) == nil
		}
	}
}

func (l *lane) attempt(ctx context.Context, b *batch) error {
	l.beat()
	ctx, cancel := context.WithTimeout(ctx, l.BatchTimeout)
	defer cancel()
	return b.store(ctx, l.Worker)
}

// handBack gives a batch up at once, for another worker or the next start.
func (l *lane) handBack(b *batch) {
	var errs []error
	for _, it := range b.items {
		errs = append(errs, it.delivery.Retry(0))
	}
	if err := errors.Join(errs...); err != nil {
		l.log.Warn("messages not handed back; they come again after the ack wait", zap.Error(err))
		return
	}
	l.log.Info("batch handed back on the way out", zap.Int("messages", len(b.items)))
}

// outage reports trouble with the database: that it goes on, now and then, and
// its end.
type outage struct {
	since    time.Time
	attempts int
}

func (o *outage) goesOn(l *lane, b *batch, err error) {
	o.attempts++
	if o.since.IsZero() {
		o.since = time.Now()
	}
	l.Metrics.StoreFailures.Inc()
	class, hint := l.databaseTrouble(l.name, err)
	l.repeats.log(l.log, zap.WarnLevel, class, "batch not stored, will be tried again", zap.Error(err), zap.String("class", class),
		zap.String("hint", hint), zap.Int("messages", len(b.items)), zap.Int("attempts", o.attempts), zap.Duration("since", time.Since(o.since)))
}

func (o *outage) over(l *lane, b *batch) {
	l.Status.Clear(l.name)
	if o.attempts > 0 {
		l.repeats.log(l.log, zap.InfoLevel, "", "batch dealt with after all", zap.Int("messages", len(b.items)),
			zap.Int("failed_attempts", o.attempts), zap.Duration("after", time.Since(o.since)))
	}
}
