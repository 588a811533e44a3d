package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"ttp-worker/intake"
	"ttp-worker/internal/failpoint"
)

// settle ends every message of a stored batch. Acks come last, the last one of
// them synchronously, which tells that the server has them all.
func (l *lane) settle(ctx context.Context, b *batch) {
	start := time.Now()
	var acks []Delivery
	for _, it := range b.items {
		v := l.decide(it)
		switch {
		case v.action == actAck:
			acks = append(acks, it.delivery)
			l.Metrics.lagged(it, start)
		case v.action == actReject && l.lettersTaken():
			l.reject(ctx, it, v)
		default:
			l.retry(it, v)
		}
	}
	l.Metrics.counted(b.tally)
	l.ack(ctx, acks)
	failpoint.Hit(failpoint.AfterAck)
	l.stage(ctx, "settle", start)
	l.Metrics.BatchMessages.Observe(float64(len(b.items)))
}

// decide turns a retry that has gone on for too long into a dead letter.
func (l *lane) decide(it *item) verdict {
	v, meta := it.verdict, it.delivery.Meta()
	switch {
	case v.action != actRetry:
	case v.orphan && meta.Deliveries >= deliveriesWithin(l.UnknownFor) && time.Since(meta.At) >= l.UnknownFor:
		v.action = actReject
	case v.blame && meta.Deliveries >= l.MaxDeliveries:
		v.action = actReject
	}
	return v
}

func (l *lane) ack(ctx context.Context, deliveries []Delivery) {
	if len(deliveries) == 0 {
		return
	}
	l.Metrics.Messages.WithLabelValues("acked").Add(float64(len(deliveries)))
	last := len(deliveries) - 1
	for _, d := range deliveries[:last] {
		if err := d.Ack(); err != nil {
			l.repeats.log(l.log, zap.WarnLevel, "", "message not acknowledged; it comes again and adds nothing",
				zap.Error(err), zap.Uint64("sequence", d.Meta().Sequence))
			break // the connection is down, and the others fare no better
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := deliveries[last].AckSync(ctx); err != nil {
		l.repeats.log(l.log, zap.WarnLevel, "", "acknowledgements not confirmed; what was not received comes again and adds nothing",
			zap.Error(err), zap.Int("messages", len(deliveries)))
		l.Status.Trouble(acknowledging, "nats: acknowledgements are not confirmed: "+oneLine(err))
		return
	}
	l.Status.Clear(acknowledging)
}

// acknowledging is what ending messages is called in the worker's status. What
// is not acknowledged comes again, so that there is always a next time.
const acknowledging = "acknowledging"

const (
	ackTimeout     = 2 * time.Second
	publishTimeout = 10 * time.Second
)

func (l *lane) retry(it *item, v verdict) {
	l.Metrics.Messages.WithLabelValues("retried").Inc()
	meta := it.delivery.Meta()
	delay := jitter(retryDelay(meta.Deliveries))
	if v.orphan {
		delay = jitter(waitDelay(meta.Deliveries, l.UnknownFor))
	}
	if err := it.delivery.Retry(delay); err != nil {
		l.repeats.log(l.log, zap.WarnLevel, "", "message not handed back; it comes again after the ack wait",
			zap.Error(err), zap.Uint64("sequence", meta.Sequence))
		return
	}
	if v.attacker != (intake.Key{}) {
		l.waiting.add(meta.Sequence, waiter{v.attacker, it.delivery.Recall(), time.Now().Add(delay)})
	}
	if check := l.log.Check(zap.DebugLevel, "message handed back for later"); check != nil {
		check.Write(zap.String("reason", v.reason), zap.Error(v.err), zap.String("subject", boundedSubject(it.delivery)),
			zap.Uint64("sequence", meta.Sequence), zap.Int("deliveries", meta.Deliveries), zap.Duration("delay", delay))
	}
}

// maxLetterLines is how many dead letters of a reason are logged in ten
// seconds; a sensor that has gone wrong may make thousands.
const maxLetterLines = 20

// letterPause is how long no dead letter is tried after one was not taken, so
// that a stream that is missing does not cost every message a time-out.
const letterPause = 5 * time.Second

// lettersTaken reports whether a dead letter is worth a try.
func (w *Worker) lettersTaken() bool {
	failed := w.letterFailed.Load()
	return failed == nil || time.Since(*failed) >= letterPause
}

// reject stores a dead letter and only then ends the message for good. If it
// cannot be stored, the message is handed back.
func (l *lane) reject(ctx context.Context, it *item, v verdict) {
	l.beat()
	d, meta := it.delivery, it.delivery.Meta()
	fields := []zap.Field{
		zap.String("reason", v.reason), zap.NamedError("cause", v.err), zap.String("subject", boundedSubject(d)), zap.String("stream", meta.Stream),
		zap.Uint64("sequence", meta.Sequence), zap.Int("bytes", len(d.Data())), zap.Int("deliveries", meta.Deliveries),
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := l.Publisher.DeadLetter(ctx, d, v.reason, v.err); err != nil {
		l.repeats.log(l.log, zap.ErrorLevel, "", "dead letter not stored, the message is kept and tried again; is there a stream for ttp.dlq.> (--provision)?",
			append(fields, zap.Error(err))...)
		l.letterFailed.Store(new(time.Now()))
		l.retry(it, v)
		return
	}
	l.Metrics.DeadLetters.WithLabelValues(v.reason).Inc()
	l.Metrics.Messages.WithLabelValues("dead_lettered").Inc()
	l.repeats.logSome(maxLetterLines, l.log, zap.WarnLevel, v.reason, "message became a dead letter", fields...)
	if err := d.Reject(v.reason); err != nil {
		l.repeats.log(l.log, zap.WarnLevel, "", "dead letter stored but the message not ended; it comes again and becomes the same dead letter",
			append(fields, zap.Error(err))...)
	}
}

// boundedSubject is the subject as it may be logged: a canary's token is part
// of it and is chosen by whoever can publish.
func boundedSubject(d Delivery) string {
	const max = 120
	if s := d.Subject(); len(s) > max {
		return s[:max]
	}
	return d.Subject()
}

// A message that is handed back comes again after a delay that grows by half
// each time.
const (
	firstRetryDelay = time.Second
	maxRetryDelay   = 5 * time.Second

	// One that waits for its attacker's row is recalled when that appears. Its
	// delay can be long, and should be: thousands that wait must not take the
	// lanes from the others.
	firstWaitDelay = 10 * time.Second
	maxWaitDelay   = 30 * time.Second
)

// retryDelay is how long a message waits after its nth delivery.
func retryDelay(n int) time.Duration { return growing(n, firstRetryDelay, maxRetryDelay) }

// waitDelay is the same for one that waits for a row, for so long in all.
func waitDelay(n int, inAll time.Duration) time.Duration {
	return min(growing(n, firstWaitDelay, maxWaitDelay), max(inAll/3, firstRetryDelay))
}

func growing(n int, first, most time.Duration) time.Duration {
	delay := first
	for ; n > 1 && delay < most; n-- {
		delay += delay / 2
	}
	return min(delay, most)
}

// deliveriesWithin returns how many deliveries of one that waits there are in
// that time.
func deliveriesWithin(inAll time.Duration) int {
	n := 1
	for passed := time.Duration(0); passed < inAll; n++ {
		passed += waitDelay(n, inAll)
	}
	return n
}

// jitter spreads d by a fifth to either side, so that what was handed back
// together does not come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // timing, not secrecy
}
