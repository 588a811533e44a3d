package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Settled returns the sequence up to which the worker's consumer on a stream
// has settled everything. ok is false if the stream has no such consumer.
func (b *Bus) Settled(ctx context.Context, stream string) (sequence uint64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	cons, err := b.js.Consumer(ctx, stream, b.o.Consumer.Name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("look at consumer %s: %w", b.o.Consumer.Name, err)
	}
	return cons.CachedInfo().AckFloor.Stream, true, nil
}

// Stored is a message as a stream has it.
type Stored struct {
	Subject  string // without the prefix
	Data     []byte
	Sequence uint64
}

// History reads what a stream holds and leaves no trace there: no consumer
// that stays, no acknowledgements. It is not safe for concurrent use.
type History struct {
	bus    *Bus
	stream string
	since  time.Time
	until  time.Time

	// NoWorker says that no consumer of the stream is a worker's under another
	// name, see [History.Begin].
	NoWorker bool

	cons  jetstream.Consumer
	iter  jetstream.MessagesContext
	last  uint64
	ended bool
}

// NewHistory returns the history of a stream from since until until; zero
// times are open. The caller must Close it.
func (b *Bus) NewHistory(stream string, since, until time.Time) *History {
	return &History{bus: b, stream: stream, since: since, until: until}
}

// Begin begins at a sequence, or with 0 at the first message. It returns the
// sequence that is read last: what the stream has now, but not what the
// worker's consumer has not settled. That is for the live worker to tag and to
// announce.
//
// A stream without that consumer has no live worker, and all of it is history.
// If there are other consumers that could be a worker's, that is an error
// unless NoWorker is set: one of them may still be to announce what it holds.
func (h *History) Begin(ctx context.Context, first uint64) (last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*answerWithin)
	defer cancel()
	stream, err := h.bus.js.Stream(ctx, h.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("read stream %s: there is no such stream", h.stream)
	} else if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", h.stream, err)
	}
	if h.last, err = h.lastOf(ctx, stream); err != nil {
		return 0, err
	}
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: h.bus.prefixed(telemetry()...), DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute,
	}
	switch {
	case first > h.last || h.last == 0:
		h.ended = true
		return h.last, nil
	case first > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, first
	case !h.since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &h.since
	}
	return h.last, h.open(ctx, cfg)
}

// lastOf returns the last sequence of the stream that is history.
func (h *History) lastOf(ctx context.Context, stream jetstream.Stream) (uint64, error) {
	last, name := stream.CachedInfo().State.LastSeq, h.bus.o.Consumer.Name
	settled, ok, err := h.bus.Settled(ctx, h.stream)
	if err != nil {
		return 0, err
	}
	if ok {
		if settled < last {
			h.bus.log.Info("what the live worker has not settled is left to it", zap.String("consumer", name), zap.Uint64("settled", settled), zap.Uint64("last", last))
		}
		return min(last, settled), nil
	}
	if h.NoWorker {
		return last, nil
	}
	others, err := workersOf(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("list the consumers of stream %s: %w", h.stream, err)
	}
	if len(others) > 0 {
		return 0, fmt.Errorf("read stream %s: it has no consumer %s, but %s: name the live worker's with --consumer, so that what it has still to announce is left to it, or say --no-live-worker",
			h.stream, name, strings.Join(others, ", "))
	}
	h.bus.log.Warn("the stream has no live worker: all of it is history, and a worker that begins later will not announce what is stored now", zap.String("stream", h.stream))
	return last, nil
}

// workersOf returns the names of the consumers that could be a worker's:
// durable ones whose messages are acknowledged.
func workersOf(ctx context.Context, stream jetstream.Stream) (names []string, err error) {
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable != "" && info.Config.AckPolicy == jetstream.AckExplicitPolicy {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	return names, list.Err()
}

func (h *History) open(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (err error) {
	if h.cons, err = h.bus.js.OrderedConsumer(ctx, h.stream, cfg); err != nil {
		return fmt.Errorf("read stream %s: %w", h.stream, err)
	}
	if info, err := h.cons.Info(ctx); err == nil && info.NumPending == 0 && info.Delivered.Consumer == 0 {
		h.ended = true
		return nil
	}
	if h.iter, err = h.cons.Messages(jetstream.PullMaxMessages(500)); err != nil {
		return fmt.Errorf("read stream %s: %w", h.stream, err)
	}
	return nil
}

// lookAgain is how long nothing may come before the server is asked whether
// anything will.
const lookAgain = 5 * time.Second

// Next returns the next message, or io.EOF when all were returned.
func (h *History) Next(ctx context.Context) (Stored, error) {
	for !h.ended {
		wait, cancel := context.WithTimeout(ctx, lookAgain)
		msg, err := h.iter.Next(jetstream.NextContext(wait))
		cancel()
		switch {
		case err == nil:
			return h.take(msg)
		case ctx.Err() != nil:
			return Stored{}, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout):
			return Stored{}, fmt.Errorf("read stream %s: %w", h.stream, err)
		}
		info, err := h.cons.Info(ctx)
		h.ended = err == nil && info.NumPending == 0
	}
	return Stored{}, io.EOF
}

func (h *History) take(msg jetstream.Msg) (Stored, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Stored{}, fmt.Errorf("read stream %s: %w", h.stream, err)
	}
	seq := meta.Sequence.Stream
	h.ended = meta.NumPending == 0 || seq >= h.last
	if seq > h.last || !h.until.IsZero() && !meta.Timestamp.Before(h.until) {
		h.ended = true
		return Stored{}, io.EOF
	}
	return Stored{Subject: h.bus.bare(msg.Subject()), Data: msg.Data(), Sequence: seq}, nil
}

// Close ends reading.
func (h *History) Close() {
	if h.iter != nil {
		h.iter.Stop()
	}
}
