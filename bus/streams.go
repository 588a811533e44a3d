package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Storage says how the streams keep what they get. Zero means the default.
type Storage struct {
	TelemetryAge time.Duration // how long events are kept; 0 means 30 days
	TTPAge       time.Duration // how long announcements are kept; 0 means 30 days
	DLQAge       time.Duration // how long dead letters are kept; 0 means for ever

	// Duplicates is how long TTP remembers the ids of announcements: one
	// repeated within it is stored once. 0 means 2 hours, the longest time
	// for which a worker may be away between publishing and noting that it did.
	Duplicates time.Duration

	Replicas int // 0 means 1
}

// month is how long events and announcements are kept unless told otherwise.
const month = 30 * 24 * time.Hour

// MissingStreamError says that a stream has to be made first.
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string {
	return fmt.Sprintf("stream %s does not exist: create it or run with --provision", e.Stream)
}

// DriftError says that something exists and differs from what the worker needs
// in a way that can't be changed without losing data. That is the operator's
// to decide.
type DriftError struct {
	Thing string // "stream TTP"
	Field string
	Have  string
	Want  string
	Hint  string // what to do
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("%s: %s is %s, need %s: %s", e.Thing, e.Field, e.Have, e.Want, e.Hint)
}

// Provision creates the streams that are missing. Of those that exist it
// changes one thing: subjects that are missing are added. An existing stream
// of the wrong sort is a [DriftError]. Doing it from several processes at once
// is fine.
//
// From then on a stream that turns out to have vanished is made anew.
func (b *Bus) Provision(ctx context.Context, s Storage) error {
	for _, cfg := range b.streams(s) {
		if err := b.provision(ctx, cfg); err != nil {
			return fmt.Errorf("provision stream %s: %w", cfg.Name, err)
		}
	}
	b.storage.Store(&s)
	return nil
}

// restore makes streams anew that have vanished since [Bus.Provision]: a server
// came back without its store, or somebody removed them. It reports whether all
// are there.
func (b *Bus) restore(ctx context.Context) bool {
	s := b.storage.Load()
	if s == nil {
		return false
	}
	if err := b.Provision(ctx, *s); err != nil {
		b.vanished.failed(err)
		return false
	}
	b.vanished.recovered()
	return true
}

// restoreAfter restores the streams if err says that one did not answer. Where
// somebody listens to the subject without a stream, the server does not say so
// and the answer just fails to come.
func (b *Bus) restoreAfter(ctx context.Context, err error) bool {
	for _, silent := range []error{
		jetstream.ErrNoStreamResponse, jetstream.ErrStreamNotFound, jetstream.ErrAsyncPublishTimeout, nats.ErrTimeout, context.DeadlineExceeded,
	} {
		if errors.Is(err, silent) {
			return b.restore(ctx)
		}
	}
	return false
}

// isGone reports whether the server says that there is no such stream. One that
// says nothing is not waited for much longer.
func (b *Bus) isGone(ctx context.Context, stream string) bool {
	ctx, cancel := context.WithTimeout(ctx, doubtAfter)
	defer cancel()
	_, err := b.js.Stream(ctx, stream)
	return errors.Is(err, jetstream.ErrStreamNotFound)
}

func (b *Bus) streams(s Storage) []jetstream.StreamConfig {
	cfgs := []jetstream.StreamConfig{
		{
			Name: b.o.Telemetry, Description: "honeypot events, consumed by ttp-worker",
			Subjects: b.prefixed(telemetry()...), MaxAge: cmp.Or(s.TelemetryAge, month),
		},
		{
			Name: b.o.TTP, Description: "what ttp-worker found",
			Subjects: b.prefixed(tagged, "ttp.rule.>"), MaxAge: cmp.Or(s.TTPAge, month),
		},
		{
			Name: b.o.DLQ, Description: "what ttp-worker could not process",
			Subjects: b.prefixed(deadLetter + ">"), MaxAge: s.DLQAge,
		},
	}
	for i := range cfgs {
		cfgs[i].Storage = jetstream.FileStorage
		cfgs[i].Retention = jetstream.LimitsPolicy
		cfgs[i].Replicas = cmp.Or(s.Replicas, 1)
	}
	cfgs[1].AllowAtomicPublish = b.o.Together
	// A window longer than the messages are kept for is refused.
	cfgs[1].Duplicates = min(cmp.Or(s.Duplicates, 2*time.Hour), cfgs[1].MaxAge)
	return cfgs
}

func (b *Bus) provision(ctx context.Context, cfg jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, 3*answerWithin)
	defer cancel()
	stream, err := b.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if stream, err = b.js.CreateStream(ctx, cfg); err == nil {
			b.log.Info("stream made", zap.String("stream", cfg.Name))
		}
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else was quicker
		stream, err = b.js.Stream(ctx, cfg.Name)
	}
	if err != nil {
		return streamHint(err)
	}
	return b.amend(ctx, stream.CachedInfo().Config, cfg)
}

// codeOverlap is the server's code for subjects that another stream has.
const codeOverlap jetstream.ErrorCode = 10065

func streamHint(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeOverlap {
		return fmt.Errorf("another stream has these subjects, name that one instead: %w", err)
	}
	return err
}

// amend adds to the stream that exists what it lacks: subjects, and that it
// takes batches.
func (b *Bus) amend(ctx context.Context, have, want jetstream.StreamConfig) error {
	if err := streamDrift(have, want); err != nil {
		return err
	}
	missing := uncovered(have.Subjects, want.Subjects)
	if len(missing) == 0 && (have.AllowAtomicPublish || !want.AllowAtomicPublish) {
		return nil
	}
	have.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	// One that is there and covered by a new one would be refused as overlapping.
	have.Subjects = append(uncovered(missing, have.Subjects), missing...)
	slices.Sort(have.Subjects)
	if _, err := b.js.UpdateStream(ctx, have); err != nil {
		return fmt.Errorf("add to stream %s the subjects %q: %w", have.Name, missing, streamHint(err))
	}
	return nil
}

func streamDrift(have, want jetstream.StreamConfig) error {
	drift := &DriftError{Thing: "stream " + have.Name, Hint: "remove the stream or name another one"}
	switch {
	case have.Mirror != nil:
		drift.Field, drift.Have, drift.Want = "source", "another stream", "published messages"
	case have.Storage != want.Storage:
		drift.Field, drift.Have, drift.Want = "storage", have.Storage.String(), want.Storage.String()
	case have.Retention != want.Retention:
		drift.Field, drift.Have, drift.Want = "retention", have.Retention.String(), want.Retention.String()
	default:
		return nil
	}
	return drift
}
