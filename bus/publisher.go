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
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	left := announcements
	if p.bus.o.Together {
		done, left = p.publishTogether(ctx, announcements)
	}
	restored := false
	for attempt := 1; len(left) > 0; attempt++ {
		failed := p.attempt(ctx, left)
		done, left, err = sortOut(done, left, failed)
		if attempt < electionTries && errors.Is(err, jetstream.ErrNoStreamResponse) && pause(ctx, electionWait) {
			continue
		}
		if restored || !p.bus.restoreAfter(ctx, err) {
			break
		}
		restored = true
	}
	return done, err
}

// A stream that elects a leader answers nothing for a moment.
const (
	electionTries = 3
	electionWait  = 250 * time.Millisecond
)

// pause waits, and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sortOut adds the ids of what has not failed to done. The error is
// [ttp.Permanent] if all that is left never can be done.
func sortOut(done []string, list []ttp.Announcement, failed []error) (_ []string, left []ttp.Announcement, err error) {
	var transient, permanent error
	for i := range list {
		switch {
		case failed[i] == nil:
			done = append(done, list[i].ID)
			continue
		case ttp.IsPermanent(failed[i]):
			permanent = failed[i]
		default:
			transient = failed[i]
		}
		left = append(left, list[i])
	}
	return done, left, errors.Join(transient, permanent)
}

// attempt publishes announcements once and says of each why it failed, nil if
// it did not.
func (p *Publisher) attempt(ctx context.Context, list []ttp.Announcement) (failed []error) {
	failed = make([]error, len(list))
	fail := func(i int, err error) { failed[i] = cmp.Or(failed[i], err) }
	f, err := p.bus.fly(p.bus.o.TTP, fail)
	if err != nil {
		for i := range failed {
			failed[i] = err
		}
		return failed
	}
	var data []byte
	for i := range list {
		data, err = p.messages(&list[i], data, func(m message) error { return f.send(ctx, i, m) })
		fail(i, err)
	}
	f.land(ctx)
	return failed
}

// messages makes the messages of one announcement in data, which it returns for
// the next, and hands them to send.
func (p *Publisher) messages(a *ttp.Announcement, data []byte, send func(message) error) ([]byte, error) {
	if len(a.Tags) == 0 {
		return data, nil // they were deleted
	}
	data, err := p.tagged(a, data)
	if err != nil {
		return data, err
	}
	prefix := p.bus.o.Prefix
	if err := send(message{subject: prefix + tagged, data: data, id: a.ID, trace: a.TraceParent}); err != nil {
		return data, err
	}
	for _, technique := range a.Techniques() {
		id := a.ID + ":" + technique
		data = appendFired(data[:0], id, a, technique)
		if err := send(message{subject: prefix + fired + token(technique), data: data, id: id}); err != nil {
			return data, err
		}
	}
	return data, nil
}

// tagged makes the ttp.tagged of a in data, with as much of it as fits.
func (p *Publisher) tagged(a *ttp.Announcement, data []byte) ([]byte, error) {
	room := p.bus.room()
	id, now := envelopeID(a.ID), time.Now()
	for _, form := range []func(*ttp.Tagged, []byte) []byte{(*ttp.Tagged).AppendJSON, appendLean, (*ttp.Tagged).AppendHead} {
		data = append(form(&a.Tagged, ttp.OpenEnvelope(data[:0], id, tagged, now)), '}')
		if len(data) <= room {
			return data, nil
		}
	}
	return data, ttp.Permanent(fmt.Errorf("announcement %s of %d tags: %w", a.ID, len(a.Tags), nats.ErrMaxPayload))
}

// appendLean is [ttp.Tagged.AppendJSON] without evidence.
func appendLean(t *ttp.Tagged, dst []byte) []byte {
	lean := *t
	lean.Tags = slices.Clone(t.Tags)
	for i := range lean.Tags {
		lean.Tags[i].Evidence = nil
	}
	return lean.AppendJSON(dst)
}

// appendFired appends the ttp.rule.fired of a for one technique.
func appendFired(dst []byte, id string, a *ttp.Announcement, technique string) []byte {
	dst = ttp.OpenEnvelope(dst, envelopeID(id), fired+token(technique), time.Now())
	dst = ttp.AppendQuoted(append(dst, `{"technique_id":`...), technique)
	dst = append(dst, `,"tag_uuids":[`...)
	first := true
	for i := range a.Tags {
		if a.Tags[i].Technique != technique {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = ttp.AppendQuoted(dst, a.Tags[i].UUID)
	}
	dst = appendOrNull(append(dst, `],"attacker_uuid":`...), a.AttackerUUID)
	dst = appendOrNull(append(dst, `,"identity_uuid":`...), a.IdentityUUID)
	dst = appendOrNull(append(dst, `,"session_id":`...), a.SessionID)
	return append(dst, '}', '}')
}

func appendOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return ttp.AppendQuoted(dst, s)
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

// envelopeID makes the id of an envelope from the id of its message: 32 hex
// digits, the same whenever the message is sent again.
func envelopeID(id string) string {
	text := append(make([]byte, 0, 128), id...) // stays off the heap
	sum := sha256.Sum256(text)
	return string(hex.AppendEncode(text[:0], sum[:16]))
}
