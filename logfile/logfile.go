// Package logfile reads the logs that honeypots leave and the webhooks that
// canary tokens send, and turns them into the messages that would have come
// over the bus: so what is replayed from a file and what is published from it
// are the same, and so are the ids of the tags.
//
// It reads envelopes as they are on the bus, one a line; the JSON log of
// Cowrie, whose events are put together to sessions; the log of OpenCanary;
// and the webhook objects of Canarytokens and of the Thinkst console. Files may
// be compressed with gzip or zstd. Memory does not grow with the size of a file.
package logfile

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"ttp-worker/ttp"
)

// Record is one message.
type Record struct {
	Subject  string // without a prefix
	Envelope ttp.Envelope

	text string // the message as it was found, "" if it was made here
}

// Data returns the message as it goes over the bus.
func (r *Record) Data() []byte {
	if r.text != "" {
		return []byte(r.text)
	}
	return ttp.AppendEnvelope(nil, r.ID(), r.Subject, r.Envelope.At, r.Envelope.Payload.AppendJSON(nil))
}

// ID names the message by its content: whoever reads the same log again gives
// the same message the same id.
func (r *Record) ID() string {
	h := sha256.New()
	h.Write([]byte(r.Subject + "\n"))
	if r.text != "" {
		h.Write([]byte(r.text))
	} else {
		h.Write(r.Envelope.Payload.AppendJSON(nil))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// made returns the record of a message that is made here.
func made(subject string, at time.Time, payload ttp.Object) Record {
	return Record{Subject: subject, Envelope: ttp.Envelope{At: at, Payload: payload}}
}

// Formats are the names of the formats, for [Options].
var Formats = []string{"envelope", "cowrie", "opencanary", "canarytokens", "thinkst"}

// formatOf returns the format of an object by the members that only this
// format has, "" if it is none that is known.
func formatOf(o ttp.Object) string {
	has := func(names ...string) bool {
		for _, name := range names {
			if _, ok := o.Get(name); !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("topic", "payload"):
		return "envelope"
	case has("eventid", "session"), has("eventid", "sensor"):
		return "cowrie"
	case has("logtype", "logdata"):
		return "opencanary"
	case has("CanaryID"), has("IncidentHash"), has("AlertType"):
		return "thinkst"
	case has("manage_url"), has("channel", "token"), has("token_type", "token"):
		return "canarytokens"
	case has("message") && len(o) == 1:
		return "opencanary" // as its webhook sends it
	case has("payload"):
		return "envelope" // one without its topic; reading it says so
	}
	return ""
}

// members collects the members of a payload.
type members struct{ ttp.Object }

// text adds a member, unless it is empty.
func (m *members) text(name, value string) {
	if value != "" {
		m.Object = append(m.Object, ttp.Member{Name: name, Value: ttp.Quote(value)})
	}
}

// value adds a member, unless it is absent or null.
func (m *members) value(name string, value ttp.Value) {
	if !value.IsNull() {
		m.Object = append(m.Object, ttp.Member{Name: name, Value: value})
	}
}

func (m *members) number(name string, n int) { m.value(name, ttp.Number(int64(n))) }

// json returns the members as a value of their own.
func (m *members) json() ttp.Value { return ttp.Value(m.AppendJSON(nil)) }
