package sink_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

func setState(t *testing.T, db *sink.DB, s ttp.RuleState) ttp.RuleState {
	t.Helper()
	stored, err := db.SetRuleState(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func states(t *testing.T, db *sink.DB) []ttp.RuleState {
	t.Helper()
	list, err := db.RuleStates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRuleState_comesBackAsItWasStored(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		limit := 0.4 // not exact in single precision, which DECNET's column is of
		until := time.Now().Add(time.Hour)
		clipped := setState(t, db, ttp.RuleState{
			RuleID: "R0002", State: ttp.RuleClipped, MaxConfidence: &limit, Until: until, Reason: "noisy; it's \"new\"", SetBy: "ann@host",
		})
		disabled := setState(t, db, ttp.RuleState{RuleID: "R0001", State: ttp.RuleDisabled})
		if d := clipped.Until.Sub(until); d < 0 || d > time.Second {
			t.Errorf("expires %v later than asked for", d)
		}
		if diff := cmp.Diff([]ttp.RuleState{disabled, clipped}, states(t, db)); diff != "" {
			t.Errorf("(-stored +read):\n%s", diff)
		}
	})
}

func TestSetRuleState_tellsChangesOfOneSecondApart(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		first := setState(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled})
		second := setState(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleEnabled})
		third := setState(t, db, ttp.RuleState{RuleID: "R1", State: ttp.RuleDisabled})
		if !second.SetAt.After(first.SetAt) || !third.SetAt.After(second.SetAt) {
			t.Errorf("set at %v, %v, %v", first.SetAt, second.SetAt, third.SetAt)
		}
		if diff := cmp.Diff([]ttp.RuleState{third}, states(t, db)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestDropExpiredRuleState_leavesWhatHasNotExpired(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		setState(t, db, ttp.RuleState{RuleID: "past", State: ttp.RuleDisabled, Until: time.Now().Add(-time.Hour)})
		setState(t, db, ttp.RuleState{RuleID: "later", State: ttp.RuleDisabled, Until: time.Now().Add(time.Hour)})
		setState(t, db, ttp.RuleState{RuleID: "never", State: ttp.RuleDisabled})
		for _, id := range []string{"past", "later", "never", "absent"} {
			if err := db.DropExpiredRuleState(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		var left []string
		for _, s := range states(t, db) {
			left = append(left, s.RuleID)
		}
		if diff := cmp.Diff([]string{"later", "never"}, left); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestSetRuleState_refusesWhatNoTableTakes(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		high := 1.5
		for want, s := range map[string]ttp.RuleState{
			"rule id is missing": {State: ttp.RuleDisabled},
			"unknown state":      {RuleID: "R1", State: "off"},
			"needs a maximum":    {RuleID: "R1", State: ttp.RuleClipped},
			"not within 0 and 1": {RuleID: "R1", State: ttp.RuleClipped, MaxConfidence: &high},
			"256 characters":     {RuleID: "R1", State: ttp.RuleDisabled, Reason: strings.Repeat("ä", 256)},
			"no UTF-8":           {RuleID: "R1", State: ttp.RuleDisabled, Reason: "\xff"},
		} {
			if _, err := db.SetRuleState(t.Context(), s); !ttp.IsPermanent(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("want a permanent error with %q, got %v", want, err)
			}
		}
		if list := states(t, db); len(list) > 0 {
			t.Errorf("stored: %+v", list)
		}
	})
}
