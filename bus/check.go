package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Report takes one thing that was looked at and what was found; err is nil if
// it is as it should be.
type Report func(what, found string, err error)

// checkWithin is how long one look at the server may take.
const checkWithin = 3 * time.Second

// Check looks at everything that the worker uses of the bus and reports each
// thing. It changes and publishes nothing; what it would change at the start
// of a worker it says. It returns early if the server can't be reached.
func (b *Bus) Check(ctx context.Context, report Report) {
	if err := b.Reach(ctx); err != nil {
		report("nats", "", err)
		return
	}
	report("nats", fmt.Sprintf("%s, version %s", b.nc.ConnectedUrlRedacted(), b.nc.ConnectedServerVersion()), nil)
	for _, cfg := range b.streams(Storage{}) {
		b.checkStream(ctx, cfg, report)
	}
	b.checkConsumer(ctx, report)
	b.checkRights(ctx, report)
}

// Reach waits a few seconds for the connection, and says why there is none.
func (b *Bus) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !b.nc.IsConnected() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b.reachable()
		}
	}
	return nil
}

func (b *Bus) checkStream(ctx context.Context, want jetstream.StreamConfig, report Report) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	what := "stream " + want.Name
	asked := time.Now()
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &MissingStreamError{Stream: want.Name}
	}
	if err != nil {
		report(what, "", b.denied(err))
		return
	}
	info := stream.CachedInfo()
	if err := streamDrift(info.Config, want); err != nil {
		report(what, "", err)
		return
	}
	if missing := uncovered(info.Config.Subjects, want.Subjects); len(missing) > 0 {
		report(what, "", &DriftError{
			Thing: what, Field: "subjects", Have: strings.Join(info.Config.Subjects, " "), Want: strings.Join(missing, " "),
			Hint: "add them, or run with --provision",
		})
		return
	}
	report(what, fmt.Sprintf("%d messages, %d replicas", info.State.Msgs, max(info.Config.Replicas, 1)), nil)
	if want.Name == b.o.Telemetry && !info.TimeStamp.IsZero() {
		checkClock(asked, info.TimeStamp, report)
	}
}

// maxSkew is how far the server's clock may be from ours: the age of a message
// is measured from the one to the other.
const maxSkew = 5 * time.Second

// checkClock reports how far the server's clock is off, which said now in
// answer to a question asked at our time asked.
func checkClock(asked, now time.Time, report Report) {
	off := now.Sub(asked.Add(time.Since(asked) / 2))
	var err error
	if off > maxSkew || off < -maxSkew {
		err = errors.New("the clocks are apart: let both hosts take the time from NTP")
	}
	report("clock of nats", fmt.Sprintf("%s off ours", off.Round(time.Millisecond)), err)
}

func (b *Bus) checkConsumer(ctx context.Context, report Report) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	what := "consumer " + b.o.Consumer.Name
	cons, err := b.js.Consumer(ctx, b.o.Telemetry, b.o.Consumer.Name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		report(what, "not there yet, a worker makes it", nil)
		return
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		err = consumerDrift(b.o.Consumer.Name, "kind", "push", "pull")
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return // was said
	}
	if err != nil {
		report(what, "", b.denied(err))
		return
	}
	want := b.consumerConfig()
	info := cons.CachedInfo()
	if err := consumerUsable(info.Config, want); err != nil {
		report(what, "", err)
		return
	}
	found := fmt.Sprintf("%d messages waiting, %d in hand", info.NumPending, info.NumAckPending)
	if have := info.Config; merge(&have, want) {
		found += "; a worker will change it to its options"
	}
	report(what, found, nil)
}

// denied adds to an error what the server said about rights in the meantime:
// a request that is not allowed is not answered.
func (b *Bus) denied(err error) error {
	if last := b.refused.lately(2 * answerWithin); err != nil && errors.Is(last, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: %w", last, err)
	}
	return err
}

// userInfoSubject is where a server tells a client who it is.
const userInfoSubject = "$SYS.REQ.USER.INFO"

// rights are what an account may do; an empty Allow means all but Deny.
type rights struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

func (r *rights) allow(subject string) bool {
	return r == nil || (len(r.Allow) == 0 || coveredBy(r.Allow, subject)) && !coveredBy(r.Deny, subject)
}

// checkRights asks the server what we may do and holds it against what a
// worker does.
func (b *Bus) checkRights(ctx context.Context, report Report) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	msg, err := b.nc.RequestWithContext(ctx, userInfoSubject, nil)
	if err != nil {
		report("rights on nats", "not known: the account may not ask "+userInfoSubject, nil)
		return
	}
	var answer struct {
		Data struct {
			User        string
			Permissions struct{ Publish, Subscribe *rights }
		}
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		report("rights on nats", "", fmt.Errorf("read the answer of %s: %w", userInfoSubject, err))
		return
	}
	p := answer.Data.Permissions
	var missing []string
	for _, subject := range b.published() {
		if !p.Publish.allow(subject) {
			missing = append(missing, "publish "+subject)
		}
	}
	for _, subject := range append(b.prefixed(tagged), inboxPrefix+".>") {
		if !p.Subscribe.allow(subject) {
			missing = append(missing, "subscribe "+subject)
		}
	}
	if len(missing) > 0 {
		report("rights on nats", "", fmt.Errorf("%w: the account lacks %s", nats.ErrPermissionViolation, strings.Join(missing, ", ")))
		return
	}
	report("rights on nats", "sufficient", nil)
}

// published are the subjects that a worker publishes on; those of setting up
// streams and the consumer are not among them.
func (b *Bus) published() []string {
	stream, consumer := b.o.Telemetry, b.o.Consumer.Name
	return slices.Concat([]string{
		"$JS.API.CONSUMER.INFO." + stream + "." + consumer,
		"$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer,
		"$JS.ACK." + stream + "." + consumer + ".>",
	}, b.prefixed(tagged, fired+"*", suppressed, "ttp.rule.reloaded.*", "ttp.rule.state.*", deadLetter+">"))
}

// Explain says what the operator can do about an error of the bus.
func Explain(err error) (hint string) {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, new(*DriftError)), errors.As(err, new(*MissingStreamError)):
		return "" // they say so themselves
	case errors.Is(err, nats.ErrPermissionViolation):
		return "give the account of --nats this right on the server (docs/security.md)"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "the server's certificate is not accepted: renew it, or name the authority that signs it with --nats-ca"
	case isAlert(err), errors.Is(err, nats.ErrTLS):
		return "TLS fails: renew or correct --nats-cert and --nats-key, or look at the TLS settings of the server"
	case isLogin(err):
		return "the server refuses the credentials: check --nats-creds, --nats-nkey or the user in --nats"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return "enable JetStream on the server and for the account"
	case errors.As(err, &api):
		return "look at the server's log"
	}
	return "check that the NATS server runs with JetStream and that --nats is right"
}

// isAlert reports whether err is what the other side of TLS objects to. The
// standard library has no exported type for it.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
