// Package replay runs history through the taggers and stores what is new. It
// publishes nothing, so that nobody is woken for what happened last year.
//
// History becomes the messages that came, or would have come, over the bus: an
// event has the same source_id as live, and what was tagged live adds no row.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

// Source is history that is gone through once, from its beginning or from a
// place that was noted. It is not safe for concurrent use.
type Source interface {
	// Name is what the summary calls it.
	Name() string

	// Resume goes to a place that was noted. It is called before Next.
	Resume(ctx context.Context, place string) error

	// Next returns the next part. io.EOF is the end of the history; a part
	// beside it counts.
	Next(ctx context.Context) (Part, error)

	// Place returns where to go on behind the part that was returned last, ""
	// if that is no place to stop at.
	Place() string

	// Progress returns how much was read of how much, in units of the
	// source's own; total is 0 if that is not known.
	Progress() (done, total int64)

	Close()
}

// Part is a piece of history.
type Part struct {
	Message   *intake.Message // nil: nothing to be tagged
	Rows      int             // rows, lines or messages that were read for it
	Malformed int             // of these, or of what is in them, what could not be read
	Ignored   int             // of these, what is no event
}

// Store is where the tags and the progress go.
type Store interface {
	WriteJob(ctx context.Context, id, owner string, batch []ttp.Tagged, state func(ttp.Written) string) (ttp.Written, error)
	Stored(ctx context.Context, uuids []string) (map[string]bool, error)
	Job(ctx context.Context, id string) (ttp.Job, error)
	ClaimJob(ctx context.Context, found ttp.Job, owner string, fresh bool) (bool, error)
	KeepJob(ctx context.Context, id, owner string) error
	ReleaseJob(ctx context.Context, id, owner string) error
}

// Replay is one replay. Set the fields and call Run once.
type Replay struct {
	Sources  []Source // one after the other
	Resolver *intake.Resolver
	Tagger   tagger.Tagger
	Store    Store // nil with DryRun: everything is new

	Job    string // names what is replayed, so that nobody does it at the same time
	Rules  string // names the rules: another set is no reason to go on with what was begun
	Resume bool   // go on where the job stopped
	DryRun bool   // tag, look and count, write nothing

	BatchSize int         // tags in a transaction, about; 0 means 500
	Rate      float64     // events a second at most; 0 means no limit
	Busy      func() bool // nil or: the live worker lags, wait for it

	// Retry, if set, reports whether an error of the database may pass.
	Retry func(error) bool

	// Progress, if set, is told after each batch.
	Progress func(Progress)

	Log *zap.Logger // nil: none

	owner   string
	state   State
	current int // of the sources
	limit   *rate.Limiter
	seen    seen
}

// Progress is how far a replay has come.
type Progress struct {
	Source      string
	Done, Total int64     // in units of the source's own; Total is 0 if it is not known
	At          time.Time // of the last event
	State       *State    // only to be read, and only during the call
}

// State is what a replay has done, noted with each batch.
type State struct {
	Rules      string         `json:"rules"`
	Sources    []SourceState  `json:"sources"`
	Techniques map[string]int `json:"techniques"` // tags, by (sub-)technique
}

// SourceState is what was done with one source.
type SourceState struct {
	Name  string `json:"name"`
	Place string `json:"place,omitempty"`
	Counts
}

// Counts are what came of a source.
type Counts struct {
	Rows       int `json:"rows"`
	Events     int `json:"events"`
	Tags       int `json:"tags"`        // from the floor on
	Inserted   int `json:"inserted"`    // new; in a dry run those that would be
	Duplicates int `json:"duplicates"`  // there already
	BelowFloor int `json:"below_floor"` // dropped
	Unknown    int `json:"unknown"`     // tags of attackers or identities without a row
	Unanchored int `json:"unanchored"`  // tags of nobody
	Refused    int `json:"refused"`     // tags that the database does not take
	Failed     int `json:"failed"`      // events at which a tagger failed
	Malformed  int `json:"malformed"`
	Ignored    int `json:"ignored"`
}

// Total adds up what came of all sources.
func (s *State) Total() (sum Counts) {
	for _, src := range s.Sources {
		c := src.Counts
		sum.Malformed += c.Malformed
		sum.Failed += c.Failed
		sum.Refused += c.Refused
		sum.Tags += c.Tags
		sum.Events += c.Events
		sum.Inserted += c.Inserted
	}
	return sum
}

// ErrStopped says that the replay was asked to stop before it was done.
var ErrStopped = errors.New("stopped before the end")

const (
	defaultBatch = 500
	maxEvents    = 5_000                  // of a batch without many tags
	maxBytes     = 4 << 20                // of the messages of a batch
	maxAge       = 500 * time.Millisecond // of a batch before it is stored
	overfull     = 8                      // times these without a place to stop at
	writeTimeout = time.Minute            // of one attempt
)

// Run goes through all sources and returns what was done, also beside an
// error. When ctx ends it stores what it has in hand and returns [ErrStopped].
func (r *Replay) Run(ctx context.Context) (*State, error) {
	if r.Log == nil {
		r.Log = zap.NewNop()
	}
	if r.BatchSize == 0 {
		r.BatchSize = defaultBatch
	}
	if r.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(r.Rate), max(1, int(r.Rate/10)))
	}
	r.begin()
	if !r.DryRun {
		if err := r.claim(ctx); err != nil {
			return &r.state, err
		}
		defer r.release(context.WithoutCancel(ctx))
	}
	for i, source := range r.Sources {
		r.current = i
		if err := r.source(ctx, source); err != nil {
			return &r.state, err
		}
	}
	return &r.state, nil
}

// begin makes the state of a replay that has done nothing.
func (r *Replay) begin() {
	r.state = State{Rules: r.Rules, Techniques: make(map[string]int)}
	for _, s := range r.Sources {
		r.state.Sources = append(r.state.Sources, SourceState{Name: s.Name()})
	}
}

// source goes through one source: one goroutine reads and tags the next batch
// while this one stores the last.
func (r *Replay) source(ctx context.Context, source Source) error {
	if place := r.state.Sources[r.current].Place; place != "" {
		if err := source.Resume(ctx, place); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &producer{Replay: r, source: source, batches: make(chan *batch), free: make(chan *batch, 2)}
	go p.run(ctx)
	err := r.consume(ctx, p)
	cancel()
	for range p.batches { // it ends once it notices
	}
	return err
}

// keepEvery is how often others are told that this replay lives.
const keepEvery = time.Second

func (r *Replay) consume(ctx context.Context, p *producer) error {
	alive := time.NewTicker(keepEvery)
	defer alive.Stop()
	for {
		select {
		case b, ok := <-p.batches:
			if !ok {
				return outcome(p.err, ctx.Err())
			}
			if err := r.write(ctx, b); err != nil {
				return err
			}
			r.report(b)
			p.recycle(b)
		case <-alive.C:
			if err := r.keep(ctx); err != nil {
				return err
			}
		}
	}
}

// outcome says how a source ended.
func outcome(failed, stopped error) error {
	switch {
	case stopped != nil && (failed == nil || errors.Is(failed, stopped)):
		return ErrStopped
	case failed != nil:
		return failed
	}
	return nil
}

func (r *Replay) report(b *batch) {
	if r.Progress != nil {
		r.Progress(Progress{Source: r.state.Sources[r.current].Name, Done: b.done, Total: b.total, At: b.at, State: &r.state})
	}
}

// encode returns the state as it is noted.
func (s *State) encode() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // it is made of numbers and strings
	}
	return string(text)
}

// load takes over what was noted. It must be of the same sources and rules.
func (r *Replay) load(text string) error {
	var s State
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("resume: what was noted cannot be read; leave out --resume to begin anew: %w", err)
	}
	if s.Rules != r.Rules {
		return errors.New("resume: the rules are not those that the replay began with; leave out --resume to begin anew")
	}
	if len(s.Sources) != len(r.Sources) {
		return errors.New("resume: the sources are not those that the replay began with; leave out --resume to begin anew")
	}
	if s.Techniques == nil {
		s.Techniques = make(map[string]int)
	}
	r.state = s
	return nil
}
