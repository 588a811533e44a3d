// Package ttp holds the words the other packages share: what a sensor saw
// ([Event]), what a rule says about it ([Finding]), the row that is stored
// ([Tag]) and what is told to others once it is ([Tagged]).
//
// It does no I/O and knows no bus, no database and no rule engine.
package ttp

import (
	"time"
)

// Kind says what an event is, and so which taggers look at it. It is written
// to ttp_tag.source_kind and is part of a tag's identity.
type Kind string

// The kinds a known producer sends or this worker makes. A kind that is not
// listed here is not an error: some sensor may be newer than this program.
const (
	Command           Kind = "command"
	Session           Kind = "session"
	AuthAttempt       Kind = "auth_attempt"
	HTTPRequest       Kind = "http_request"
	Intel             Kind = "intel"
	Email             Kind = "email"
	Canary            Kind = "canary"
	CanaryFingerprint Kind = "canary_fingerprint"
	Identity          Kind = "identity"
	Credential        Kind = "credential"
	Payload           Kind = "payload"
	HTTPFingerprint   Kind = "http_fingerprint"
	IPv6Leak          Kind = "ipv6_leak"
	JARM              Kind = "jarm"
	HASSH             Kind = "hassh"
)

// Known reports whether k is a kind that rules are written for.
func (k Kind) Known() bool {
	switch k {
	case Command, Session, AuthAttempt, HTTPRequest, Intel, Email, Canary, CanaryFingerprint,
		Identity, Credential, Payload, HTTPFingerprint, IPv6Leak, JARM, HASSH:
		return true
	}
	return false
}

// MinConfidence is the confidence floor: a finding below it is neither stored
// nor published, one exactly on it is kept.
const MinConfidence = 0.3

// Event is one thing to tag. Taggers share it and only read it.
type Event struct {
	Kind Kind

	// SourceID names what was seen; it is the same whenever the same thing is
	// seen again, live, redelivered or replayed. It may depend on the
	// attacker's uuid and is therefore empty until the event is anchored:
	// taggers must not use it.
	SourceID string

	// The anchors and the place; empty means absent. Taggers run before the
	// attacker is looked up and must not rely on the anchors.
	AttackerUUID string
	IdentityUUID string
	SessionID    string
	DeckyID      string

	// At is when the sensor saw it, in UTC; zero if it did not say.
	At time.Time

	// Payload is what the sensor sent; its members depend on Kind.
	Payload Object
}

// Finding is what one rule says about one event.
type Finding struct {
	*Claim // not nil

	Confidence float64 // within 0..1
	Evidence   Object  // what matched and where; never a password or mail text
}

// Claim is what a rule says of every event that it matches. All findings of the
// rule share it, so nobody may change it.
type Claim struct {
	RuleID      string
	RuleVersion int

	Tactic       string // "TA0007"
	Technique    string // the parent, "T1548"
	SubTechnique string // "T1548.001", or "" if there is none

	AttackRelease string // the ATT&CK release the ids are of, "v19.2"
	MitreURL      string // "" if the catalogue does not know the technique
}

// Tag is a finding about an event: one row of ttp_tag.
type Tag struct {
	UUID         string // see [TagUUID]
	SourceKind   Kind
	SourceID     string
	AttackerUUID string // at least one of AttackerUUID and IdentityUUID is set
	IdentityUUID string
	SessionID    string
	DeckyID      string
	Finding
}

// NewTag makes the tag that says f about ev. The event must have its SourceID.
func NewTag(ev *Event, f Finding) Tag {
	return Tag{
		UUID:         TagUUID(ev.Kind, ev.SourceID, f.RuleID, f.RuleVersion, f.Technique, f.SubTechnique),
		SourceKind:   ev.Kind,
		SourceID:     ev.SourceID,
		AttackerUUID: ev.AttackerUUID,
		IdentityUUID: ev.IdentityUUID,
		SessionID:    ev.SessionID,
		DeckyID:      ev.DeckyID,
		Finding:      f,
	}
}

// Tagged is what one event that arrived gained: the tags of the event itself
// and of what was found inside it (a session's commands), all of one attacker
// or identity. SourceKind and SourceID are those of the event that arrived.
//
// Its JSON form is the payload of the subject ttp.tagged.
type Tagged struct {
	AttackerUUID string
	IdentityUUID string
	SessionID    string
	DeckyID      string
	SourceKind   Kind
	SourceID     string
	Tags         []Tag

	// TraceParent is the trace of the message they came in, "" for none. It is
	// no part of the payload: it goes along as a header, and in the outbox as
	// a member of its own.
	TraceParent string
}
