// Package intake turns a message into events: it decodes what producers really
// send, fans a session out into what happened in it, finds whose it was, and
// gives every event the source_id that it has on every path, live or replayed.
//
// The steps are separate because most events yield nothing: [Decode] needs no
// database, [Resolver.Enrich] reads what a message only points at,
// [Resolver.Anchor] is for events that yielded findings.
package intake

import (
	"net/netip"
	"strings"
	"time"
	"unicode"

	"ttp-worker/ttp"
)

// MaxMessage is the size in bytes above which a message is not decoded. The
// largest that a producer sends is a session of 1 MiB.
const MaxMessage = 4 << 20

// maxEntries bounds how many events one message is fanned out into; a session
// recorded by hand or by a script has a few hundred.
const maxEntries = 20_000

// Message is one message, decoded. Events is empty for messages that only
// report housekeeping (a canary token placed or revoked).
type Message struct {
	Subject string
	Events  []*Event // the first is what arrived, the others were found in it

	// Malformed counts entries of a list that could not be read and were left
	// out; the others are there.
	Malformed int

	// What Enrich has to read, "" or false for nothing.
	reuseID     string // the credential_reuse row
	triggerID   string // the canary_triggers row
	tokenID     string // the canary_tokens row
	identityID  string // the credentials of this identity
	intelOf     string // the rest of the attacker_intel row of this attacker
	wantIntel   bool   // the attacker_intel row, as an event of its own
	wantCountry bool   // the attacker's country
	at          time.Time
}

// Event is an event that may still have to be anchored.
type Event struct {
	ttp.Event

	// Address is the attacker's address, "" if the producer did not send one
	// or sent something that is no address.
	Address string

	// Unknown says, after Anchor, that the attacker or identity the event
	// belongs to has no row (yet).
	Unknown bool

	second string // in which an entry says that it happened, "2026-05-02T06:22:48"; "" if it does not

	// sourceID makes the source_id of e, which is anchored: the event itself,
	// or one that was found in it or beside it and has the same anchors.
	sourceID func(e *Event) string
}

// Anchored reports whether tags of the event can be stored.
func (e *Event) Anchored() bool {
	return !e.Unknown && (e.AttackerUUID != "" || e.IdentityUUID != "")
}

// attacker is what the event's attacker is known by: his uuid, else his address.
func (e *Event) attacker() string {
	if e.AttackerUUID != "" {
		return e.AttackerUUID
	}
	return e.Address
}

// ArrivedAs returns the kind and the source_id of the event that arrived, for
// announcing what e, which is one of the message's events, gained.
func (m *Message) ArrivedAs(e *Event) (ttp.Kind, string) {
	return m.Events[0].Kind, m.Events[0].sourceID(e)
}

// address returns s if it is an IP address. Some producers send host names,
// "Unknown", or a header that an attacker wrote; the zone of an IPv6 address
// may be any text to netip, but only the name of an interface is one to us.
func address(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil || len(s) > maxAddress || strings.ContainsFunc(addr.Zone(), notOfInterface) {
		return ""
	}
	return s
}

// maxAddress is what the column of addresses takes.
const maxAddress = 64

func notOfInterface(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}
