// Package bus is the worker's side of NATS JetStream: the [Source] that
// messages come from, the [Publisher] that tells what was stored, the streams
// and the consumer that both need, and the dead letters.
//
// Subjects are given and returned without the configured prefix; only the
// server sees it.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// answerWithin is how long the server may take to answer one request.
const answerWithin = 5 * time.Second

// Options says where the bus is and what is on it.
type Options struct {
	Connection

	Prefix string // before every subject, with its dot: "decnet."; empty means none

	// The names of the streams; empty means TELEMETRY, TTP and TTP_DLQ.
	Telemetry string
	TTP       string
	DLQ       string

	// Together says that the announcements of a batch of events go to their
	// stream together. It suits a server that syncs each message to the disk,
	// which is then done once. Provision makes the stream so.
	Together bool

	Consumer Consumer
}

// Bus is a connection to the message bus. It is safe for concurrent use; a
// [Source] made from it is not.
type Bus struct {
	o   Options
	log *zap.Logger
	nc  *nats.Conn
	js  jetstream.JetStream

	wires wires

	away     *outage                 // the server
	refused  *outage                 // what the server does not answer
	drought  *outage                 // of messages, whichever source notices
	vanished *outage                 // of streams that are ours to make
	storage  atomic.Pointer[Storage] // nil unless they are
}

// Connect connects to the server. One that can't be reached is not an error:
// the connection is tried again until Close, and meanwhile what needs it fails
// with a transient error. An error means that the options are wrong.
func Connect(o Options, log *zap.Logger) (*Bus, error) {
	if log == nil {
		log = zap.NewNop()
	}
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	away := newOutage(log, "NATS not reachable", "NATS reachable")
	refused := newOutage(log, "NATS does not allow", "")
	nc, err := o.Connection.dial(log, away, refused)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", withoutURL(err))
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerWithin))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to JetStream: %w", err)
	}
	return &Bus{
		o: o, log: log, nc: nc, js: js, away: away, refused: refused,
		drought:  newOutage(log, "no messages to be had", "messages to be had again"),
		vanished: newOutage(log, "streams that vanished cannot be made anew", "streams that vanished are there again"),
	}, nil
}

func (o Options) withDefaults() Options {
	o.Telemetry = cmp.Or(o.Telemetry, "TELEMETRY")
	o.TTP = cmp.Or(o.TTP, "TTP")
	o.DLQ = cmp.Or(o.DLQ, "TTP_DLQ")
	o.Consumer = o.Consumer.withDefaults()
	return o
}

// Validate checks what goes into subjects, so that no request goes astray, and
// the files that say who we are. It connects to nothing.
func (o Options) Validate() error {
	o = o.withDefaults()
	_, badFile := o.Connection.identity(new(atomic.Pointer[nats.Conn]))
	_, _, badURL := o.Connection.login()
	errs := []error{badFile, withoutURL(badURL)}
	names := [...]struct{ what, name string }{
		{"stream", o.Telemetry}, {"stream", o.TTP}, {"stream", o.DLQ}, {"consumer", o.Consumer.Name},
	}
	for _, n := range names {
		if strings.ContainsAny(n.name, " .*>/\\\t\r\n") {
			errs = append(errs, fmt.Errorf("%s name %q: no dots, wildcards, slashes or blanks", n.what, n.name))
		}
	}
	if o.Prefix != "" && (!strings.HasSuffix(o.Prefix, ".") || !validSubject(strings.TrimSuffix(o.Prefix, "."))) {
		errs = append(errs, fmt.Errorf("subject prefix %q: want words, each followed by a dot", o.Prefix))
	}
	return errors.Join(errs...)
}

// withoutURL returns why a URL is wrong without the URL, which may hold a
// password.
func withoutURL(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return fmt.Errorf("read the server's URL: %w", bad.Err)
	}
	return err
}

// Connected reports whether the server can be reached now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// patience is how long messages may be refused before it is trouble: a server
// that takes over from another one needs a moment.
const patience = 3 * time.Second

// Trouble says what keeps messages away and what the operator can do about it;
// "" means nothing does.
func (b *Bus) Trouble() string {
	if err := b.reachable(); err != nil {
		return explained(err)
	}
	if err := b.refused.lately(patience); err != nil {
		return "not allowed: " + explained(err)
	}
	if lasting, err := b.drought.cause(); err != nil && lasting >= patience {
		return "no messages to be had: " + explained(err)
	}
	return ""
}

// reachable is nil while there is a connection.
func (b *Bus) reachable() error {
	if b.nc.IsConnected() {
		return nil
	}
	return b.notConnected()
}

func (b *Bus) notConnected() error { return fmt.Errorf("not connected: %w", b.whyAway()) }

// whyAway is why there is no connection.
func (b *Bus) whyAway() error {
	_, last := b.away.cause()
	return cmp.Or(last, b.nc.LastError(), nats.ErrNoServers)
}

// explained is an error in one line, with what can be done.
func explained(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if hint := Explain(err); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// Reconnect ends the connection and makes a new one, with the credentials that
// are in their files by then. Messages in hand are not lost: those whose
// acknowledgement did not arrive come again and add nothing.
func (b *Bus) Reconnect() error {
	if err := b.nc.ForceReconnect(); err != nil {
		return fmt.Errorf("reconnect to NATS: %w", err)
	}
	return nil
}

// Close sends what is buffered and ends the connection. Sources must have been
// closed before.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		if err := b.nc.FlushTimeout(answerWithin); err != nil {
			b.log.Warn("last messages not flushed", zap.Error(err))
		}
	}
	b.nc.Close()
}

// Watch calls seen for each message published on subject from now on, one at a
// time, until stop is called. It takes no part in JetStream: what is published
// while the connection is away is missed. It returns as soon as the server knows;
// one that is away is waited for until ctx ends, 5 s at most, and hears of it
// when it is back.
func (b *Bus) Watch(ctx context.Context, subject string, seen func(subject string, data []byte)) (stop func(), err error) {
	sub, err := b.nc.Subscribe(b.o.Prefix+subject, func(m *nats.Msg) { seen(b.bare(m.Subject), m.Data) })
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_ = b.nc.FlushWithContext(ctx)               // the client subscribes again when it reconnects
	return func() { _ = sub.Unsubscribe() }, nil // fails only when there is nothing left to stop
}

// bare returns subject without the prefix.
func (b *Bus) bare(subject string) string { return strings.TrimPrefix(subject, b.o.Prefix) }

// prefixed returns subjects as the server knows them.
func (b *Bus) prefixed(subjects ...string) []string {
	full := make([]string, len(subjects))
	for i, s := range subjects {
		full[i] = b.o.Prefix + s
	}
	return full
}
