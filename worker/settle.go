package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"ttp-worker/internal/failpoint"
)

// settle ends every message of a stored batch. Acks come last, the last one of
// them synchronously, which tells that the server has them all.
func (l *lane) settle(ctx context.Context, b *batch) {
	start := time.Now()
	var acks []Delivery
	for _, it := range b.items {
		v := l.decide(it)
		switch v.action {
		case actAck:
			acks = append(acks, it.delivery)
			l.Metrics.lagged(it, start)
		case actRetry:
			l.retry(it, v)
		case actReject:
			l.reject(ctx, it, v)
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
			l.log.Warn("message not acknowledged; it comes again and adds nothing", zap.Error(err), zap.Uint64("sequence", d.Meta().Sequence))
			break // the connection is down, and the others fare no better
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := deliveries[last].AckSync(ctx); err != nil {
		l.log.Warn("acknowledgements not confirmed; what was not received comes again and adds nothing",
			zap.Error(err), zap.Int("messages", len(deliveries)))
	}
}

const (
	ackTimeout     = 5 * time.Second
	publishTimeout = 10 * time.Second
)

func (l *lane) retry(it *item, v verdict) {
	l.Metrics.Messages.WithLabelValues("retried").Inc()
	meta := it.delivery.Meta()
	delay := parkDelay(meta.Deliveries)
	if err := it.delivery.Retry(jitter(delay)); err != nil {
		l.log.Warn("message not handed back; it comes again after the ack wait", zap.Error(err), zap.Uint64("sequence", meta.Sequence))
		return
	}
	if check := l.log.Check(zap.DebugLevel, "message handed back for later"); check != nil {
		check.Write(zap.String("reason", v.reason), zap.Error(v.err), zap.String("subject", boundedSubject(it.delivery)),
			zap.Uint64("sequence", meta.Sequence), zap.Int("deliveries", meta.Deliveries), zap.Duration("delay", delay))
	}
}

// reject stores a dead letter and only then ends the message for good.
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
		l.log.Error("dead letter not stored, the message is kept and tried again; is there a stream for ttp.dlq.> (--provision)?",
			append(fields, zap.Error(err))...)
		l.retry(it, v)
		return
	}
	l.Metrics.DeadLetters.WithLabelValues(v.reason).Inc()
	l.Metrics.Messages.WithLabelValues("dead_lettered").Inc()
	l.log.Warn("message became a dead letter", fields...)
	if err := d.Reject(v.reason); err != nil {
		l.log.Warn("dead letter stored but the message not ended; it comes again and becomes the same dead letter", append(fields, zap.Error(err))...)
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

// Messages that wait for a row are asked about with growing delay, but often
// enough that they go on within seconds after it appears.
const (
	firstParkDelay = time.Second
	maxParkDelay   = 5 * time.Second
)

// parkDelay is how long a message waits after its nth delivery.
func parkDelay(n int) time.Duration {
	delay := firstParkDelay
	for ; n > 1 && delay < maxParkDelay; n-- {
		delay += delay / 2
	}
	return min(delay, maxParkDelay)
}

// deliveriesWithin returns how many deliveries the delays spread over d.
func deliveriesWithin(d time.Duration) int {
	n := 1
	for passed := time.Duration(0); passed < d; n++ {
		passed += parkDelay(n)
	}
	return n
}

// jitter spreads d by a fifth to either side, so that what was handed back
// together does not come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // timing, not secrecy
}
