package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"ttp-worker/intake"
	"ttp-worker/internal/failpoint"
	"ttp-worker/ttp"
)

// batch is what a lane works on at a time.
type batch struct {
	items []*item

	fresh []ttp.Announcement // to be published
	tally tally              // of the tags
}

// item is one message of a batch and what has become of it.
type item struct {
	delivery Delivery
	message  *intake.Message // nil if it could not be decoded
	findings []found         // what taggers said, floor applied
	tagged   int             // events that the taggers have seen
	lasting  verdict         // of decoding and tagging, which are not repeated
	verdict  verdict         // of the last attempt
	failure  error           // of storing it alone
}

// found is one finding and the event it is about.
type found struct {
	event   *intake.Event
	finding ttp.Finding
}

// verdict is how a message ends. The worst of what befell its events counts.
type verdict struct {
	action action
	reason string // for dead letters: a short word
	err    error
	blame  bool // the message itself is at fault: after MaxDeliveries it is a dead letter
	orphan bool // its attacker has no row: after UnknownFor it is a dead letter

	attacker intake.Key // who has no row, if it is known who
}

type action int

const (
	actAck action = iota
	actReject
	actRetry
)

func (it *item) worsen(v verdict) {
	if v.action > it.verdict.action {
		it.verdict = v
	}
}

// newBatch decodes the messages. What cannot be decoded will be a dead letter.
func (l *lane) newBatch(deliveries []Delivery) *batch {
	b := &batch{items: make([]*item, len(deliveries))}
	items := make([]item, len(deliveries))
	for i, d := range deliveries {
		it := &items[i]
		it.delivery = d
		m, err := intake.Decode(d.Subject(), ttp.AsText(d.Data()))
		switch {
		case err != nil:
			it.lasting = verdict{action: actReject, reason: "malformed", err: err}
		case m.Malformed > 0:
			it.message = m
			it.lasting = verdict{action: actReject, reason: "malformed-entries", err: errMalformedEntries}
		default:
			it.message = m
		}
		b.items[i] = it
		if d.Meta().Deliveries > 1 {
			l.Metrics.Redelivered.Inc()
			l.waiting.remove(d.Meta().Sequence)
		}
	}
	return b
}

var errMalformedEntries = errors.New("some entries of a list are neither text nor an object with text; the others were processed")

// store takes the batch through the steps that need the database. It can be
// called again after an error and then goes on where it must.
func (b *batch) store(ctx context.Context, w *Worker) error {
	start := time.Now()
	var messages []*intake.Message
	for _, it := range b.items {
		it.verdict = it.lasting
		if it.message != nil {
			messages = append(messages, it.message)
		}
	}
	if err := w.Resolver.Enrich(ctx, messages); err != nil {
		return err
	}
	enriched := w.stage(ctx, "enrich", start)
	for _, it := range b.items {
		w.tag(ctx, it)
		it.worsen(it.lasting)
	}
	tagged := w.stage(ctx, "tag", enriched)
	if err := w.Resolver.Anchor(ctx, b.withFindings()); err != nil {
		return err
	}
	anchored := w.stage(ctx, "anchor", tagged)
	arrived, of := b.arrived()
	if len(arrived) == 0 {
		return nil
	}
	failpoint.Hit(failpoint.AfterTag)
	written, err := w.Sink.Write(ctx, arrived)
	if err != nil {
		return err
	}
	w.stage(ctx, "write", anchored)
	b.fresh, b.tally = written.Fresh, tallyOf(arrived, written)
	if written.Inserted > 0 {
		w.suspects.clear()
	}
	for _, r := range written.Refused {
		w.refused(of[r.Arrived], r)
	}
	return nil
}

// tag asks the taggers about the message's events, each once.
func (w *Worker) tag(ctx context.Context, it *item) {
	if it.message == nil {
		return
	}
	events := it.message.Events
	for ; it.tagged < len(events); it.tagged++ {
		ev := events[it.tagged]
		findings, err := w.Tagger.Tag(ctx, &ev.Event)
		if err != nil {
			w.tagFailed(it, err)
		}
		it.findings = slices.Grow(it.findings, len(findings))
		for _, f := range findings {
			if f.Confidence < ttp.MinConfidence {
				w.suppressed.add(f.RuleID, f.Technique, "floor", 1)
				continue
			}
			it.findings = append(it.findings, found{ev, f})
		}
		w.Metrics.tagged(ev.Kind, findings, err)
	}
}

// tagFailed notes that a tagger failed. What the others said is kept.
func (w *Worker) tagFailed(it *item, err error) {
	v := verdict{action: actRetry, reason: "tagger-failed", err: err, blame: true}
	if ttp.IsPermanent(err) {
		v.action = actReject
	}
	if v.action > it.lasting.action {
		it.lasting = v
	}
}

// withFindings returns the events that must be anchored, each once.
func (b *batch) withFindings() (events []*intake.Event) {
	for _, it := range b.items {
		var last *intake.Event
		for _, f := range it.findings {
			if f.event != last {
				events = append(events, f.event)
				last = f.event
			}
		}
	}
	return events
}

// arrived makes the tags, grouped as they will be announced: by message and
// anchor. of tells for each group which message it belongs to.
func (b *batch) arrived() (groups []ttp.Tagged, of []*item) {
	groups, of = make([]ttp.Tagged, 0, len(b.items)), make([]*item, 0, len(b.items))
	for _, it := range b.items {
		first := len(groups)
		for i := range it.findings {
			f := &it.findings[i]
			switch {
			case f.event.Unknown:
				it.worsen(verdict{action: actRetry, reason: "unknown-attacker", orphan: true, err: errUnknownAttacker, attacker: f.event.Key()})
				continue
			case !f.event.Anchored():
				it.worsen(verdict{action: actReject, reason: "no-anchor", err: errNoAnchor})
				continue
			}
			g := groupOf(groups[first:], f.event)
			if g == nil {
				groups = append(groups, announcementOf(it, f.event))
				of = append(of, it)
				g = &groups[len(groups)-1]
				g.Tags = make([]ttp.Tag, 0, len(it.findings)-i) // as a rule all are of one attacker
			}
			g.Tags = append(g.Tags, ttp.NewTag(&f.event.Event, f.finding))
		}
	}
	return groups, of
}

var (
	errUnknownAttacker = errors.New("the attacker or identity has no row in the database yet")
	errNoAnchor        = errors.New("neither attacker_uuid nor identity_uuid nor an attacker's address in the message")
)

func groupOf(groups []ttp.Tagged, e *intake.Event) *ttp.Tagged {
	for i := range groups {
		if groups[i].AttackerUUID == e.AttackerUUID && groups[i].IdentityUUID == e.IdentityUUID {
			return &groups[i]
		}
	}
	return nil
}

// announcementOf begins what will be told about the message that e was in.
func announcementOf(it *item, e *intake.Event) ttp.Tagged {
	m, trace := it.message, it.delivery.Meta().TraceParent
	kind, id := m.ArrivedAs(e)
	head := m.Events[0]
	return ttp.Tagged{
		AttackerUUID: e.AttackerUUID, IdentityUUID: e.IdentityUUID,
		SessionID: cmp.Or(head.SessionID, e.SessionID), DeckyID: cmp.Or(head.DeckyID, e.DeckyID),
		SourceKind: kind, SourceID: id, TraceParent: trace,
	}
}

// refused notes that the database does not take a row of the message.
func (w *Worker) refused(it *item, r ttp.Refusal) {
	if !r.Orphan {
		it.worsen(verdict{action: actReject, reason: "row-refused", err: r.Err})
		return
	}
	for _, f := range it.findings {
		w.Resolver.Forget(f.event)
	}
	it.worsen(verdict{action: actRetry, reason: "unknown-attacker", orphan: true, err: r.Err})
}

// announce publishes what is new and forgets it in the outbox. What cannot be
// published now is left to the sweeper: it is stored, and so are its tags.
func (l *lane) announce(ctx context.Context, list []ttp.Announcement) {
	if len(list) == 0 {
		return
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := l.publish(ctx, list); err != nil {
		l.repeats.log(l.log, zap.WarnLevel, "", "announcements left in the outbox, the sweeper will publish them",
			zap.Error(err), zap.Int("announcements", len(list)))
	}
	l.stage(ctx, "publish", start)
}
