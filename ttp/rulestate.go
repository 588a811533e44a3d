package ttp

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// The states of a rule. A rule that nothing is known of is enabled.
const (
	RuleEnabled  = "enabled"
	RuleDisabled = "disabled" // its tags are dropped
	RuleClipped  = "clipped"  // its tags have at most a certain confidence
)

// RuleState is what an operator decided about a rule: one row of
// ttp_rule_state. Times are in UTC and of whole seconds.
type RuleState struct {
	RuleID string
	State  string

	// MaxConfidence caps the confidence of a clipped rule's tags; one below
	// [MinConfidence] drops them. Nil: no cap. Other states ignore it.
	MaxConfidence *float64

	Until  time.Time // when the rule turns back to enabled by itself; zero: never
	Reason string
	SetBy  string
	SetAt  time.Time
}

// maxStateText is the longest text of a rule's state, in characters, that
// every table takes.
const maxStateText = 255

// Check says what is wrong with a state that is to be stored, nil if nothing.
func (s *RuleState) Check() error {
	for name, text := range map[string]string{"rule id": s.RuleID, "reason": s.Reason, "name of who sets it": s.SetBy} {
		if n := utf8.RuneCountInString(text); n > maxStateText || !utf8.ValidString(text) {
			return fmt.Errorf("the %s has %d characters or is no UTF-8, at most %d are stored", name, n, maxStateText)
		}
	}
	c := s.MaxConfidence
	switch {
	case s.RuleID == "":
		return fmt.Errorf("a rule id is missing")
	case s.State != RuleEnabled && s.State != RuleDisabled && s.State != RuleClipped:
		return fmt.Errorf("unknown state %.40q", s.State)
	case s.State == RuleClipped && c == nil:
		return fmt.Errorf("a clipped rule needs a maximum of the confidence")
	case c != nil && !(*c >= 0 && *c <= 1):
		return fmt.Errorf("a confidence of %v is not within 0 and 1", *c)
	}
	return nil
}

// Active reports whether s changes what its rule does at that time.
func (s *RuleState) Active(at time.Time) bool { return s.restrains() && !s.Expired(at) }

// Expired reports whether s changed what its rule does until some time before.
func (s *RuleState) Expired(at time.Time) bool {
	return s.restrains() && !s.Until.IsZero() && !at.Before(s.Until)
}

func (s *RuleState) restrains() bool { return s.State == RuleDisabled || s.State == RuleClipped }

// Cap returns what becomes of a confidence while s is active; drop says that
// the tag is not to be stored at all.
func (s *RuleState) Cap(confidence float64) (capped float64, drop bool) {
	switch {
	case s.State == RuleDisabled:
		return confidence, true
	case s.State == RuleClipped && s.MaxConfidence != nil:
		capped = min(confidence, *s.MaxConfidence)
		return capped, confidence >= MinConfidence && capped < MinConfidence
	}
	return confidence, false
}
