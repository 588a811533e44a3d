package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"ttp-worker/ttp"
)

// fixedID is the source_id of what brings its own.
func fixedID(id string) func(*Event) string { return func(*Event) string { return id } }

// ownID is the source_id of a command, a login or a request that says when it
// happened, and so is known by what happened, or that brings an id; nil for any
// other. Positions and per-session counters are not stable in what producers send.
func (e *Event) ownID() func(*Event) string {
	if e.second != "" {
		return func(as *Event) string { return ContentID(as.attacker(), e.DeckyID, e.second, e.what()) }
	}
	if id := e.Payload.ID("id", "uuid", "command_id"); id != "" {
		return fixedID(id)
	}
	return nil
}

// placeID is the source_id of an entry that has none of its own: that of the
// event it was found in, and its place there.
func placeID(of func(*Event) string, suffix string, index int) func(*Event) string {
	return func(e *Event) string { return of(e) + "#" + suffix + strconv.Itoa(index) }
}

// what is what the event says happened, in one text.
func (e *Event) what() string {
	p := e.Payload
	switch e.Kind {
	case ttp.AuthAttempt:
		return p.Text("service") + " " + p.Text("username", "user") + " " + p.Text("result")
	case ttp.HTTPRequest:
		return p.Text("method") + " " + p.Text("raw_url")
	}
	return p.Text(commandMembers...)
}

// ContentID is the source_id that names an event by its content: the first 32
// hex digits of the SHA-256 over the four parts joined with U+001F. attacker is
// the uuid, else the address; second the wall-clock second as written,
// "2026-05-02T06:22:48".
func ContentID(attacker, decky, second, text string) string {
	buf := make([]byte, 0, 512) // most fit, and stay off the heap
	for i, part := range [...]string{attacker, decky, second, text} {
		if i > 0 {
			buf = append(buf, 0x1f)
		}
		buf = append(buf, part...)
	}
	sum := sha256.Sum256(buf)
	return string(hex.AppendEncode(buf[:0], sum[:16]))
}
