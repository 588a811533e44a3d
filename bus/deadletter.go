package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/worker"
)

// The headers of a dead letter. All else is as it was in the message, but for
// the Nats-… headers, which would tell the server what to do with it.
const (
	headerReason     = "Ttp-Reason"     // a word: why it was given up
	headerError      = "Ttp-Error"      // what went wrong; nothing of the message
	headerStream     = "Ttp-Stream"     // where it was
	headerSequence   = "Ttp-Sequence"   // and its number there
	headerDeliveries = "Ttp-Deliveries" // how often it was tried
	headerFirstSeen  = "Ttp-First-Seen" // when that stream took it, RFC 3339
	headerMsgID      = "Ttp-Msg-Id"     // its Nats-Msg-Id, if it had one
	headerCut        = "Ttp-Cut"        // its size, if the data was cut to fit
)

// DeadLetter implements [worker.Publisher]. The same message becomes the same
// dead letter however often it is sent, within the stream's duplicate window.
// One that does not fit with the headers added loses its own headers, then the
// end of its data.
func (p *Publisher) DeadLetter(ctx context.Context, d worker.Delivery, reason string, cause error) error {
	meta := d.Meta()
	m := &nats.Msg{Subject: p.bus.o.Prefix + deadLetterSubject(d.Subject()), Data: d.Data(), Header: carried(d)}
	addVerdict(m.Header, meta, reason, cause)
	if headerSize(m.Header)+len(m.Data) > p.bus.room() {
		m.Header = nats.Header{}
		addVerdict(m.Header, meta, reason, cause)
		cut(m, p.bus.room()-headerSize(m.Header))
	}
	id := fmt.Sprintf("dlq:%s:%d", meta.Stream, meta.Sequence)
	err := p.bus.send(ctx, m, id, p.bus.o.DLQ)
	if p.bus.restoreAfter(ctx, err) {
		err = p.bus.send(ctx, m, id, p.bus.o.DLQ)
	}
	return err
}

// deadLetterSubject returns where the dead letters of subject go.
func deadLetterSubject(subject string) string {
	s := deadLetter + subject
	if len(s) > maxSubject {
		s = strings.TrimRight(s[:maxSubject], ".")
	}
	return s
}

// carried returns the headers of d that go with the dead letter.
func carried(d worker.Delivery) nats.Header {
	h := nats.Header{}
	from, ok := d.(interface{ Headers() nats.Header })
	if !ok {
		return h
	}
	original := from.Headers()
	for name, values := range original {
		if !ours(name) {
			h[name] = values
		}
	}
	if id := original.Get(jetstream.MsgIDHeader); id != "" {
		h.Set(headerMsgID, id)
	}
	return h
}

// ours reports whether the header belongs to the server or to a dead letter,
// and not to the message.
func ours(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "ttp-")
}

func addVerdict(h nats.Header, meta worker.Meta, reason string, cause error) {
	h.Set(headerReason, oneLine(reason, maxReason))
	if cause != nil {
		h.Set(headerError, oneLine(cause.Error(), maxError))
	}
	h.Set(headerStream, meta.Stream)
	h.Set(headerSequence, strconv.FormatUint(meta.Sequence, 10))
	h.Set(headerDeliveries, strconv.Itoa(meta.Deliveries))
	h.Set(headerFirstSeen, meta.At.UTC().Format(time.RFC3339Nano))
}

// cut shortens the data of m to room bytes and says so.
func cut(m *nats.Msg, room int) {
	if len(m.Data) <= room {
		return
	}
	m.Header.Set(headerCut, strconv.Itoa(len(m.Data)))
	m.Data = m.Data[:max(room, 0)]
}

// headerSize is how many bytes h takes in a message.
func headerSize(h nats.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}
