package ruleset

import (
	"context"
	"time"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

// askEvery is how often the states are read. Every worker is to have a change
// within two seconds, also if the database or the machine is slow once.
const askEvery = 500 * time.Millisecond

// followStates takes over what operators decide until ctx ends.
func (l *Live) followStates(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			asking, cancel := context.WithTimeout(ctx, 20*askEvery)
			err := l.LoadStates(asking)
			cancel()
			l.complain(ctx, err)
		}
	}
}

// complain logs the first failure to read the states, and the end of it.
func (l *Live) complain(ctx context.Context, err error) {
	l.stating.Lock()
	defer l.stating.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil && !l.troubled:
		l.troubled = true
		class, hint := l.o.Explain(err)
		l.o.Log.Warn("states of rules not read, those before stay in force", zap.Error(err), zap.String("class", class), zap.String("hint", hint))
	case err == nil && l.troubled:
		l.troubled = false
		l.o.Log.Info("states of rules read again")
	}
}

// LoadStates reads the states and puts them in force. A worker calls it before
// its first event, so that no rule fires that is disabled; Run repeats it.
// After an error the states before stay in force, and expire when they should.
func (l *Live) LoadStates(ctx context.Context) error {
	l.stating.Lock()
	defer l.stating.Unlock()
	list, err := l.o.States.RuleStates(ctx)
	if err != nil {
		list = l.lastStates()
	}
	expired := l.take(list)
	l.read = l.read || err == nil
	if err != nil {
		return err
	}
	for _, s := range expired {
		if err := l.o.States.DropExpiredRuleState(ctx, s.RuleID); err != nil {
			return err
		}
	}
	return nil
}

func (l *Live) lastStates() (list []ttp.RuleState) {
	for _, d := range l.known {
		list = append(list, d.RuleState)
	}
	return list
}

// decision is a state as it was last read.
type decision struct {
	ttp.RuleState
	expired bool // and told
}

// take puts states in force, tells what changed, and returns what has expired.
func (l *Live) take(list []ttp.RuleState) (expired []ttp.RuleState) {
	now := l.now()
	next, active := make(map[string]decision), make(map[string]ttp.RuleState)
	for _, s := range list {
		next[s.RuleID] = decision{s, s.Expired(now)}
		switch {
		case s.Active(now):
			active[s.RuleID] = s
		case s.Expired(now):
			expired = append(expired, s)
		}
	}
	l.active.Store(&active)
	l.tellStates(next)
	l.tellMissing(next, now)
	l.known = next
	return expired
}

// tellStates tells what was set and what has expired. What was set before the
// worker began is no change.
func (l *Live) tellStates(next map[string]decision) {
	for id, d := range next {
		before, ok := l.known[id]
		same := ok && sameState(before.RuleState, d.RuleState)
		switch {
		case d.expired && !(same && before.expired):
			l.tellReverted(d.RuleState)
		case !d.expired && !same && l.read:
			l.tellState(d.RuleState)
		}
	}
}

// tellMissing tells what somebody removed: by hand, or because it had expired.
func (l *Live) tellMissing(next map[string]decision, now time.Time) {
	for id, d := range l.known {
		_, there := next[id]
		switch {
		case there || d.expired:
		case d.Expired(now):
			l.tellReverted(d.RuleState)
		case d.Active(now):
			l.tellRemoved(d.RuleState)
		}
	}
}

func sameState(a, b ttp.RuleState) bool {
	sameCap := a.MaxConfidence == b.MaxConfidence ||
		a.MaxConfidence != nil && b.MaxConfidence != nil && *a.MaxConfidence == *b.MaxConfidence
	return sameCap && a.State == b.State && a.Until.Equal(b.Until) && a.SetAt.Equal(b.SetAt) && a.Reason == b.Reason && a.SetBy == b.SetBy
}
