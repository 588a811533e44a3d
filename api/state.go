package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"ttp-worker/ttp"
)

// Rule is a rule as operators see it.
type Rule struct {
	ID         string      `json:"rule_id"`
	Version    int         `json:"rule_version"`
	Title      string      `json:"title"`
	Status     string      `json:"status"` // "loaded" if it works
	Reason     string      `json:"reason"` // why it does not
	Kinds      []ttp.Kind  `json:"kinds"`
	Techniques []RuleEmits `json:"techniques"`
	State      *RuleState  `json:"state"` // null: enabled, nobody decided otherwise
}

// RuleEmits is what a rule says when it matches.
type RuleEmits struct {
	Tactic       string  `json:"tactic"`
	Technique    string  `json:"technique_id"`
	SubTechnique *string `json:"sub_technique_id"`
	Confidence   float64 `json:"confidence"`
}

// RuleState is what an operator decided about a rule.
type RuleState struct {
	State         string     `json:"state"` // enabled, disabled or clipped
	MaxConfidence *float64   `json:"confidence_max"`
	Until         *time.Time `json:"expires_at"`
	Reason        *string    `json:"reason"`
	SetBy         *string    `json:"set_by"`
	SetAt         time.Time  `json:"set_at"`
}

// NewRuleState returns s as it is shown.
func NewRuleState(s ttp.RuleState) RuleState {
	out := RuleState{State: s.State, MaxConfidence: s.MaxConfidence, Reason: orNull(s.Reason), SetBy: orNull(s.SetBy), SetAt: s.SetAt}
	if !s.Until.IsZero() {
		out.Until = &s.Until
	}
	return out
}

// RuleStates keeps what operators decide. The sink's DB does.
type RuleStates interface {
	// SetRuleState returns the state as it was stored. A state that cannot be
	// stored is a permanent error.
	SetRuleState(ctx context.Context, s ttp.RuleState) (ttp.RuleState, error)
}

// A body has at most so many bytes, and so long to arrive.
const (
	maxBody    = 16 << 10
	bodyWithin = 10 * time.Second
)

// stateRequest is what is sent to change the state of a rule.
type stateRequest struct {
	State         string    `json:"state"`
	MaxConfidence *float64  `json:"confidence_max"`
	Until         time.Time `json:"expires_at"`
	Reason        string    `json:"reason"`
	SetBy         string    `json:"set_by"`
}

// setState is POST rules/{rule_id}/state.
func (h *Handler) setState(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin)) // fails only without a connection to wait for
	var in stateRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil && !errors.Is(dec.Decode(&struct{}{}), io.EOF) {
		err = errors.New("more than one value")
	}
	if err != nil {
		writeProblem(w, &Problem{Status: http.StatusUnprocessableEntity, Detail: "the body is not a state of a rule: want JSON with state, and where it applies confidence_max, expires_at, reason, set_by"})
		return
	}
	h.changeState(w, r, ttp.RuleState{State: in.State, MaxConfidence: in.MaxConfidence, Until: in.Until, Reason: in.Reason, SetBy: orDefault(in.SetBy, "http")})
}

// dropState is DELETE rules/{rule_id}/state: the rule is as if nobody had
// decided anything.
func (h *Handler) dropState(w http.ResponseWriter, r *http.Request) {
	h.changeState(w, r, ttp.RuleState{State: ttp.RuleEnabled, SetBy: "http"})
}

// changeState stores what becomes of a rule that there is.
func (h *Handler) changeState(w http.ResponseWriter, r *http.Request, s ttp.RuleState) {
	s.RuleID = r.PathValue("rule_id")
	if err := h.knownRule(r.Context(), s.RuleID); err != nil {
		h.writeError(w, err)
		return
	}
	stored, err := h.Service.States.SetRuleState(r.Context(), s)
	if err != nil {
		h.writeError(w, err)
		return
	}
	writeJSON(w, NewRuleState(stored))
}

func (h *Handler) knownRule(ctx context.Context, id string) error {
	if h.Service.States == nil || h.Service.Rules == nil {
		return &Problem{Status: http.StatusNotFound, Detail: "this server knows no rules"}
	}
	rules, err := h.Service.Rules(ctx)
	if err != nil {
		return err
	}
	for i := range rules {
		if rules[i].ID == id {
			return nil
		}
	}
	return &Problem{Status: http.StatusNotFound, Detail: "there is no such rule"}
}
