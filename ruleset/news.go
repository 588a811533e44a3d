package ruleset

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// change is a rule that was added, changed or removed.
type change struct {
	rule.Info
	removed bool
}

// difference returns the rules in use whose definition is not what it was,
// sorted by id.
func difference(before, after []rule.Info) []change {
	was, is := inUse(before), inUse(after)
	var list []change
	for id, info := range is {
		if old, ok := was[id]; !ok || old.Digest != info.Digest {
			list = append(list, change{Info: info})
		}
	}
	for id, info := range was {
		if _, ok := is[id]; !ok {
			list = append(list, change{Info: info, removed: true})
		}
	}
	slices.SortFunc(list, func(a, b change) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func inUse(infos []rule.Info) map[string]rule.Info {
	m := make(map[string]rule.Info)
	for _, info := range infos {
		if info.Status == rule.Loaded || info.Status == rule.OfLifter {
			m[info.ID] = info
		}
	}
	return m
}

// tell posts a word about each rule. Every worker reads its own files, so each
// speaks for itself and the words need no id.
func (l *Live) tell(changes []change) {
	for _, c := range changes {
		payload := ttp.Object{
			{Name: "rule_id", Value: ttp.Quote(c.ID)},
			{Name: "rule_version", Value: ttp.Number(int64(c.Version))},
		}
		if c.removed {
			payload = append(payload, ttp.Member{Name: "deleted", Value: "true"})
		}
		l.post(news{topic: "ttp.rule.reloaded." + c.ID, payload: payload})
	}
}

// tellState posts a state that was set. Workers that share a database say the
// same under the same id.
func (l *Live) tellState(s ttp.RuleState) {
	l.o.Log.Info("the state of a rule was set", zap.String("rule_id", s.RuleID), zap.String("state", s.State), zap.Time("until", s.Until), zap.String("set_by", s.SetBy))
	payload := statePayload(s.RuleID, s.State)
	if s.MaxConfidence != nil {
		payload = append(payload, ttp.Member{Name: "confidence_max", Value: ttp.Value(strconv.FormatFloat(*s.MaxConfidence, 'g', -1, 64))})
	}
	if !s.Until.IsZero() {
		payload = append(payload, ttp.Member{Name: "expires_at", Value: ttp.Quote(s.Until.Format(time.RFC3339))})
	}
	for _, m := range []struct{ name, text string }{{"reason", s.Reason}, {"set_by", s.SetBy}, {"set_at", s.SetAt.Format(time.RFC3339)}} {
		if m.text != "" {
			payload = append(payload, ttp.Member{Name: m.name, Value: ttp.Quote(m.text)})
		}
	}
	l.postState(s, "set", payload)
}

// tellReverted posts that a state has expired.
func (l *Live) tellReverted(s ttp.RuleState) {
	l.o.Log.Info("the state of a rule expired, it is enabled again", zap.String("rule_id", s.RuleID), zap.String("state", s.State))
	l.postState(s, "expired", append(statePayload(s.RuleID, ttp.RuleEnabled), ttp.Member{Name: "auto_revert", Value: "true"}))
}

// tellRemoved posts that somebody removed a state.
func (l *Live) tellRemoved(s ttp.RuleState) {
	l.o.Log.Info("the state of a rule was removed, it is enabled again", zap.String("rule_id", s.RuleID), zap.String("state", s.State))
	l.postState(s, "removed", statePayload(s.RuleID, ttp.RuleEnabled))
}

func statePayload(id, state string) ttp.Object {
	return ttp.Object{{Name: "rule_id", Value: ttp.Quote(id)}, {Name: "state", Value: ttp.Quote(state)}}
}

func (l *Live) postState(s ttp.RuleState, what string, payload ttp.Object) {
	id := "ttp-rule-state:" + s.RuleID + ":" + s.State + ":" + s.SetAt.Format(time.RFC3339) + ":" + what
	l.post(news{id: id, topic: "ttp.rule.state." + subjectWord(s.RuleID), payload: payload})
}

// subjectWord makes one word of a subject of an id. Those of rules are that
// already, but whoever writes to the table may write anything.
func subjectWord(id string) string {
	word := []byte(id)
	for i, c := range word {
		if c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>' {
			word[i] = '_'
		}
	}
	return string(word)
}

func (l *Live) post(n news) {
	if l.o.Notifier != nil && !l.news.post(n) {
		l.o.Log.Warn("news of the rules dropped, too many wait to be published", zap.String("topic", n.topic))
	}
}

// news is something to publish.
type news struct {
	id, topic string
	payload   ttp.Object
}

// board holds news until they are published, oldest first.
type board struct {
	mu   sync.Mutex // guards list
	list []news
	wake chan struct{} // post sends, publish receives, nobody closes
}

// maxNews bounds what waits while the bus is away.
const maxNews = 20_000

func newBoard() *board { return &board{wake: make(chan struct{}, 1)} }

// post adds n and reports whether there was room.
func (b *board) post(n news) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) >= maxNews {
		return false
	}
	b.list = append(b.list, n)
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

func (b *board) first() (news, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) == 0 {
		return news{}, false
	}
	return b.list[0], true
}

func (b *board) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = b.list[1:]
}

// retryAfter is how long news wait after they could not be published.
const retryAfter = time.Second

// publish publishes what is posted until ctx ends, and repeats what failed
// unless it never can succeed.
func (b *board) publish(ctx context.Context, to Notifier, log *zap.Logger) {
	for {
		n, ok := b.first()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-b.wake:
			}
			continue
		}
		err := to.NotifyOnce(ctx, n.id, n.topic, n.payload)
		if err == nil || ttp.IsPermanent(err) {
			if err != nil {
				log.Warn("news of the rules not published", zap.Error(err), zap.String("topic", n.topic))
			}
			b.drop()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
}
