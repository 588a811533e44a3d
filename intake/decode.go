package intake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// Subjects are the subjects that [Decode] understands, without prefix.
var Subjects = []string{
	"attacker.command", "attacker.session.ended", "attacker.observed", "attacker.auth", "attacker.http",
	"attacker.intel.enriched", "attacker.fingerprinted", "identity.formed", "identity.merged",
	"credential.reuse.detected", "email.received", "canary.*.triggered", "canary.*.placed", "canary.*.revoked",
}

// Decode reads the message that arrived on subject (without the configured
// prefix). The events are not anchored yet. An error is [ttp.Permanent] and
// does not quote the message.
func Decode(subject, text string) (*Message, error) {
	if len(text) > MaxMessage {
		return nil, ttp.Permanent(fmt.Errorf("message has %d bytes, more than the %d that are read", len(text), MaxMessage))
	}
	if !Handles(subject) {
		return nil, errSubject
	}
	env, err := ttp.ParseEnvelope(text)
	if err != nil {
		return nil, err
	}
	return DecodeEnvelope(subject, env)
}

var errSubject = ttp.Permanent(errors.New("no events are made of this subject"))

// Handles reports whether [Decode] knows what to make of a subject.
func Handles(subject string) bool { return slices.Contains(Subjects, generic(subject)) }

// DecodeEnvelope is [Decode] of a message whose envelope has been read.
func DecodeEnvelope(subject string, env ttp.Envelope) (*Message, error) {
	d := decoder{Message: &Message{Subject: subject}, env: env, payload: env.Payload}
	if err := d.read(generic(subject)); err != nil {
		return nil, ttp.Permanent(err)
	}
	return d.Message, nil
}

// generic replaces the token of a canary subject by "*".
func generic(subject string) string {
	if !strings.HasPrefix(subject, "canary.") {
		return subject
	}
	parts := strings.Split(subject, ".")
	if len(parts) != 3 || parts[1] == "" {
		return subject
	}
	return "canary.*." + parts[2]
}

type decoder struct {
	*Message
	env     ttp.Envelope
	payload ttp.Object
}

// read makes the events. It is no map of methods, since a decoder would then
// be memory for the collector with every message.
func (d *decoder) read(subject string) error {
	switch subject {
	case "attacker.command":
		return d.command()
	case "attacker.session.ended":
		return d.sessionEnded()
	case "attacker.observed":
		d.whole(ttp.Session)
		return nil
	case "attacker.auth":
		d.alone(ttp.AuthAttempt, "auth")
		return nil
	case "attacker.http":
		d.alone(ttp.HTTPRequest, "http")
		return nil
	case "attacker.intel.enriched":
		return d.intel()
	case "attacker.fingerprinted":
		return d.fingerprinted()
	case "identity.formed", "identity.merged":
		return d.identity()
	case "credential.reuse.detected":
		return d.credentialReuse()
	case "email.received":
		d.whole(ttp.Email)
		return nil
	case "canary.*.triggered":
		return d.canaryTriggered()
	case "canary.*.placed", "canary.*.revoked":
		return nil
	}
	return errSubject
}

// head makes the event that the payload as a whole is, without a source_id.
func (d *decoder) head(kind ttp.Kind) *Event {
	p := d.payload
	when := stampOf(p, entryTimes...)
	second := when.second
	if second == "" {
		when = stampOf(p, "ended_at", "occurred_at", "first_seen", "observed_at")
	}
	e := &Event{
		Event: ttp.Event{
			Kind:         kind,
			AttackerUUID: p.ID("attacker_uuid"),
			IdentityUUID: p.ID("identity_uuid"),
			SessionID:    p.ID("session_id"),
			DeckyID:      deckyOf(p),
			At:           when.at,
			Payload:      p,
		},
		Address: address(p.ID("attacker_ip", "src_ip")),
		second:  second,
	}
	if e.At.IsZero() {
		e.At = d.env.At
	}
	d.at = e.At
	d.Events = append(d.Events, e)
	return e
}

// entryTimes are the members that say when an entry happened.
var entryTimes = []string{"ts", "timestamp"}

// whole is head of what is known by the ids that its payload carries.
func (d *decoder) whole(kind ttp.Kind) *Event {
	e := d.head(kind)
	e.sourceID = d.genericID(e.Payload)
	return e
}

// alone is head of an entry that came by itself.
func (d *decoder) alone(kind ttp.Kind, suffix string) *Event {
	e := d.head(kind)
	if e.sourceID = e.ownID(); e.sourceID == nil {
		e.sourceID = placeID(d.genericID(e.Payload), suffix, 0)
	}
	return e
}

// genericID is the id of what has no id of its own kind: the first that is
// present of the ids a payload may carry, else the topic.
func (d *decoder) genericID(p ttp.Object) func(*Event) string {
	if id := p.ID("source_id", "session_id", "token_id", "identity_uuid", "credential_id"); id != "" {
		return fixedID(id)
	}
	topic := d.Subject
	return func(e *Event) string {
		return cmp.Or(e.AttackerUUID, p.ID("uuid"), topic)
	}
}

func (d *decoder) identity() error {
	e := d.whole(ttp.Identity)
	if e.IdentityUUID == "" {
		e.IdentityUUID = d.payload.ID("winner_uuid")
	}
	d.identityID = e.IdentityUUID
	return nil
}

func (d *decoder) intel() error {
	e := d.head(ttp.Intel)
	e.sourceID = (*Event).attacker
	d.intelOf = e.AttackerUUID
	return nil
}

func (d *decoder) command() error {
	if !d.alone(ttp.Command, "cmd").takeCommand() {
		return errors.New("no command text in command_text, text, command or cmd")
	}
	return nil
}

// lists are the lists of a session that are fanned out.
var lists = []struct {
	member string
	kind   ttp.Kind
	suffix string // of the ids of entries that have no time and no id
	text   string // the member that a bare string stands for
}{
	{"commands", ttp.Command, "cmd", "command_text"},
	{"auth_attempts", ttp.AuthAttempt, "auth", ""},
	{"http_requests", ttp.HTTPRequest, "http", "raw_url"},
}

func (d *decoder) sessionEnded() error {
	session := d.whole(ttp.Session)
	d.wantIntel = true
	for _, list := range lists {
		if !d.payload.Has(list.member) {
			continue
		}
		entries, ok := d.payload.List(list.member)
		if !ok {
			return fmt.Errorf("%s is not a list", list.member)
		}
		if len(d.Events)+len(entries) > maxEntries {
			return fmt.Errorf("more than %d entries in one session", maxEntries)
		}
		for i, entry := range entries {
			d.entry(session, list.kind, entry, list.text, list.suffix, i)
		}
	}
	countAttempts(d.Events)
	return nil
}

// entry makes an event of one entry of a session's list, or counts it as
// malformed. An entry whose text is empty is a line on which nothing was typed.
func (d *decoder) entry(session *Event, kind ttp.Kind, entry ttp.Value, textMember, suffix string, i int) {
	p, isObject := entry.Object()
	if text, isText := entry.Text(); isText && !isObject {
		if textMember == "" {
			d.Malformed++
			return
		}
		if text == "" {
			return
		}
		p = ttp.Object{{Name: textMember, Value: entry}}
	} else if !isObject {
		d.Malformed++
		return
	}
	when := stampOf(p, entryTimes...)
	e := &Event{
		Event: ttp.Event{
			Kind: kind, AttackerUUID: session.AttackerUUID, IdentityUUID: session.IdentityUUID,
			SessionID: session.SessionID, DeckyID: deckyOf(p), At: when.at, Payload: p,
		},
		Address: session.Address,
		second:  when.second,
	}
	if e.DeckyID == "" {
		e.DeckyID = session.DeckyID
	}
	if e.At.IsZero() {
		e.At = session.At
	}
	if kind == ttp.Command && !e.takeCommand() {
		if !hasCommandMember(p) {
			d.Malformed++
		}
		return
	}
	if e.sourceID = e.ownID(); e.sourceID == nil {
		e.sourceID = placeID(session.sourceID, suffix, i)
	}
	d.Events = append(d.Events, e)
}

var commandMembers = []string{"command_text", "text", "command", "cmd"}

// takeCommand sees to it that the command's text is under command_text.
func (e *Event) takeCommand() bool {
	if v, _ := e.Payload.Get(commandMembers[0]); v.IsText() && v != `""` {
		return true
	}
	text := e.Payload.Text(commandMembers...)
	if text == "" {
		return false
	}
	e.Payload = e.Payload.Set(commandMembers[0], ttp.Quote(text))
	return true
}

func hasCommandMember(p ttp.Object) bool {
	for _, name := range commandMembers {
		if v, ok := p.Get(name); ok && (v.IsText() || v.IsNull()) {
			return true
		}
	}
	return false
}

func deckyOf(p ttp.Object) string { return p.ID("decky_id", "decky", "decky_name") }

// stamp is a point in time as a producer wrote it.
type stamp struct {
	second string    // the wall-clock second as written, "2026-05-02T06:22:48"
	at     time.Time // in UTC
}

// stampOf returns the first of the named members that is a time. A time
// without a zone is UTC; a number is epoch seconds.
func stampOf(p ttp.Object, names ...string) stamp {
	for _, name := range names {
		v, ok := p.Get(name)
		if !ok {
			continue
		}
		if s, ok := stampIn(v); ok {
			return s
		}
	}
	return stamp{}
}

const secondLayout = "2006-01-02T15:04:05"

func stampIn(v ttp.Value) (stamp, bool) {
	text, _ := v.Text()
	wall, ok := ttp.WallClock(text)
	if !ok {
		return epochStamp(v)
	}
	second := text[:len(secondLayout)]
	if text[10] != 'T' {
		second = text[:10] + "T" + text[11:len(secondLayout)]
	}
	if rest := text[len(secondLayout):]; rest != "" {
		if at, err := time.Parse(time.RFC3339Nano, second+rest); err == nil {
			return stamp{second, at.UTC()}, true
		}
	}
	return stamp{second, wall}, true
}

// epochStamp reads epoch seconds.
func epochStamp(v ttp.Value) (stamp, bool) {
	seconds, ok := v.Float()
	if !ok || seconds <= 0 || seconds >= 1e11 {
		return stamp{}, false
	}
	at := time.UnixMicro(int64(seconds * 1e6)).UTC()
	return stamp{at.Format(secondLayout), at}, true
}
