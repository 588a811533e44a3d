// Package ruleset is a tagger whose rules change while it works: it follows the
// directories that the rules are in, and what operators decide about single
// rules. Every worker follows by itself, so that replicas need no word of each
// other.
package ruleset

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// Source is a place that rules come from.
type Source struct {
	rule.Source
	Dir string // the directory that is followed; "" if the rules cannot change
}

// States is where the decisions of operators are kept.
type States interface {
	// RuleStates returns all of them, what has expired included.
	RuleStates(ctx context.Context) ([]ttp.RuleState, error)

	// DropExpiredRuleState removes the one about a rule if it has expired.
	DropExpiredRuleState(ctx context.Context, ruleID string) error
}

// Notifier tells others what changed.
type Notifier interface {
	// NotifyOnce publishes payload under topic. Of what is published under one
	// id, by whomever, a subscriber sees one; without an id each is seen.
	NotifyOnce(ctx context.Context, id, topic string, payload ttp.Object) error
}

// Options are what a [Live] is made of.
type Options struct {
	Sources []Source
	Rules   rule.Options

	// Build makes the tagger that asks a set of rules. It is called for each
	// new set; an event is looked at by one tagger from begin to end.
	Build func(*rule.Set) (tagger.Tagger, error)

	States   States   // nil: every rule is enabled
	Notifier Notifier // nil: nobody is told

	// Suppressed, if set, is told of every tag that was dropped because of a
	// rule's state: [ttp.RuleDisabled], or [ttp.RuleClipped] if its confidence
	// came to lie below the floor.
	Suppressed func(ruleID, technique, reason string)

	// Explain, if set, says of an error of States what class it is and what the
	// operator can do.
	Explain func(error) (class, hint string)

	// Loaded, if set, is told of every set that comes into use: how many of its
	// rules work, and how many faults the files have.
	Loaded func(working, faults int)

	Log *zap.Logger // nil: none
}

// Live is a [tagger.Tagger] that follows its rules while Run runs. It is safe
// for concurrent use.
type Live struct {
	o    Options
	news *board
	now  func() time.Time

	current atomic.Pointer[generation]
	active  atomic.Pointer[map[string]ttp.RuleState] // by rule id: what is not simply enabled

	loading  sync.Mutex // guards library and reported
	library  library
	stale    bool            // what is in use is not what the library has
	reported map[string]bool // problems that were logged and persist

	stating  sync.Mutex          // guards known, read and troubled
	known    map[string]decision // by rule id: as last read
	read     bool                // the states, at least once
	troubled bool                // they could not be read the last time
}

// generation is a set of rules and the tagger that asks them.
type generation struct {
	tagger.Tagger
	set *rule.Set
}

var _ tagger.Tagger = (*Live)(nil)

// New reads the rules. Those that are refused are logged, the others work. The
// error is that of Build.
func New(o Options) (*Live, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Explain == nil {
		o.Explain = func(error) (string, string) { return "", "" }
	}
	l := &Live{o: o, news: newBoard(), now: time.Now, reported: make(map[string]bool), library: newLibrary(o.Sources), stale: true}
	l.active.Store(&map[string]ttp.RuleState{})
	return l, l.load(false)
}

// Run follows the rules and their states, and tells what changed, until ctx
// ends. It returns when all it started has ended.
func (l *Live) Run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { l.followFiles(ctx) })
	if l.o.States != nil {
		parts.Go(func() { l.followStates(ctx) })
	}
	if l.o.Notifier != nil {
		parts.Go(func() { l.news.publish(ctx, l.o.Notifier, l.o.Log) })
	}
	parts.Wait()
}

// Rules returns the set that is in use now.
func (l *Live) Rules() *rule.Set { return l.current.Load().set }

// Tag implements [tagger.Tagger]: it asks the rules that are in use now, then
// drops the tags of disabled rules and caps those of clipped ones.
func (l *Live) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	findings, err := l.current.Load().Tag(ctx, ev)
	return l.restrain(findings), err
}

func (l *Live) restrain(findings []ttp.Finding) []ttp.Finding {
	states := *l.active.Load()
	concerned := func(f ttp.Finding) bool { _, ok := states[f.RuleID]; return ok }
	if len(states) == 0 || !slices.ContainsFunc(findings, concerned) {
		return findings
	}
	now := l.now()
	kept := make([]ttp.Finding, 0, len(findings))
	for _, f := range findings {
		if s, ok := states[f.RuleID]; ok && s.Active(now) {
			capped, drop := s.Cap(f.Confidence)
			if drop {
				l.suppressed(f, s.State)
				continue
			}
			f.Confidence = capped
		}
		kept = append(kept, f)
	}
	return kept
}

func (l *Live) suppressed(f ttp.Finding, reason string) {
	if l.o.Suppressed != nil {
		l.o.Suppressed(f.RuleID, f.Technique, reason)
	}
}

// Reload reads every rule file again, whether or not it seems to have changed,
// and returns when the new rules are in use. Files with a fault are logged and
// are no error; the error is that of Build, and the rules stay as they were.
func (l *Live) Reload(context.Context) error {
	return l.load(true)
}

// load takes over what changed in the files, all of them if forced.
func (l *Live) load(force bool) error {
	l.loading.Lock()
	defer l.loading.Unlock()
	start := time.Now()
	before := l.current.Load()
	if l.library.refresh(l.now(), force) {
		l.stale = true
	}
	if !l.stale {
		return nil
	}
	set, problems := l.library.compile(l.o.Rules)
	built, err := l.o.Build(set)
	if err != nil {
		return fmt.Errorf("use the rules: %w", err)
	}
	l.current.Store(&generation{built, set})
	l.stale = false
	l.report(problems)
	if l.o.Loaded != nil {
		l.o.Loaded(len(inUse(set.Rules())), len(problems))
	}
	if before == nil {
		return nil
	}
	changes := difference(before.set.Rules(), set.Rules())
	l.o.Log.Info("rules reloaded", zap.Int("changed", len(changes)), zap.Int("problems", len(problems)), zap.Duration("took", time.Since(start)))
	l.tell(changes)
	return nil
}

// report logs the problems that are new and those that are gone.
func (l *Live) report(problems []rule.Problem) {
	now := make(map[string]bool)
	for _, p := range problems {
		text := p.Error()
		if !l.reported[text] && !now[text] {
			l.o.Log.Warn("rule refused, the others work", zap.String("file", p.File), zap.String("rule", p.Rule), zap.String("field", p.Field), zap.NamedError("cause", p.Err))
		}
		now[text] = true
	}
	for text := range l.reported {
		if !now[text] {
			l.o.Log.Info("fault in the rules is gone", zap.String("fault", text))
		}
	}
	l.reported = now
}
