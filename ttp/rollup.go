package ttp

import (
	"errors"
	"time"
)

// Scope names whose tags are asked for. The zero Scope is the whole fleet.
type Scope struct {
	By ScopeKind
	ID string // the uuid, or the id of a session
}

// ScopeKind is what a [Scope] goes by.
type ScopeKind string

// The kinds of scope.
const (
	// ByIdentity means the tags anchored on the identity and those of the
	// attackers that belong to it. An identity that was merged means the one
	// it was merged into, which has the tags of all that were merged into it.
	ByIdentity ScopeKind = "identity"
	// ByAttacker means the tags anchored on the attacker.
	ByAttacker ScopeKind = "attacker"
	// ByCampaign means the tags of the campaign's identities.
	ByCampaign ScopeKind = "campaign"
	BySession  ScopeKind = "session"
)

// ScopeKinds are the kinds of scope that need an id.
var ScopeKinds = []ScopeKind{ByIdentity, ByAttacker, ByCampaign, BySession}

// Filter narrows a question. Its zero value lets everything through.
type Filter struct {
	MinConfidence float64
	Since, Until  time.Time // when the tag was stored: at Since or later, before Until
	Tactic        string    // "TA0007"
	Decky         string
}

// Rollup is what a scope's tags of one technique under one tactic come to.
type Rollup struct {
	Technique     string
	SubTechnique  string // "" if the tags name none
	Tactic        string
	Count         int64
	FirstSeen     time.Time // when the first and the last of the tags were stored
	LastSeen      time.Time
	MaxConfidence float64
	Identities    int64       // how many identities have such tags; counted by campaign only
	Rules         []RuleCount // the one with the most tags first
}

// RuleCount is how many tags a rule made.
type RuleCount struct {
	RuleID string
	Count  int64
}

// Phase is what an identity did on one decky for one tactic.
type Phase struct {
	DeckyID  string
	Tactic   string
	At       time.Time // the first time
	LastSeen time.Time
	Count    int64
}

// StoredTag is a tag as it was read back.
type StoredTag struct {
	Tag
	CreatedAt time.Time
}

// Page is a part of a list of tags, the latest first.
type Page struct {
	Tags []StoredTag
	Next string // what to ask for the following page with, "" if there is none
}

// ErrPage says that what a page was asked for with is not the Next of another.
var ErrPage = errors.New("not the end of a page")
