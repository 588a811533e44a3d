package bus

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"ttp-worker/worker"
)

// delivery is a message that the consumer handed over.
type delivery struct {
	bus     *Bus
	msg     *nats.Msg
	meta    worker.Meta
	settled atomic.Bool
}

var _ worker.Delivery = (*delivery)(nil)

func newDelivery(b *Bus, msg *nats.Msg) *delivery {
	d := &delivery{bus: b, msg: msg}
	if meta, ok := origin(msg.Reply); ok {
		d.meta = meta
		d.meta.TraceParent = traceParent(msg.Header)
	}
	return d
}

// origin reads where a message is from out of the subject for its answers. ok is
// false if that is none of a consumer. From 2.14 on servers can be set to the second form:
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer's>.<nanoseconds>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.….<pending>
//
// More may stand behind it one day. See
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md#jsack.
func origin(reply string) (meta worker.Meta, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return worker.Meta{}, false
	}
	dots := strings.Count(rest, ".")
	if dots >= 8 {
		_, rest, _ = strings.Cut(rest, ".")
		_, rest, _ = strings.Cut(rest, ".")
	} else if dots != 6 {
		return worker.Meta{}, false
	}
	var parts [7]string // the stream first
	for i := range parts {
		parts[i], rest, _ = strings.Cut(rest, ".")
	}
	deliveries, err1 := strconv.Atoi(parts[2])
	sequence, err2 := strconv.ParseUint(parts[3], 10, 64)
	nanoseconds, err3 := strconv.ParseInt(parts[5], 10, 64)
	return worker.Meta{
		Stream: parts[0], Sequence: sequence, Deliveries: deliveries, At: time.Unix(0, nanoseconds).UTC(),
	}, err1 == nil && err2 == nil && err3 == nil
}

func (d *delivery) Subject() string      { return d.bus.bare(d.msg.Subject) }
func (d *delivery) Data() []byte         { return d.msg.Data }
func (d *delivery) Meta() worker.Meta    { return d.meta }
func (d *delivery) Headers() nats.Header { return d.msg.Header }

// What a consumer is told of a message, see ADR-15.
var (
	saysAck        = []byte("+ACK")
	saysNak        = []byte("-NAK")
	saysInProgress = []byte("+WPI")
)

func (d *delivery) Ack() error { return d.settle(saysAck) }

func (d *delivery) AckSync(ctx context.Context) error {
	if d.settled.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := d.bus.nc.RequestWithContext(ctx, d.msg.Reply, saysAck)
	d.settled.Store(err == nil)
	return err
}

func (d *delivery) Reject(reason string) error {
	return d.settle([]byte("+TERM " + oneLine(reason, maxReason)))
}

func (d *delivery) Retry(after time.Duration) error {
	if after <= 0 {
		return d.settle(saysNak)
	}
	return d.settle(fmt.Appendf(nil, `%s {"delay": %d}`, saysNak, after.Nanoseconds()))
}

func (d *delivery) InProgress() error {
	if d.settled.Load() {
		return nil
	}
	return d.bus.nc.Publish(d.msg.Reply, saysInProgress)
}

// Recall implements [worker.Delivery]: the server takes a second, undelayed
// "nak" of the same delivery. If the message has been delivered or settled
// since, it does nothing.
func (d *delivery) Recall() func() error {
	nc, reply := d.bus.nc, strings.Clone(d.msg.Reply)
	return func() error { return nc.Publish(reply, saysNak) }
}

// settle sends the last word on a message. One that had it already is good.
func (d *delivery) settle(word []byte) error {
	if d.settled.Load() {
		return nil
	}
	err := d.bus.nc.Publish(d.msg.Reply, word)
	d.settled.Store(err == nil)
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
