package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"ttp-worker/ttp"
	"ttp-worker/worker"
)

// Publisher tells others: what was stored, in the stream TTP, and what could
// not be processed, in TTP_DLQ. It is safe for concurrent use.
type Publisher struct{ bus *Bus }

var _ worker.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher on b.
func (b *Bus) NewPublisher() *Publisher { return &Publisher{bus: b} }

// Publish implements [worker.Publisher]. Of each announcement it makes one
// ttp.tagged and one ttp.rule.fired per technique; the announcement is done
// when the stream has all of them. The ids of those that are done come back
// beside an error, too. The error is [ttp.Permanent] if those that are not
// done never can be.
//
// Where an announcement is larger than the server takes, its tags go without
// evidence, or only their uuids go.
func (p *Publisher) Publish(ctx context.Context, announcements []ttp.Announcement) (done []string, err error) {
	flights := make([]flight, 0, len(announcements))
	for i := range announcements {
		f := p.depart(ctx, &announcements[i])
		flights = append(flights, f)
		if f.err != nil && !ttp.IsPermanent(f.err) {
			break // the next would fail the same way, and may take seconds to
		}
	}
	var transient, permanent error
	for i := range flights {
		switch _, err := flights[i].land(ctx); {
		case err == nil:
			done = append(done, announcements[i].ID)
		case ttp.IsPermanent(err):
			permanent = err
		default:
			transient = err
		}
	}
	p.bus.restoreAfter(ctx, transient)
	return done, errors.Join(transient, permanent)
}

// depart sends the messages of one announcement.
func (p *Publisher) depart(ctx context.Context, a *ttp.Announcement) flight {
	f := flight{bus: p.bus}
	msg, err := p.tagged(a)
	if err != nil {
		f.err = err
		return f
	}
	stream := p.bus.o.TTP
	if f.send(ctx, msg, a.ID, stream) != nil {
		return f
	}
	for _, technique := range a.Techniques() {
		if f.send(ctx, p.fired(a, technique), a.ID+":"+technique, stream) != nil {
			break
		}
	}
	return f
}

// tagged makes the ttp.tagged of a, with as much of it as fits.
func (p *Publisher) tagged(a *ttp.Announcement) (*nats.Msg, error) {
	room := p.bus.room()
	for _, form := range []func(*ttp.Announcement) []byte{whole, withoutEvidence, uuidsOnly} {
		msg := p.bus.envelope(envelopeID(a.ID), tagged, form(a))
		if len(msg.Data) > room {
			continue
		}
		if a.TraceParent != "" {
			msg.Header = nats.Header{headerTrace: {a.TraceParent}}
		}
		return msg, nil
	}
	return nil, ttp.Permanent(fmt.Errorf("announcement %s of %d tags: %w", a.ID, len(a.Tags), nats.ErrMaxPayload))
}

func whole(a *ttp.Announcement) []byte {
	if a.Payload != nil {
		return a.Payload
	}
	return a.AppendJSON(nil)
}

func withoutEvidence(a *ttp.Announcement) []byte {
	lean := a.Tagged
	lean.Tags = slices.Clone(a.Tags)
	for i := range lean.Tags {
		lean.Tags[i].Evidence = nil
	}
	return lean.AppendJSON(nil)
}

func uuidsOnly(a *ttp.Announcement) []byte {
	o, err := ttp.ParseObject(string(withoutEvidence(a)))
	if err != nil {
		panic(err) // it was written a moment ago
	}
	return o.Set("tags", "[]").AppendJSON(nil)
}

// fired makes the ttp.rule.fired of a for one technique.
func (p *Publisher) fired(a *ttp.Announcement, technique string) *nats.Msg {
	var uuids []string
	for i := range a.Tags {
		if a.Tags[i].Technique == technique {
			uuids = append(uuids, a.Tags[i].UUID)
		}
	}
	payload := ttp.Object{
		{Name: "technique_id", Value: ttp.Quote(technique)},
		{Name: "tag_uuids", Value: ttp.Strings(uuids)},
		{Name: "attacker_uuid", Value: orNull(a.AttackerUUID)},
		{Name: "identity_uuid", Value: orNull(a.IdentityUUID)},
		{Name: "session_id", Value: orNull(a.SessionID)},
	}
	return p.bus.envelope(envelopeID(a.ID+":"+technique), fired+token(technique), payload.AppendJSON(nil))
}

// Suppressed implements [worker.Publisher]; it does not repeat what was lost.
func (p *Publisher) Suppressed(ctx context.Context, ruleID, techniqueID, reason string, count int) error {
	return p.Notify(ctx, suppressed, ttp.Object{
		{Name: "rule_id", Value: ttp.Quote(ruleID)},
		{Name: "technique_id", Value: ttp.Quote(techniqueID)},
		{Name: "reason", Value: ttp.Quote(reason)},
		{Name: "count", Value: ttp.Number(int64(count))},
	})
}

// Notify publishes payload under topic in the stream TTP, once: topics like
// "ttp.rule.reloaded.R0001", which have no identity of their own.
func (p *Publisher) Notify(ctx context.Context, topic string, payload ttp.Object) error {
	return p.NotifyOnce(ctx, "", topic, payload)
}

// NotifyOnce publishes payload under topic in the stream TTP, which keeps one
// of what comes under the same id within its window, also from other workers.
// An empty id is one of its own.
func (p *Publisher) NotifyOnce(ctx context.Context, id, topic string, payload ttp.Object) error {
	if !validSubject(topic) {
		return ttp.Permanent(fmt.Errorf("publish: %.80q is no subject to publish on", topic))
	}
	msg := p.bus.envelope(envelopeID(cmp.Or(id, rand.Text())), topic, payload.AppendJSON(nil))
	return p.bus.send(ctx, msg, id, p.bus.o.TTP)
}

func orNull(s string) ttp.Value {
	if s == "" {
		return "null"
	}
	return ttp.Quote(s)
}

// envelopeID makes the id of an envelope from the id of its message: 32 hex
// digits, the same whenever the message is sent again.
func envelopeID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}
