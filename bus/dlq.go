package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoDeadLetter says that there is no dead letter with that number (any more).
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is a message that could not be processed.
type DeadLetter struct {
	Number     uint64    // its own, in TTP_DLQ
	At         time.Time // when it was given up
	Subject    string    // the one it came on
	Reason     string
	Error      string
	Stream     string // where it was
	Sequence   uint64 // its number there
	Deliveries int
	FirstSeen  time.Time
	Size       int         // of its data as it came
	Data       []byte      // shorter than Size if it had to be cut
	Headers    nats.Header // its own
}

// DLQ is the stream of dead letters. It is safe for concurrent use.
type DLQ struct {
	bus    *Bus
	stream jetstream.Stream
}

// DLQ returns the dead letters, or a [MissingStreamError].
func (b *Bus) DLQ(ctx context.Context) (*DLQ, error) {
	stream, err := b.js.Stream(ctx, b.o.DLQ)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, &MissingStreamError{Stream: b.o.DLQ}
	}
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", b.o.DLQ, err)
	}
	return &DLQ{bus: b, stream: stream}, nil
}

// Last returns the number of the newest dead letter when the stream was looked
// at, 0 if there was none.
func (q *DLQ) Last() uint64 { return q.stream.CachedInfo().State.LastSeq }

// List yields the dead letters of the original subjects that match filter, a
// NATS pattern, oldest first; an empty filter means all. It ends after the
// first error.
func (q *DLQ) List(ctx context.Context, filter string) iter.Seq2[DeadLetter, error] {
	if filter == "" {
		filter = ">"
	}
	subject := jetstream.WithGetMsgSubject(q.bus.o.Prefix + deadLetter + filter)
	return func(yield func(DeadLetter, error) bool) {
		for next := uint64(1); ; next++ {
			msg, err := q.stream.GetMsg(ctx, next, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("list dead letters: %w", err))
				return
			}
			next = msg.Sequence
			if !yield(q.read(msg), nil) {
				return
			}
		}
	}
}

// Get returns one dead letter, or [ErrNoDeadLetter].
func (q *DLQ) Get(ctx context.Context, number uint64) (DeadLetter, error) {
	msg, err := q.stream.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrNoDeadLetter
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("dead letter %d: %w", number, err)
	}
	return q.read(msg), nil
}

// Requeue publishes a dead letter as the message it was and removes it. It is
// a new message to the stream: its Nats-Msg-Id would make it a duplicate of
// itself. One that was cut is refused.
func (q *DLQ) Requeue(ctx context.Context, number uint64) error {
	letter, err := q.Get(ctx, number)
	if err != nil {
		return err
	}
	if len(letter.Data) < letter.Size {
		return fmt.Errorf("requeue dead letter %d: only %d of its %d bytes are left", number, len(letter.Data), letter.Size)
	}
	m := &nats.Msg{Subject: q.bus.o.Prefix + letter.Subject, Data: letter.Data, Header: letter.Headers}
	id := fmt.Sprintf("requeue:%s:%d", q.bus.o.DLQ, number)
	if err := q.bus.send(ctx, m, id, q.bus.o.Telemetry); err != nil {
		return fmt.Errorf("requeue dead letter %d: %w", number, err)
	}
	if err := q.stream.DeleteMsg(ctx, number); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("remove dead letter %d, which was published again: %w", number, err)
	}
	return nil
}

func (q *DLQ) read(msg *jetstream.RawStreamMsg) DeadLetter {
	h := msg.Header
	letter := DeadLetter{
		Number:     msg.Sequence,
		At:         msg.Time.UTC(),
		Subject:    strings.TrimPrefix(q.bus.bare(msg.Subject), deadLetter),
		Reason:     h.Get(headerReason),
		Error:      h.Get(headerError),
		Stream:     h.Get(headerStream),
		Sequence:   uint64(number(h, headerSequence)),
		Deliveries: number(h, headerDeliveries),
		Size:       max(number(h, headerCut), len(msg.Data)),
		Data:       msg.Data,
		Headers:    nats.Header{},
	}
	letter.FirstSeen, _ = time.Parse(time.RFC3339Nano, h.Get(headerFirstSeen)) // zero if it is not there
	for name, values := range h {
		if !ours(name) {
			letter.Headers[name] = values
		}
	}
	return letter
}

// number returns a header that is a number, 0 if it is none.
func number(h nats.Header, name string) int {
	n, _ := strconv.Atoi(h.Get(name))
	return n
}
