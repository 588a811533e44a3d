package replay

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// batch is what is stored in one transaction.
type batch struct {
	counts   Counts            // what is known before it is stored
	messages []*intake.Message // read and not tagged yet
	untagged int               // events in them
	waiting  int               // bytes of them
	found    []found
	bytes    int // of the messages that the findings are in
	begun    time.Time

	place       string // where to go on behind it; "" if that is no place to stop
	last        bool   // the history ends with it
	at          time.Time
	done, total int64
}

// found is one finding and the event it is about.
type found struct {
	event   *intake.Event
	finding ttp.Finding
}

// producer reads and tags. It sends its batches to the goroutine that stores
// them and closes the channel when it ends; err is to be read after that.
type producer struct {
	*Replay
	source  Source
	batches chan *batch
	free    chan *batch // stored ones, whose memory is used again
	err     error
}

// fresh returns an empty batch.
func (p *producer) fresh() *batch {
	select {
	case b := <-p.free:
		*b = batch{found: b.found[:0], messages: b.messages[:0], begun: time.Now()}
		return b
	default:
		return &batch{found: make([]found, 0, p.BatchSize+p.BatchSize/8), begun: time.Now()}
	}
}

// recycle takes a batch that is stored.
func (p *producer) recycle(b *batch) {
	if cap(b.found) > overfull*p.BatchSize {
		return
	}
	clear(b.found) // keeps no messages alive
	select {
	case p.free <- b:
	default:
	}
}

func (p *producer) run(ctx context.Context) {
	defer close(p.batches)
	for {
		b, err := p.next(ctx)
		if b != nil {
			p.batches <- b
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.err = err
			}
			return
		}
	}
}

// next reads and tags one batch. It may be incomplete beside an error.
func (p *producer) next(ctx context.Context) (*batch, error) {
	if err := p.giveWay(ctx); err != nil {
		return nil, err
	}
	b := p.fresh()
	var ended error
	for ended == nil && !p.complete(b) {
		if ended = ctx.Err(); ended != nil {
			break
		}
		part, err := p.source.Next(ctx)
		b.add(part)
		if ended = err; err == nil {
			ended = p.pace(ctx, part)
		}
		if b.untagged >= min(tagEvery, p.BatchSize) || b.waiting >= maxBytes {
			if err := p.tag(ctx, b); err != nil {
				return nil, err
			}
		}
	}
	if err := p.tag(context.WithoutCancel(ctx), b); err != nil {
		return nil, err
	}
	b.last = errors.Is(ended, io.EOF)
	b.place = p.source.Place()
	b.done, b.total = p.source.Progress()
	if b.empty() {
		return nil, ended
	}
	return b, ended
}

// tagEvery is how many events are looked up together.
const tagEvery = 200

// complete reports whether the batch is to be stored: when it is full and what
// it holds ends where a replay can go on, so that nothing is counted twice.
func (p *producer) complete(b *batch) bool {
	return p.full(b, 1) && (p.source.Place() != "" || p.full(b, overfull))
}

func (p *producer) full(b *batch, times int) bool {
	return len(b.found) >= times*p.BatchSize || b.counts.Events >= times*maxEvents || b.bytes >= times*maxBytes ||
		time.Since(b.begun) > time.Duration(times)*maxAge && b.counts != Counts{}
}

func (b *batch) empty() bool { return b.counts == Counts{} && b.place == "" && !b.last }

// add takes a part.
func (b *batch) add(part Part) {
	b.counts.Rows += part.Rows
	b.counts.Malformed += part.Malformed
	b.counts.Ignored += part.Ignored
	if part.Message == nil {
		return
	}
	b.counts.Malformed += part.Message.Malformed
	b.messages = append(b.messages, part.Message)
	b.untagged += len(part.Message.Events)
	b.waiting += sizeOf(part.Message)
}

// sizeOf is how many bytes a message takes about, all of which it keeps as
// long as one of its events is kept.
func sizeOf(m *intake.Message) (n int) {
	const event = 512
	for i, e := range m.Events {
		n += event
		if i > 0 && m.Events[0].Kind == ttp.Session {
			continue // it is in the first one's payload
		}
		for _, member := range e.Payload {
			n += len(member.Value)
		}
	}
	return n
}

// giveWay waits while the live worker lags.
func (p *producer) giveWay(ctx context.Context) error {
	for p.Busy != nil && p.Busy() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}

// pace keeps to the rate.
func (p *producer) pace(ctx context.Context, part Part) error {
	if p.limit == nil || part.Message == nil {
		return nil
	}
	for n := len(part.Message.Events); n > 0; {
		step := min(n, p.limit.Burst())
		if err := p.limit.WaitN(ctx, step); err != nil {
			return err
		}
		n -= step
	}
	return nil
}

// tag completes the messages and asks the taggers about their events.
func (p *producer) tag(ctx context.Context, b *batch) error {
	if len(b.messages) == 0 {
		return nil
	}
	err := p.insist(ctx, func(ctx context.Context) error { return p.Resolver.Enrich(ctx, b.messages) })
	if err != nil {
		return err
	}
	for _, m := range b.messages {
		before := len(b.found)
		for _, e := range m.Events {
			p.tagOne(ctx, b, e)
		}
		if len(b.found) > before {
			b.bytes += sizeOf(m)
		}
	}
	clear(b.messages)
	b.messages, b.untagged, b.waiting = b.messages[:0], 0, 0
	return nil
}

func (p *producer) tagOne(ctx context.Context, b *batch, e *intake.Event) {
	findings, err := p.Tagger.Tag(ctx, &e.Event)
	if err != nil {
		if b.counts.Failed++; b.counts.Failed == 1 {
			p.Log.Warn("a tagger failed at an event; what the others said is kept", zap.Error(err), zap.String("source_kind", string(e.Kind)))
		}
	}
	b.counts.Events++
	if !e.At.IsZero() {
		b.at = e.At
	}
	for _, f := range findings {
		if f.Confidence < ttp.MinConfidence {
			b.counts.BelowFloor++
			continue
		}
		b.counts.Tags++
		b.found = append(b.found, found{e, f})
	}
}

// write stores a batch together with how far the replay has come.
func (r *Replay) write(ctx context.Context, b *batch) error {
	ctx = context.WithoutCancel(ctx)
	err := r.insist(ctx, func(ctx context.Context) error { return r.Resolver.Anchor(ctx, b.events()) })
	if err != nil {
		return err
	}
	counts := b.counts
	if r.DryRun {
		return r.look(ctx, b, counts)
	}
	tags := b.tags(&counts)
	return r.insist(ctx, func(ctx context.Context) error {
		var next State
		group := []ttp.Tagged{{Tags: tags}}
		_, err := r.Store.WriteJob(ctx, r.Job, r.owner, group, func(w ttp.Written) string {
			next = r.after(b, counts, w)
			return next.encode()
		})
		if err == nil {
			r.state = next
		}
		return err
	})
}

// after returns the state as it is once b is stored.
func (r *Replay) after(b *batch, counts Counts, w ttp.Written) State {
	counts.Inserted, counts.Duplicates = w.Inserted, w.Duplicates
	for _, refusal := range w.Refused {
		if refusal.Orphan {
			counts.Unknown++
		} else {
			counts.Refused++
		}
	}
	next := State{Rules: r.state.Rules, Techniques: maps.Clone(r.state.Techniques)}
	for i := range b.found {
		f := &b.found[i].finding
		next.Techniques[cmp.Or(f.SubTechnique, f.Technique)]++
	}
	next.Sources = slices.Clone(r.state.Sources)
	s := &next.Sources[r.current]
	s.Counts.add(counts)
	s.Place = cmp.Or(b.place, s.Place)
	return next
}

func (c *Counts) add(d Counts) {
	c.Rows += d.Rows
	c.Events += d.Events
	c.Tags += d.Tags
	c.Inserted += d.Inserted
	c.Duplicates += d.Duplicates
	c.BelowFloor += d.BelowFloor
	c.Unknown += d.Unknown
	c.Unanchored += d.Unanchored
	c.Refused += d.Refused
	c.Failed += d.Failed
	c.Malformed += d.Malformed
	c.Ignored += d.Ignored
}

// events returns the events with findings, each once.
func (b *batch) events() (events []*intake.Event) {
	for i := range b.found {
		if i == 0 || b.found[i].event != b.found[i-1].event {
			events = append(events, b.found[i].event)
		}
	}
	return events
}

// tags makes the tags of the events that are anchored and counts the others.
func (b *batch) tags(counts *Counts) []ttp.Tag {
	tags := make([]ttp.Tag, 0, len(b.found))
	for i := range b.found {
		if f := &b.found[i]; f.anchored(counts) {
			tags = append(tags, ttp.NewTag(&f.event.Event, f.finding))
		}
	}
	return tags
}

// anchored reports whether a tag can be made of the finding, else it counts why.
func (f *found) anchored(counts *Counts) bool {
	switch {
	case f.event.Unknown:
		counts.Unknown++
	case !f.event.Anchored():
		counts.Unanchored++
	default:
		return true
	}
	return false
}

// insist repeats what the database made fail for a reason that may pass.
func (r *Replay) insist(ctx context.Context, step func(context.Context) error) error {
	const longest = 10 * time.Second
	giveUp := time.Now().Add(insistFor)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, longest) {
		attempt, cancel := context.WithTimeout(ctx, writeTimeout)
		err := step(attempt)
		cancel()
		if err == nil || r.Retry == nil || !r.Retry(err) || time.Now().After(giveUp) || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("the database failed, will be tried again", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// insistFor is how long a database may be away, which is about how long a
// restart of one takes.
const insistFor = 5 * time.Minute
