package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/ttp"
)

// Message is something to publish.
type Message struct {
	Subject string // without the prefix
	Data    []byte
	ID      string // a stream stores one message per id, within its window; empty means none
}

// Publish publishes one message and returns when a stream has it.
func (b *Bus) Publish(ctx context.Context, m Message) error {
	msg, err := b.message(m)
	if err != nil {
		return err
	}
	return b.send(ctx, msg, m.ID, "")
}

// PublishAll publishes messages in their order and returns how many of them a
// stream has. It stops at the first error; what was sent before is waited for.
// With ids, sending all of them again repeats nothing.
func (b *Bus) PublishAll(ctx context.Context, messages iter.Seq[Message]) (n int, err error) {
	f, err := b.fly("", func(_ int, failed error) {
		if failed == nil {
			n++
		}
		err = cmp.Or(err, failed)
	})
	if err != nil {
		return 0, err
	}
	for m := range messages {
		msg, bad := b.message(m)
		if bad == nil {
			bad = f.send(ctx, 0, message{subject: msg.Subject, data: msg.Data, id: m.ID})
		}
		if err = cmp.Or(err, bad); err != nil {
			break
		}
	}
	f.land(ctx)
	return n, err
}

func (b *Bus) message(m Message) (*nats.Msg, error) {
	if !validSubject(m.Subject) {
		return nil, ttp.Permanent(fmt.Errorf("publish: %.80q is no subject to publish on", m.Subject))
	}
	return &nats.Msg{Subject: b.o.Prefix + m.Subject, Data: m.Data}, nil
}

// envelope makes the message that carries payload, a JSON object, on topic.
func (b *Bus) envelope(id, topic string, payload []byte) *nats.Msg {
	data := ttp.AppendEnvelope(make([]byte, 0, len(payload)+256), id, topic, time.Now(), payload)
	return &nats.Msg{Subject: b.o.Prefix + topic, Data: data}
}

// send publishes m and waits for the answer. If stream is not empty, no other
// stream may take it.
func (b *Bus) send(ctx context.Context, m *nats.Msg, id, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := b.js.PublishMsg(ctx, m, publishOpts(id, stream)...); err != nil {
		return b.sendError(m.Subject, err)
	}
	return nil
}

func publishOpts(id, stream string) []jetstream.PublishOpt {
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	if stream != "" {
		opts = append(opts, jetstream.WithExpectStream(stream))
	}
	return opts
}

// sendError says why a message was not taken and what can be done about it.
func (b *Bus) sendError(subject string, err error) error {
	for _, aside := range []error{nats.ErrHeadersNotSupported, nats.ErrReconnectBufExceeded} {
		if errors.Is(err, aside) && !b.nc.IsConnected() { // what the library says without a connection
			err = b.notConnected()
		}
	}
	err = fmt.Errorf("publish %s: %w", b.bare(subject), err)
	if errors.Is(err, nats.ErrMaxPayload) {
		return ttp.Permanent(err)
	}
	if cure := cureOf(err); cure != "" {
		return fmt.Errorf("%w (%s)", b.denied(err), cure)
	}
	return err
}

// The server's numbers for a stream that takes no more; the library has no
// names for them.
const (
	codeStoreFailed  jetstream.ErrorCode = 10077 // a limit of the stream is reached
	codeNoResources  jetstream.ErrorCode = 10023
	codeNoMoreBytes  jetstream.ErrorCode = 10047
	codeSealedStream jetstream.ErrorCode = 10109
)

// cureOf is what the operator can do where a message was not taken.
func cureOf(err error) string {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		return "no stream takes it: make it with `ttp-worker provision`, or run with --provision"
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, nats.ErrTimeout):
		return "no stream answers: `ttp-worker doctor` looks at the streams and at what the account of --nats may publish"
	case !errors.As(err, &api):
		return ""
	case api.ErrorCode == codeStoreFailed:
		return "the stream is full: raise its limits, or let it discard old messages"
	case api.ErrorCode == codeNoResources, api.ErrorCode == codeNoMoreBytes:
		return "JetStream has no more room: raise max_file_store of the server or the account's limit"
	case api.ErrorCode == codeSealedStream:
		return "the stream is sealed and takes nothing any more: use another one"
	}
	return ""
}

// headerRoom is what publishing adds to a message: its id and the name of the
// stream, in headers.
const headerRoom = 512

// room is how large the data of a message may be. Before the server has said
// so nothing can be sent, and any size will do.
func (b *Bus) room() int {
	if limit := int(b.nc.MaxPayload()); limit > 0 {
		return limit - headerRoom
	}
	return 1 << 30
}
