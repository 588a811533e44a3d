package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/servers"
)

// observer is a subscriber of the stream TTP: it reads every message in order
// and notes the tags that were announced.
type observer struct {
	js jetstream.JetStream

	reading sync.Mutex // held by who reads; guards made and next
	made    time.Time  // when the stream was
	next    uint64

	mu      sync.Mutex           // guards what follows
	tags    map[string]object    // by uuid, as ttp.tagged had them
	times   map[string]int       // how often a tag was announced
	fired   map[string]bool      // uuids seen in ttp.rule.fired
	sources map[string]time.Time // source_ids announced, and when the stream took that
	faults  []string             // what could not be read
}

func newObserver(js jetstream.JetStream) *observer {
	return &observer{
		js: js, tags: make(map[string]object), times: make(map[string]int),
		fired: make(map[string]bool), sources: make(map[string]time.Time),
	}
}

// run reads until ctx ends; what is away is tried again.
func (o *observer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := o.read(ctx); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

var errNothingNew = errors.New("nothing new in the stream")

// read takes what is there, up to 500 messages. It is an error if there
// is none.
func (o *observer) read(ctx context.Context) error {
	o.reading.Lock()
	defer o.reading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := o.js.Stream(ctx, "TTP")
	if err != nil {
		return err
	}
	if made := stream.CachedInfo().Created; !made.Equal(o.made) {
		o.made, o.next = made, 1
	}
	last := stream.CachedInfo().State.LastSeq
	if last < o.next {
		return errNothingNew
	}
	n := min(last-o.next+1, 500)
	messages, errs := make([]*jetstream.RawStreamMsg, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		seq := o.next + i
		all.Go(func() { messages[i], errs[i] = stream.GetMsg(ctx, seq) })
	}
	all.Wait()
	for i := range n {
		if errs[i] != nil && !errors.Is(errs[i], jetstream.ErrMsgNotFound) {
			return errs[i]
		}
		o.next++
		if errs[i] == nil { // else it was removed
			o.note(messages[i])
		}
	}
	return nil
}

// where says how far reading has come.
func (o *observer) where() string {
	o.reading.Lock()
	defer o.reading.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := o.js.Stream(ctx, "TTP")
	if err != nil {
		return fmt.Sprintf("read up to %d, %v", o.next-1, err)
	}
	return fmt.Sprintf("read up to %d of %d announcements", o.next-1, stream.CachedInfo().State.LastSeq)
}

// drain reads to the end.
func (o *observer) drain(ctx context.Context) error {
	return servers.Eventually(time.Minute, func() error {
		for {
			if err := o.read(ctx); errors.Is(err, errNothingNew) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

func (o *observer) note(msg *jetstream.RawStreamMsg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var envelope struct {
		Payload struct {
			Attacker any      `json:"attacker_uuid"`
			Identity any      `json:"identity_uuid"`
			SourceID string   `json:"source_id"`
			UUIDs    []string `json:"tag_uuids"`
			Tags     []object `json:"tags"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(msg.Data, &envelope); err != nil {
		o.faults = append(o.faults, fmt.Sprintf("message %d on %s: %v", msg.Sequence, msg.Subject, err))
		return
	}
	p := envelope.Payload
	if strings.HasPrefix(msg.Subject, "ttp.rule.fired.") {
		for _, uuid := range p.UUIDs {
			o.fired[uuid] = true
		}
		return
	}
	if msg.Subject != "ttp.tagged" {
		return
	}
	if _, known := o.sources[p.SourceID]; !known {
		o.sources[p.SourceID] = msg.Time
	}
	for _, uuid := range p.UUIDs {
		o.times[uuid]++
	}
	for _, tag := range p.Tags {
		tag["attacker_uuid"], tag["identity_uuid"] = p.Attacker, p.Identity
		uuid, _ := tag["uuid"].(string)
		o.tags[uuid] = tag
	}
}

// announced reports when the stream took what a message of that source_id
// gained, as far as it was read.
func (o *observer) announced(sourceID string) (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok = o.sources[sourceID]
	return at, ok
}

// await is announced that waits until it was read or ctx ends.
func (o *observer) await(ctx context.Context, sourceID string) (time.Time, error) {
	for {
		if at, ok := o.announced(sourceID); ok {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// producer sends events, each until the stream says that it has it.
type producer struct {
	js jetstream.JetStream

	mu   sync.Mutex // guards sent
	sent []event
}

// send publishes e and returns when the stream has it, however long that takes.
func (p *producer) send(ctx context.Context, e event) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		msg := &nats.Msg{Subject: e.subject, Data: e.data}
		_, err := p.js.PublishMsg(attempt, msg, jetstream.WithMsgID(e.id), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			p.mu.Lock()
			p.sent = append(p.sent, e)
			p.mu.Unlock()
			return nil
		}
		if errors.Is(err, nats.ErrMaxPayload) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// run sends events of g at a steady rate until ctx ends. The event that is
// under way then is still sent, within grace.
func (p *producer) run(ctx, grace context.Context, g *generator, perSecond int) error {
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := p.send(grace, g.next()); err != nil {
				return fmt.Errorf("send an event: %w", err)
			}
		}
	}
}

func (p *producer) all() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]event(nil), p.sent...)
}
