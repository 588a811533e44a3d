package logfile

import (
	"strings"
	"time"

	"ttp-worker/ttp"
)

// session is what is known of one session of Cowrie.
type session struct {
	key     sessionKey
	begun   Mark
	first   time.Time
	ended   ttp.Value // the time of the last event, as it was written
	last    time.Time
	seconds ttp.Value // its duration, as the sensor says

	address, service, version, hassh string

	commands, logins                []ttp.Value
	downloads, forwards             []ttp.Value // of many the first
	downloaded, uploaded, forwarded int

	failed  int                        // logins
	guessed map[string]map[string]bool // passwords by user name
	guesses int                        // all of these
	size    int                        // bytes of commands and logins
	more    int                        // bytes of what else there is any number of
}

// sessionBytes is about what a session takes that holds nothing yet.
const sessionBytes = 1 << 10

// held is about how many bytes the session takes.
func (s *session) held() int {
	n := sessionBytes + s.size + s.more
	for _, text := range [...]string{s.key.sensor, s.key.id, s.address, s.service, s.version, s.hassh, string(s.ended), string(s.seconds)} {
		n += len(text)
	}
	return n
}

const (
	maxListed  = 100   // downloads and forwards of a session, each; all are counted
	maxGuesses = 1_000 // different logins of a session that are told apart
	manyFailed = 3     // failed logins before one that succeeds, to say it was guessed
)

// cowrieEvents are the events that are of use.
var cowrieEvents = map[string]func(*session, ttp.Object){
	"session.connect":       func(*session, ttp.Object) {},
	"client.version":        func(s *session, o ttp.Object) { s.version = clone(o.Text("version")) },
	"client.kex":            func(s *session, o ttp.Object) { s.hassh = clone(o.Text("hassh")) },
	"command.input":         (*session).command,
	"login.success":         func(s *session, o ttp.Object) { s.login(o, "success") },
	"login.failed":          func(s *session, o ttp.Object) { s.login(o, "failure") },
	"session.file_download": (*session).download,
	"session.file_upload":   (*session).upload,
	"direct-tcpip.request":  (*session).forward,
	"session.closed":        func(s *session, o ttp.Object) { s.seconds = ttp.Value(clone(string(get(o, "duration")))) },
}

func get(o ttp.Object, name string) ttp.Value { v, _ := o.Get(name); return v }

// clone copies a part of a line, which else would be kept whole, and bounds it.
func clone(s string) string { return strings.Clone(s[:min(len(s), 4096)]) }

// note takes what any event says of its session.
func (s *session) note(o ttp.Object, when time.Time) {
	s.last, s.ended = when, ttp.Value(clone(string(get(o, "timestamp"))))
	if s.address == "" {
		s.address = clone(o.Text("src_ip"))
	}
	if s.service == "" {
		s.service = serviceOf(o)
	}
}

// serviceOf returns the service an event is of, "" if it does not say so.
func serviceOf(o ttp.Object) string {
	port, _ := o.Int("dst_port")
	switch {
	case o.Text("protocol") != "":
		return clone(o.Text("protocol"))
	case strings.Contains(o.Text("system"), "Telnet"), o.Text("eventid") == "cowrie.session.connect" && (port == 23 || port == 2223):
		return "telnet"
	case strings.Contains(o.Text("system"), "SSH"), strings.HasPrefix(o.Text("eventid"), "cowrie.client."), port == 22 || port == 2222:
		return "ssh"
	}
	return ""
}

// command takes a line that was typed. What Cowrie made of it is in events of
// their own, which would tell the same command again.
func (s *session) command(o ttp.Object) {
	if o.Text("input") == "" {
		return // nothing but Enter
	}
	entry := members{}
	entry.value("command_text", get(o, "input"))
	s.commands = s.keep(s.commands, entry, o)
}

func (s *session) login(o ttp.Object, result string) {
	user, password := o.Text("username"), o.Text("password")
	entry := members{}
	entry.text("username", user)
	entry.text("password", password)
	entry.text("service", s.service)
	entry.text("result", result)
	if result == "failure" {
		s.failed++
		s.guess(clone(user), clone(password))
	}
	entry.number("fail_count", s.failed)
	entry.number("password_count", len(s.guessed[user]))
	if result == "success" && s.failed >= manyFailed {
		entry.value("prior_brute", ttp.Bool(true))
	}
	s.logins = s.keep(s.logins, entry, o)
}

func (s *session) guess(user, password string) {
	if s.guesses == maxGuesses || s.guessed[user][password] {
		return
	}
	if s.guessed == nil {
		s.guessed = make(map[string]map[string]bool)
	}
	if s.guessed[user] == nil {
		s.guessed[user] = make(map[string]bool)
	}
	s.guessed[user][password] = true
	s.guesses++
	s.more += guessBytes + len(user) + len(password)
}

// guessBytes is about what the two maps take for a login that was tried.
const guessBytes = 128

// keep adds an entry, with its time as it was written.
func (s *session) keep(list []ttp.Value, entry members, o ttp.Object) []ttp.Value {
	entry.value("ts", get(o, "timestamp"))
	value := entry.json()
	s.size += len(value)
	return append(list, value)
}

// download takes a file that was fetched or copied to the honeypot.
func (s *session) download(o ttp.Object) {
	s.downloaded++
	s.file(o, "url", "destfile")
}

func (s *session) upload(o ttp.Object) {
	s.uploaded++
	s.file(o, "filename")
}

func (s *session) file(o ttp.Object, names ...string) {
	if len(s.downloads) == maxListed {
		return
	}
	entry := members{}
	for _, name := range append(names, "shasum") {
		entry.text(name, clone(o.Text(name)))
	}
	s.downloads = s.list(s.downloads, entry)
}

// forward takes a connection that the honeypot was asked to make.
func (s *session) forward(o ttp.Object) {
	s.forwarded++
	if len(s.forwards) == maxListed {
		return
	}
	entry := members{}
	entry.text("dst_ip", clone(o.Text("dst_ip")))
	entry.value("dst_port", ttp.Value(clone(string(get(o, "dst_port")))))
	s.forwards = s.list(s.forwards, entry)
}

func (s *session) list(list []ttp.Value, entry members) []ttp.Value {
	value := entry.json()
	s.more += len(value)
	return append(list, value)
}

// head returns the members that every record of the session has.
func (s *session) head() members {
	m := members{make(ttp.Object, 0, 20)}
	m.text("session_id", s.key.id)
	m.text("attacker_ip", s.address)
	m.text("decky_id", s.key.sensor)
	m.text("service", s.service)
	return m
}

// record returns the session as the message that tells its end.
func (s *session) record() Record {
	m := s.head()
	m.value("ended_at", s.ended)
	if _, ok := s.seconds.Float(); ok {
		m.value("duration_s", s.seconds)
	} else {
		m.value("duration_s", ttp.Float(s.last.Sub(s.first).Seconds()))
	}
	m.value("commands", array(s.commands))
	m.text("client_version", s.version)
	m.text("hassh", s.hassh)
	for _, list := range []struct {
		name   string
		values []ttp.Value
	}{{"auth_attempts", s.logins}, {"files", s.downloads}, {"forwards", s.forwards}} {
		if len(list.values) > 0 {
			m.value(list.name, array(list.values))
		}
	}
	for _, count := range []struct {
		name string
		n    int
	}{{"download_count", s.downloaded}, {"upload_count", s.uploaded}, {"forward_count", s.forwarded}, {"fail_count", s.failed}} {
		if count.n > 0 {
			m.number(count.name, count.n)
		}
	}
	return made("attacker.session.ended", s.last, m.Object)
}

// spill hands out what was done so far as messages of their own, which are
// tagged as they are in the session's.
func (s *session) spill(queue *[]Record) {
	for _, part := range []struct {
		subject string
		entries []ttp.Value
	}{{"attacker.command", s.commands}, {"attacker.auth", s.logins}} {
		for _, entry := range part.entries {
			m := s.head()
			o, _ := entry.Object()
			for _, member := range o {
				m.Object = m.Set(member.Name, member.Value)
			}
			*queue = append(*queue, made(part.subject, s.last, m.Object))
		}
	}
	s.commands, s.logins, s.size = nil, nil, 0
}

// array joins values to a list.
func array(values []ttp.Value) ttp.Value {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(v))
	}
	b.WriteByte(']')
	return ttp.Value(b.String())
}
