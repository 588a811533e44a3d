package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// pull is one request for messages, and a subject of our own on which they
// come. It is not safe for concurrent use.
//
// It takes the place of Fetch of package jetstream, which hands each message
// from one goroutine to another and makes a timer and two objects for it.
type pull struct {
	sub    *nats.Subscription
	msgs   chan *nats.Msg // the connection sends, nobody closes
	opened time.Time

	taken  int   // messages that came
	left   int   // messages that may still come
	bytes  int   // that they may have
	over   bool  // nothing more will come
	reason error // why, if that is a failure
}

// pullExpiry is how long a request for messages stays open. It is also how
// long Close may take and how long a request that was lost with a connection
// is missed, hence short; a request costs the server next to nothing.
const pullExpiry = time.Second

// pullSilence is after what time a request is lost: the server says when one has
// expired.
const pullSilence = pullExpiry + time.Second

// request asks the consumer for messages that have no more than that many bytes
// together, their subjects included; 0 means any.
func (b *Bus) request(messages, bytes int) (*pull, error) {
	const statuses = 8 // more than a request gets
	p := &pull{
		msgs: make(chan *nats.Msg, messages+statuses), opened: time.Now(),
		left: messages, bytes: cmp.Or(bytes, math.MaxInt),
	}
	what, err := json.Marshal(struct {
		Batch    int           `json:"batch"`
		MaxBytes int           `json:"max_bytes,omitempty"`
		Expires  time.Duration `json:"expires"`
	}{messages, bytes, pullExpiry})
	if err != nil {
		return nil, err
	}
	if p.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox(), p.msgs); err != nil {
		return nil, err
	}
	subject := "$JS.API.CONSUMER.MSG.NEXT." + b.o.Telemetry + "." + b.o.Consumer.Name
	if err := b.nc.PublishRequest(subject, p.sub.Subject, what); err != nil {
		p.end(nil)
		return nil, err
	}
	return p, nil
}

// next returns the next message, nil if the request is over, ctx ends, or none
// comes within that time.
func (p *pull) next(ctx context.Context, within time.Duration) *nats.Msg {
	for !p.over {
		m := p.wait(ctx, within)
		if m == nil {
			return nil
		}
		if p.take(m) {
			return m
		}
	}
	return nil
}

func (p *pull) wait(ctx context.Context, within time.Duration) *nats.Msg {
	select {
	case m := <-p.msgs: // no timer while they come in a row
		return m
	default:
	}
	if within <= 0 {
		return nil
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case m := <-p.msgs:
		return m
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// take notes what came, and reports whether it is a message of the stream.
func (p *pull) take(m *nats.Msg) bool {
	if m.Reply == "" { // nobody is to answer the server itself; a sensor may write headers like its
		p.told(m.Header.Get("Status"), m.Header.Get("Description"))
		return false
	}
	p.taken++
	p.left--
	p.bytes -= m.Size()
	if p.left == 0 || p.bytes <= 0 {
		p.end(nil)
	}
	return true
}

// told notes what the server says about the request.
func (p *pull) told(status, description string) {
	is := func(what string) bool { return strings.Contains(strings.ToLower(description), what) }
	switch {
	case status == "100": // it is still there
	case status == "404", status == "408": // there was nothing more in time
		p.end(nil)
	case status == "409" && (is("exceeds maxbytes") || is("batch completed")):
		p.end(nil)
	case status == "503":
		p.end(nats.ErrNoResponders)
	default:
		p.end(fmt.Errorf("the server ended a request for messages: %s %s", oneLine(status, maxReason), oneLine(description, maxError)))
	}
}

// end ends the request.
func (p *pull) end(reason error) {
	p.over, p.reason = true, reason
	_ = p.sub.Unsubscribe() // fails only when there is nothing left to end
}
