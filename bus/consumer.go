package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is the durable pull consumer that all replicas share. Zero means
// the default.
type Consumer struct {
	Name string // empty means ttp-worker

	// AckWait is how long the server waits for word of a message it handed
	// over before it hands it to somebody else. 0 means 30 s.
	AckWait time.Duration

	// MaxAckPending is how many messages may be handed over and not settled,
	// over all replicas, those that were handed back for later included.
	// 0 means 100 000.
	MaxAckPending int

	Version string // of this program, noted at the consumer when it is made or changed; empty means none
}

// consumerWithin is how long one attempt to find or make the consumer may take.
// A cluster that is choosing a leader leaves such a request unanswered, and the
// next one is answered at once.
const consumerWithin = 2 * time.Second

// metaVersion is the consumer's note of which program has set it up.
const metaVersion = "ttp-worker-version"

func (c Consumer) withDefaults() Consumer {
	c.Name = cmp.Or(c.Name, "ttp-worker")
	c.AckWait = cmp.Or(c.AckWait, 30*time.Second)
	c.MaxAckPending = cmp.Or(c.MaxAckPending, 100_000)
	return c
}

func (b *Bus) consumerConfig() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:        b.o.Consumer.Name,
		Description:    "tags honeypot events",
		FilterSubjects: b.prefixed(telemetry()...),
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        b.o.Consumer.AckWait,
		MaxDeliver:     -1, // when to give up is the worker's decision
		MaxAckPending:  b.o.Consumer.MaxAckPending,
	}
	if v := b.o.Consumer.Version; v != "" {
		cfg.Metadata = map[string]string{metaVersion: v}
	}
	return cfg
}

// EnsureConsumer makes the consumer, or brings the one that is there to what
// the options say. What they do not name stays as the operator has set it. It
// returns a [MissingStreamError] if there is no stream and a [DriftError] if
// the consumer is one that can't be used.
//
// A consumer that is made anew gets every message that the stream still has.
func (b *Bus) EnsureConsumer(ctx context.Context) error {
	_, err := b.ensureConsumer(ctx)
	return err
}

func (b *Bus) ensureConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, consumerWithin)
	defer cancel()
	cons, err := b.bindConsumer(ctx)
	if errors.As(err, new(*MissingStreamError)) && b.restore(ctx) {
		cons, err = b.bindConsumer(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("set up consumer %s: %w", b.o.Consumer.Name, b.denied(err))
	}
	return cons, nil
}

func (b *Bus) bindConsumer(ctx context.Context) (jetstream.Consumer, error) {
	stream, name, want := b.o.Telemetry, b.o.Consumer.Name, b.consumerConfig()
	cons, err := b.js.Consumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		cons, err = b.js.CreateConsumer(ctx, stream, want)
	}
	if errors.Is(err, jetstream.ErrConsumerExists) { // somebody else was quicker
		cons, err = b.js.Consumer(ctx, stream, name)
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, &MissingStreamError{Stream: stream}
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return nil, consumerDrift(name, "kind", "push", "pull")
	case err != nil:
		return nil, err
	}
	return b.alignConsumer(ctx, cons, want)
}

// alignConsumer brings cons to want where they differ in what is ours.
func (b *Bus) alignConsumer(ctx context.Context, cons jetstream.Consumer, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	have := cons.CachedInfo().Config
	if err := consumerUsable(have, want); err != nil {
		return nil, err
	}
	if !merge(&have, want) {
		return cons, nil
	}
	return b.js.UpdateConsumer(ctx, b.o.Telemetry, have)
}

// consumerUsable is a [DriftError] if have can't be brought to want.
func consumerUsable(have, want jetstream.ConsumerConfig) error {
	if have.AckPolicy != want.AckPolicy {
		return consumerDrift(want.Durable, "ack policy", have.AckPolicy.String(), want.AckPolicy.String())
	}
	if have.HeadersOnly {
		return consumerDrift(want.Durable, "content", "headers only", "whole messages")
	}
	return nil
}

// merge sets in have what the worker's options decide and reports whether that
// changed anything. Another version is no change by itself: a worker that may
// not manage consumers must be able to follow one that may.
func merge(have *jetstream.ConsumerConfig, want jetstream.ConsumerConfig) bool {
	changed := false
	if !sameSubjects(filters(have), want.FilterSubjects) {
		have.FilterSubject, have.FilterSubjects, changed = "", want.FilterSubjects, true
	}
	if len(have.BackOff) > 0 { // its first element would replace AckWait
		have.BackOff, changed = nil, true
	}
	if have.AckWait != want.AckWait || have.MaxDeliver != want.MaxDeliver || have.MaxAckPending != want.MaxAckPending {
		have.AckWait, have.MaxDeliver, have.MaxAckPending = want.AckWait, want.MaxDeliver, want.MaxAckPending
		changed = true
	}
	if changed && len(want.Metadata) > 0 {
		have.Metadata = maps.Clone(have.Metadata)
		if have.Metadata == nil {
			have.Metadata = make(map[string]string, 1)
		}
		maps.Copy(have.Metadata, want.Metadata)
	}
	return changed
}

// filters returns the subjects of cfg, whichever way they were given.
func filters(cfg *jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}

func sameSubjects(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func consumerDrift(name, field, have, want string) error {
	return &DriftError{
		Thing: "consumer " + name, Field: field, Have: have, Want: want,
		Hint: "remove the consumer (events that the stream still has are then tagged again, which changes nothing) or name another one",
	}
}

// Backlog is how much there is to do, over all workers.
type Backlog struct {
	Pending     uint64 // messages not delivered yet
	Unacked     int    // delivered and not settled, those handed back for later included
	Redelivered int    // of these more than once
}

// Backlog asks the server about the consumer, for a few seconds at most.
func (b *Bus) Backlog(ctx context.Context) (Backlog, error) {
	if !b.nc.IsConnected() {
		return Backlog{}, nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	cons, err := b.js.Consumer(ctx, b.o.Telemetry, b.o.Consumer.Name)
	if err != nil {
		return Backlog{}, fmt.Errorf("look at consumer %s: %w", b.o.Consumer.Name, err)
	}
	info := cons.CachedInfo()
	return Backlog{info.NumPending, info.NumAckPending, info.NumRedelivered}, nil
}
