package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"ttp-worker/ttp"
)

// fixedID is the source_id of what brings its own.
func fixedID(id string) func(*Event) string { return func(*Event) string { return id } }

// entryID is the source_id of a command, a login or a request that was found
// in parent (itself, if it came alone). One that says when it happened is
// known by what happened: positions and per-session counters are not stable in
// what producers send. One that does not is known by its id or its place.
func (e *Event) entryID(parent *Event, suffix string, index int) func(*Event) string {
	if when := stampOf(e.Payload, "ts", "timestamp"); when.second != "" {
		decky, text := e.DeckyID, e.what()
		return func(e *Event) string { return ContentID(e.attacker(), decky, when.second, text) }
	}
	if id := e.Payload.ID("id", "uuid", "command_id"); id != "" {
		return fixedID(id)
	}
	of := parent.sourceID
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
	sum := sha256.Sum256([]byte(attacker + "\x1f" + decky + "\x1f" + second + "\x1f" + text))
	return hex.EncodeToString(sum[:16])
}
