// Package api answers questions about the tags that are stored: over HTTP, on
// the bus and on the command line, everywhere with the same words. It also
// serves a page that shows the answers.
package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

// Store is where the tags are. The sink's DB is one.
type Store interface {
	Rollups(ctx context.Context, scope ttp.Scope, f ttp.Filter) ([]ttp.Rollup, error)
	Phases(ctx context.Context, identity string, f ttp.Filter) ([]ttp.Phase, error)
	Tags(ctx context.Context, scope ttp.Scope, technique string, f ttp.Filter, after string, limit int) (ttp.Page, error)
}

// Technique is what the tags of one technique under one tactic come to.
type Technique struct {
	Technique        string     `json:"technique_id"`
	SubTechnique     *string    `json:"sub_technique_id"`
	TechniqueName    *string    `json:"technique_name"` // null if the catalogue does not know it
	SubTechniqueName *string    `json:"sub_technique_name"`
	Tactic           string     `json:"tactic"`
	TacticName       *string    `json:"tactic_name"`
	Count            int64      `json:"count"`
	FirstSeen        time.Time  `json:"first_seen"`
	LastSeen         time.Time  `json:"last_seen"`
	MaxConfidence    float64    `json:"confidence_max"`
	MitreURL         *string    `json:"mitre_url"`
	Successor        *string    `json:"successor_id"` // what the id, if it was revoked, is called today
	Identities       *int64     `json:"identity_count,omitempty"`
	Rules            []RuleHits `json:"rules"`
}

// RuleHits is how many tags a rule made.
type RuleHits struct {
	RuleID string `json:"rule_id"`
	Count  int64  `json:"count"`
}

// ID is that of the sub-technique, else of the technique.
func (t *Technique) ID() string {
	if t.SubTechnique != nil {
		return *t.SubTechnique
	}
	return t.Technique
}

// Name is that of the technique and of its sub-technique.
func (t *Technique) Name() string {
	switch {
	case t.TechniqueName == nil:
		return ""
	case t.SubTechniqueName == nil:
		return *t.TechniqueName
	}
	return *t.TechniqueName + ": " + *t.SubTechniqueName
}

// Phase is what an identity did on one decky for one tactic.
type Phase struct {
	DeckyID    string    `json:"decky_id"`
	Tactic     string    `json:"tactic"`
	TacticName *string   `json:"tactic_name"`
	Time       time.Time `json:"time"` // the first
	LastSeen   time.Time `json:"last_seen"`
	Count      int64     `json:"count"`
}

// Tag is a tag with the names of what it says.
type Tag struct {
	UUID             string     `json:"uuid"`
	SourceKind       ttp.Kind   `json:"source_kind"`
	SourceID         string     `json:"source_id"`
	AttackerUUID     *string    `json:"attacker_uuid"`
	IdentityUUID     *string    `json:"identity_uuid"`
	SessionID        *string    `json:"session_id"`
	DeckyID          *string    `json:"decky_id"`
	Tactic           string     `json:"tactic"`
	TacticName       *string    `json:"tactic_name"`
	Technique        string     `json:"technique_id"`
	SubTechnique     *string    `json:"sub_technique_id"`
	TechniqueName    *string    `json:"technique_name"`
	SubTechniqueName *string    `json:"sub_technique_name"`
	Confidence       float64    `json:"confidence"`
	RuleID           string     `json:"rule_id"`
	RuleVersion      int        `json:"rule_version"`
	Evidence         ttp.Object `json:"evidence"`
	AttackRelease    string     `json:"attack_release"`
	MitreURL         *string    `json:"mitre_url"`
	CreatedAt        time.Time  `json:"created_at"`
}

// Techniques returns the rollup that q asks for, the most frequent technique
// first, at most q.Limit of them.
func Techniques(ctx context.Context, store Store, q Question) ([]Technique, error) {
	rollups, err := store.Rollups(ctx, q.Scope, q.Filter)
	if err != nil {
		return nil, err
	}
	list := make([]Technique, 0, len(rollups))
	for i := range rollups[:min(len(rollups), q.Limit)] {
		list = append(list, newTechnique(&rollups[i], q.Scope.By))
	}
	return list, nil
}

func newTechnique(r *ttp.Rollup, by ttp.ScopeKind) Technique {
	t := Technique{
		Technique: r.Technique, SubTechnique: orNull(r.SubTechnique), TechniqueName: nameOf(r.Technique), SubTechniqueName: nameOf(r.SubTechnique),
		Tactic: r.Tactic, TacticName: tacticName(r.Tactic), Count: r.Count, FirstSeen: r.FirstSeen, LastSeen: r.LastSeen,
		MaxConfidence: r.MaxConfidence, Rules: make([]RuleHits, len(r.Rules)),
	}
	id := cmp.Or(r.SubTechnique, r.Technique)
	if known, ok := attack.Lookup(id); ok {
		t.MitreURL = orNull(known.URL)
	}
	if now := attack.Successor(id); now != id {
		t.Successor = orNull(now)
	}
	if by == ttp.ByCampaign {
		t.Identities = &r.Identities
	}
	for i, hits := range r.Rules {
		t.Rules[i] = RuleHits(hits)
	}
	return t
}

// Phases returns what the identity of q did on which decky, the earliest
// first, at most q.Limit of them.
func Phases(ctx context.Context, store Store, q Question) ([]Phase, error) {
	phases, err := store.Phases(ctx, q.Scope.ID, q.Filter)
	if err != nil {
		return nil, err
	}
	list := make([]Phase, 0, len(phases))
	for _, p := range phases[:min(len(phases), q.Limit)] {
		list = append(list, Phase{p.DeckyID, p.Tactic, tacticName(p.Tactic), p.At, p.LastSeen, p.Count})
	}
	return list, nil
}

// Tags returns a page of the tags that q asks for, the latest first, and what
// to ask for the next page with, "" if this is the last.
func Tags(ctx context.Context, store Store, q Question) (list []Tag, next string, err error) {
	page, err := store.Tags(ctx, q.Scope, q.Technique, q.Filter, q.After, q.Limit)
	if err != nil {
		return nil, "", err
	}
	list = make([]Tag, len(page.Tags))
	for i := range page.Tags {
		list[i] = newTag(&page.Tags[i])
	}
	return list, page.Next, nil
}

func newTag(t *ttp.StoredTag) Tag {
	return Tag{
		UUID: t.UUID, SourceKind: t.SourceKind, SourceID: t.SourceID, AttackerUUID: orNull(t.AttackerUUID), IdentityUUID: orNull(t.IdentityUUID),
		SessionID: orNull(t.SessionID), DeckyID: orNull(t.DeckyID), Tactic: t.Tactic, TacticName: tacticName(t.Tactic),
		Technique: t.Technique, SubTechnique: orNull(t.SubTechnique), TechniqueName: nameOf(t.Technique), SubTechniqueName: nameOf(t.SubTechnique),
		Confidence: t.Confidence, RuleID: t.RuleID, RuleVersion: t.RuleVersion, Evidence: t.Evidence, AttackRelease: t.AttackRelease,
		MitreURL: orNull(t.MitreURL), CreatedAt: t.CreatedAt,
	}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nameOf(technique string) *string {
	known, ok := attack.Lookup(technique)
	if !ok {
		return nil
	}
	return &known.Name
}

func tacticName(id string) *string {
	known, ok := attack.LookupTactic(id)
	if !ok {
		return nil
	}
	return &known.Name
}

// Matrix is the catalogue as the page draws it.
type Matrix struct {
	Release    string            `json:"release"`
	Tactics    []MatrixTactic    `json:"tactics"`
	Techniques []MatrixTechnique `json:"techniques"`
}

// MatrixTactic is a column of a matrix.
type MatrixTactic struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	ShortName string `json:"short_name"`
	ICS       bool   `json:"ics"`
}

// MatrixTechnique is a technique or a sub-technique that is not revoked.
type MatrixTechnique struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Tactics []string `json:"tactics"`
	URL     string   `json:"url"`
	ICS     bool     `json:"ics"`
}

// NewMatrix returns the bundled catalogue, both matrices, tactics in their order.
func NewMatrix() Matrix {
	m := Matrix{Release: attack.Release}
	for _, t := range attack.Tactics() {
		m.Tactics = append(m.Tactics, MatrixTactic{t.ID, t.Name, t.ShortName, t.ICS})
	}
	for _, t := range attack.Techniques() {
		if !t.Revoked {
			m.Techniques = append(m.Techniques, MatrixTechnique{t.ID, t.Name, slices.Clone(t.Tactics), t.URL, t.ICS})
		}
	}
	return m
}

// title says in words whose tags a scope has.
func title(s ttp.Scope) string {
	if s.By == "" {
		return "the whole fleet"
	}
	return fmt.Sprintf("%s %s", s.By, s.ID)
}
