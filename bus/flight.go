package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// flight is what is published together and answered later, in any order. It is
// not safe for concurrent use, and must land.
type flight struct {
	bus    *Bus
	wire   *wire
	stream string // that is to take the messages; "" for any

	// settled is called once for each message that was sent: with nil when a
	// stream has it, as new or as known already, else with the reason.
	settled func(part int, err error)

	msg   nats.Msg // is sent again and again, with other contents
	timer *time.Timer
	err   error // why nothing can be sent any more
}

// fly begins a flight. If stream is not empty, no other stream may take its
// messages.
func (b *Bus) fly(stream string, settled func(part int, err error)) (*flight, error) {
	w, err := b.wires.take(b.nc)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	f := &flight{bus: b, wire: w, stream: stream, settled: settled, timer: time.NewTimer(answerWithin)}
	f.msg.Header = make(nats.Header, 3)
	if stream != "" {
		f.msg.Header[jetstream.ExpectedStreamHeader] = []string{stream}
	}
	return f, nil
}

// message is one to be sent. It is not kept.
type message struct {
	subject string // with the prefix
	data    []byte
	id      string // a stream stores one message per id; "" for none
	trace   string // "" for none
}

// send publishes m as a part of the flight and does not wait for the answer,
// only while too many are unanswered. The error is about this message alone if
// it is [ttp.Permanent], else no more can be sent.
func (f *flight) send(ctx context.Context, part int, m message) error {
	f.makeRoom(ctx)
	if f.err == nil {
		f.err = ctx.Err()
	}
	if f.err != nil {
		return f.bus.sendError(m.subject, f.err)
	}
	f.msg.Subject, f.msg.Data, f.msg.Reply = m.subject, m.data, f.wire.reply()
	f.header(jetstream.MsgIDHeader, m.id)
	f.header(headerTrace, m.trace)
	if err := f.bus.nc.PublishMsg(&f.msg); err != nil {
		if !errors.Is(err, nats.ErrMaxPayload) {
			f.err = err
		}
		return f.bus.sendError(m.subject, err)
	}
	f.wire.sent(part, m.subject)
	return nil
}

func (f *flight) header(name, value string) {
	if value == "" {
		delete(f.msg.Header, name)
		return
	}
	values := f.msg.Header[name]
	if values == nil {
		values = make([]string, 1)
		f.msg.Header[name] = values
	}
	values[0] = value
}

// makeRoom waits, if the next message has to, until half of those that were
// sent are answered: one by one, each answer would wake us up.
func (f *flight) makeRoom(ctx context.Context) {
	if !f.wire.full() {
		return
	}
	for f.err == nil && (f.wire.open > window/2 || f.wire.full()) {
		f.await(ctx)
	}
}

// land waits for all answers and ends the flight. Messages without an answer
// have failed.
func (f *flight) land(ctx context.Context) {
	for f.err == nil && f.wire.open > 0 {
		f.await(ctx)
	}
	f.timer.Stop()
	for i := range f.wire.slots {
		if s := &f.wire.slots[i]; s.waiting {
			f.settled(s.part, f.bus.sendError(s.subject, f.err))
		}
	}
	f.bus.wires.put(f.wire)
}

// doubtAfter is from when on silence is a reason to ask whether there is a stream
// at all. Where somebody listens to a subject, the server does not say so by itself.
const doubtAfter = time.Second

// await takes the next answer, or notes that none will come.
func (f *flight) await(ctx context.Context) {
	select {
	case m := <-f.wire.answers: // no timer while they come in a row
		f.take(m)
		return
	default:
	}
	if f.wait(ctx, doubtAfter) {
		return
	}
	if f.stream != "" && f.bus.isGone(ctx, f.stream) {
		f.err = jetstream.ErrStreamNotFound
		return
	}
	if !f.wait(ctx, answerWithin-doubtAfter) {
		f.err = jetstream.ErrAsyncPublishTimeout
	}
}

// wait reports whether within that time an answer came, which it takes, or a
// reason why none will, which it notes.
func (f *flight) wait(ctx context.Context, within time.Duration) bool {
	f.timer.Reset(within)
	select {
	case m := <-f.wire.answers:
		f.take(m)
	case <-f.wire.away:
		f.err = nats.ErrDisconnected
	case <-ctx.Done():
		f.err = ctx.Err()
	case <-f.timer.C:
		return false
	}
	return true
}

func (f *flight) take(m *nats.Msg) {
	s := f.wire.answered(m)
	if s == nil {
		return
	}
	err := verdict(m)
	if err != nil {
		err = f.bus.sendError(s.subject, err)
	}
	f.settled(s.part, err)
}
