package intake

import (
	"ttp-worker/ttp"
)

// DecodeStored makes the events of commands that are stored with an attacker's
// row, list being a part of that list whose first element has the index first.
// Each has the source_id that it had when it came over the bus; a command that
// says neither when it was typed nor what its id is, which the bus never
// brings, is known by its place in the list.
//
// The entries are read as those of a session are: what is neither text nor an
// object with text is counted as malformed.
func DecodeStored(of ttp.Attacker, list []ttp.Value, first int) *Message {
	m := &Message{Subject: "attacker.command"}
	d := &decoder{Message: m}
	carrier := &Event{
		Event:   ttp.Event{AttackerUUID: of.UUID, IdentityUUID: of.IdentityUUID},
		Address: address(of.Address), sourceID: fixedID(of.UUID),
	}
	for i, entry := range list {
		before := len(m.Events)
		d.entry(carrier, ttp.Command, entry, "command_text", "cmd", first+i)
		if len(m.Events) > before {
			e := m.Events[before]
			e.SessionID = e.Payload.ID("session_id")
		}
	}
	return m
}
