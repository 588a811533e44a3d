package ruleset_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"ttp-worker/internal/testdb"
	"ttp-worker/ruleset"
	"ttp-worker/sink"
	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

var _ ruleset.States = (*sink.DB)(nil)

// says is a tagger that says the same of every event.
type says []ttp.Finding

func (s says) Tag(context.Context, *ttp.Event) ([]ttp.Finding, error) { return slices.Clone(s), nil }

func confidences(t *testing.T, live tagger.Tagger) map[string]float64 {
	t.Helper()
	findings, err := live.Tag(t.Context(), new(ttp.Event))
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]float64)
	for _, f := range findings {
		m[f.RuleID] = f.Confidence
	}
	return m
}

// stated is a worker that follows states and what it says it dropped.
type stated struct {
	*ruleset.Live
	bulletin
	mu      sync.Mutex // guards dropped
	dropped []string
}

func (s *stated) drops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.dropped
	s.dropped = nil
	return list
}

func followStates(t *testing.T, states ruleset.States) *stated {
	s := new(stated)
	build := func(*rule.Set) (tagger.Tagger, error) {
		return says{
			{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1"}, Confidence: 0.9},
			{Claim: &ttp.Claim{RuleID: "R2", Technique: "T2"}, Confidence: 0.9},
			{Claim: &ttp.Claim{RuleID: "R2", Technique: "T3"}, Confidence: 0.2},
		}, nil
	}
	suppressed := func(rule, technique, reason string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dropped = append(s.dropped, rule+" "+technique+" "+reason)
	}
	s.Live, s.bulletin = follow(t, ruleset.Options{Build: build, States: states, Suppressed: suppressed})
	return s
}

func eachDatabase(t *testing.T, test func(t *testing.T, db *sink.DB)) {
	for name, fresh := range map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "sqlite": testdb.SQLite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sink.Open(fresh(t), sink.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, db)
		})
	}
}

func set(t *testing.T, db *sink.DB, s ttp.RuleState) {
	t.Helper()
	if _, err := db.SetRuleState(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// noLaterThan is within what a change must be seen by all workers.
const noLaterThan = 2 * time.Second

func TestStates_areInForceInEveryWorker(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *sink.DB) {
		workers := []*stated{followStates(t, db), followStates(t, db)}
		low, middle := 0.25, 0.5
		for _, c := range []struct {
			state   ttp.RuleState
			told    string
			want    map[string]float64
			dropped []string
		}{
			{ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled}, "state.R1 disabled", map[string]float64{"R2": 0.2}, []string{"R1 T1 disabled"}},
			{ttp.RuleState{RuleID: "R1", State: ttp.RuleClipped, MaxConfidence: &middle}, "state.R1 clipped", map[string]float64{"R1": 0.5, "R2": 0.2}, nil},
			{ttp.RuleState{RuleID: "R1", State: ttp.RuleClipped, MaxConfidence: &low}, "state.R1 clipped", map[string]float64{"R2": 0.2}, []string{"R1 T1 clipped"}},
			{ttp.RuleState{RuleID: "R1", State: ttp.RuleEnabled}, "state.R1 enabled", map[string]float64{"R1": 0.9, "R2": 0.2}, nil},
		} {
			start := time.Now()
			set(t, db, c.state)
			for _, w := range workers {
				if word := w.next(t); word != c.told {
					t.Fatalf("told %s, want %s", word, c.told)
				}
				if took := time.Since(start); took > noLaterThan {
					t.Errorf("%s: seen after %v", c.told, took)
				}
				got := confidences(t, w)
				if got["R1"] != c.want["R1"] || got["R2"] != c.want["R2"] {
					t.Errorf("%s: %v, want %v", c.told, got, c.want)
				}
				if dropped := w.drops(); !slices.Equal(dropped, c.dropped) {
					t.Errorf("%s: dropped %q, want %q", c.told, dropped, c.dropped)
				}
			}
		}
	})
}

func TestStates_turnBackByThemselves(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *sink.DB) {
		workers := []*stated{followStates(t, db), followStates(t, db)}
		set(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled, Until: time.Now().Add(2 * time.Second)})
		for _, w := range workers {
			if first, second := w.next(t), w.next(t); first != "state.R1 disabled" || second != "state.R1 auto_revert enabled" {
				t.Errorf("told %s, then %s", first, second)
			}
			if got := confidences(t, w); got["R1"] != 0.9 {
				t.Errorf("after it expired: %v", got)
			}
		}
		if err := workers[0].LoadStates(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list, err := db.RuleStates(t.Context()); len(list) > 0 || err != nil {
			t.Errorf("left in the table: %+v, %v", list, err)
		}
	})
}

// A worker that begins takes over what was decided before, and says what
// expired while nobody worked.
func TestStates_ofBeforeTheStart(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *sink.DB) {
		set(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled})
		set(t, db, ttp.RuleState{RuleID: "R2", State: ttp.RuleDisabled, Until: time.Now().Add(-time.Minute)})
		w := followStates(t, db)
		if got := confidences(t, w); len(got) != 1 || got["R2"] == 0 {
			t.Errorf("at the start: %v", got)
		}
		if word := w.next(t); word != "state.R2 auto_revert enabled" {
			t.Errorf("told %s", word)
		}
		set(t, db, ttp.RuleState{RuleID: "R3", State: ttp.RuleDisabled})
		if word := w.next(t); word != "state.R3 disabled" {
			t.Errorf("told %s, R1 was told or R2 twice", word)
		}
	})
}

// flaky is a database that can be away.
type flaky struct {
	*sink.DB
	away bool
}

func (f *flaky) RuleStates(ctx context.Context) ([]ttp.RuleState, error) {
	if f.away {
		return nil, errors.New("away")
	}
	return f.DB.RuleStates(ctx)
}

func TestLoadStates_leavesThemInForceWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *sink.DB) {
		f := &flaky{DB: db}
		live, err := ruleset.New(ruleset.Options{States: f, Build: func(*rule.Set) (tagger.Tagger, error) {
			return says{{Claim: &ttp.Claim{RuleID: "R1"}, Confidence: 0.9}, {Claim: &ttp.Claim{RuleID: "R2"}, Confidence: 0.9}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		set(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled})
		set(t, db, ttp.RuleState{RuleID: "R2", State: ttp.RuleDisabled, Until: time.Now().Add(time.Second)})
		if err := live.LoadStates(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.away = true
		deadline := time.After(20 * time.Second)
		for len(confidences(t, live)) == 0 { // R2 expires by the clock alone
			if err := live.LoadStates(t.Context()); err == nil {
				t.Fatal("no error")
			}
			select {
			case <-deadline:
				t.Fatal("R2 did not expire")
			case <-time.After(10 * time.Millisecond):
			}
		}
		if got := confidences(t, live); got["R1"] != 0 || got["R2"] != 0.9 {
			t.Errorf("while it is away: %v", got)
		}
	})
}
