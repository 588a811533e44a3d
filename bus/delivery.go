package bus

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/worker"
)

// delivery is a message that the consumer handed over.
type delivery struct {
	msg     jetstream.Msg
	subject string
	meta    worker.Meta
	nc      *nats.Conn
}

var _ worker.Delivery = (*delivery)(nil)

func newDelivery(nc *nats.Conn, msg jetstream.Msg, subject string) *delivery {
	d := &delivery{msg: msg, subject: subject, nc: nc}
	if m, err := msg.Metadata(); err == nil { // the library has read it once already
		d.meta = worker.Meta{
			Stream:      m.Stream,
			Sequence:    m.Sequence.Stream,
			Deliveries:  int(m.NumDelivered),
			At:          m.Timestamp.UTC(),
			TraceParent: traceParent(msg.Headers()),
		}
	}
	return d
}

func (d *delivery) Subject() string      { return d.subject }
func (d *delivery) Data() []byte         { return d.msg.Data() }
func (d *delivery) Meta() worker.Meta    { return d.meta }
func (d *delivery) Headers() nats.Header { return d.msg.Headers() }

func (d *delivery) Ack() error                        { return settled(d.msg.Ack()) }
func (d *delivery) AckSync(ctx context.Context) error { return settled(d.msg.DoubleAck(ctx)) }
func (d *delivery) Reject(reason string) error {
	return settled(d.msg.TermWithReason(oneLine(reason, maxReason)))
}
func (d *delivery) InProgress() error { return settled(d.msg.InProgress()) }

func (d *delivery) Retry(after time.Duration) error {
	return settled(d.msg.NakWithDelay(after))
}

// Recall implements [worker.Delivery]: the server takes a second, undelayed
// "nak" of the same delivery. If the message has been delivered or settled
// since, it does nothing.
func (d *delivery) Recall() func() error {
	nc, reply := d.nc, strings.Clone(d.msg.Reply())
	return func() error { return nc.Publish(reply, []byte("-NAK")) }
}

// settled takes it as good if the message was settled before.
func settled(err error) error {
	if errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return nil
	}
	return err
}

// headerTrace carries the trace that a message belongs to.
const headerTrace = "traceparent"

var traceForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceParent returns the trace in h, "" if there is none or what is there
// doesn't look like one: sensors write it. Its case is as the sender chose.
func traceParent(h nats.Header) string {
	trace := h.Get(headerTrace)
	if trace == "" {
		trace = h.Get("Traceparent")
	}
	if !traceForm.MatchString(trace) {
		return ""
	}
	return trace
}
