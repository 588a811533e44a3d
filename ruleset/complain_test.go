package ruleset

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// unread are states that cannot be read at times.
type unread struct{ now atomic.Bool }

func (u *unread) RuleStates(context.Context) ([]ttp.RuleState, error) {
	if u.now.Load() {
		return nil, errors.New("no such table")
	}
	return nil, nil
}

func (*unread) DropExpiredRuleState(context.Context, string) error { return nil }

func TestFollowStates_saysOnceThatTheyAreNotReadAndWhatToDo(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	synctest.Test(t, func(t *testing.T) {
		states := new(unread)
		states.now.Store(true)
		live, err := New(Options{
			States:  states,
			Explain: func(err error) (class, hint string) { return "schema", "make it, as there is " + err.Error() },
			Build:   func(set *rule.Set) (tagger.Tagger, error) { return set, nil },
			Log:     zap.New(core),
		})
		if err != nil {
			t.Fatal(err)
		}
		go live.followStates(t.Context())
		time.Sleep(5 * askEvery) // of the bubble's clock
		states.now.Store(false)
		time.Sleep(5 * askEvery)
	})
	var got []map[string]any
	for _, line := range logs.All() {
		if fields := line.ContextMap(); line.Level == zap.WarnLevel {
			got = append(got, fields)
		}
	}
	want := []map[string]any{{"error": "no such table", "class": "schema", "hint": "make it, as there is no such table"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if n := logs.FilterMessage("states of rules read again").Len(); n != 1 {
		t.Errorf("it is over %d times, want once", n)
	}
}
