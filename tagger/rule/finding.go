package rule

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"ttp-worker/ttp"
)

// maxEvidence bounds one text in a finding's evidence, in bytes.
const maxEvidence = 4096

// tag looks at one event.
func (m *matcher) tag(ev *ttp.Event) ([]ttp.Finding, error) {
	s := m.scratch.Get().(*scratch)
	defer m.put(s)
	s.recall(ev)
	var err error
	if s.err != nil {
		err = ttp.Permanent(s.err)
	}
	if len(s.hits) == 0 {
		return nil, err
	}
	return s.findings(ev), err
}

// recall is look with the memo in front of it.
func (s *scratch) recall(ev *ttp.Event) {
	if s.memo == nil {
		s.look(ev)
		return
	}
	key, ok := s.memo.appendKey(s.key[:0], ev.Payload)
	s.key = key
	if !ok {
		s.look(ev)
		return
	}
	if s.hits, ok = s.memo.get(s.hits[:0], key); ok {
		s.err = nil
		return
	}
	s.look(ev)
	if s.err == nil {
		s.memo.put(key, s.hits)
	}
}

// shown is evidence that was made for one rule of an event and is good for
// others.
type shown struct {
	list  int32 // see compiled.shows
	match ttp.Value
	ttp.Object
}

func (s *scratch) findings(ev *ttp.Event) []ttp.Finding {
	n := 0
	for i := range s.hits {
		n += len(s.rules[s.hits[i].rule].says)
	}
	list := make([]ttp.Finding, 0, n)
	for _, h := range s.hits {
		r := s.rules[h.rule]
		list = appendSaid(list, r.says, s.evidence(ev, r, h.match))
	}
	return list
}

// evidence returns what the event has of the rule's evidence, which rules that
// show the same share.
func (s *scratch) evidence(ev *ttp.Event, r *compiled, match ttp.Value) ttp.Object {
	for i := range s.shown {
		if s.shown[i].list == r.shows && s.shown[i].match == match {
			return s.shown[i].Object
		}
	}
	o := s.evidenceOf(r, ev, match)
	s.shown = append(s.shown, shown{r.shows, match, o})
	return o
}

// aboutCommand is what a finding about a command says of where it was typed.
var aboutCommand = []string{"uid", "user", "src", "pwd"}

// private are payload members that never become evidence, whatever a rule says.
var private = []string{
	"password", "passwd", "body", "body_text", "body_html", "html", "note_text",
}

// privateInMail are members of kind email that are addresses.
var privateInMail = []string{
	"from", "to", "cc", "bcc", "sender", "mail_from", "rcpt_to", "rcpts", "recipients", "reply_to", "return_path",
}

// evidenceFields returns the payload members that a finding of d copies.
func evidenceFields(kind ttp.Kind, d *definition) []memberPath {
	var list []string
	if kind == ttp.Command && d.Format != DECNET {
		list = append(list, "command_text")
	}
	list = append(list, d.Evidence...)
	if kind == ttp.Command {
		list = append(list, aboutCommand...)
	} else if d.Format != DECNET && len(d.Evidence) == 0 {
		list = append(list, detectedFields(kind, d)...)
	}
	var kept []memberPath
	for _, name := range list {
		if p := pathOf(name); !isPrivate(kind, name) && !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// detectedFields returns the payload members that the detection is about.
func detectedFields(kind ttp.Kind, d *definition) []string {
	var list []string
	for _, name := range d.fields {
		shows := fieldOf(kind, name, false).shows
		if shows == "" {
			shows = defaultField[kind]
		}
		if shows != "" {
			list = append(list, shows)
		}
	}
	return list
}

func isPrivate(kind ttp.Kind, name string) bool {
	name = strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	return slices.Contains(private, name) || kind == ttp.Email && slices.Contains(privateInMail, name)
}

// showsMatch reports whether the simple command that matched is evidence.
func (r *compiled) showsMatch() bool { return r.Format != DECNET }

// evidenceOf copies what the event has of the rule's evidence. Match is the
// simple command that matched, "" if it was the event itself.
func (s *scratch) evidenceOf(r *compiled, ev *ttp.Event, match ttp.Value) ttp.Object {
	s.object = s.object[:0]
	for _, p := range r.evidence {
		if v, ok := evidenceValue(ev, p); ok {
			s.object = append(s.object, ttp.Member{Name: p.name, Value: s.cut(v)})
		}
	}
	if match != "" && r.showsMatch() {
		s.object = append(s.object, ttp.Member{Name: "match", Value: match})
	}
	evidence := slices.Clip(slices.Clone(s.object))
	clear(s.object)
	return evidence
}

// cut is the function cut, once for each long value of an event.
func (s *scratch) cut(v ttp.Value) ttp.Value {
	if len(v) <= maxEvidence {
		return v
	}
	for _, known := range s.cuts {
		if known[0] == v {
			return known[1]
		}
	}
	short := cut(v)
	s.cuts = append(s.cuts, [2]ttp.Value{v, short})
	return short
}

// evidenceValue returns a member of the payload, or what stands in for it.
func evidenceValue(ev *ttp.Event, p memberPath) (ttp.Value, bool) {
	if v, ok := p.in(ev.Payload); ok {
		return v, true
	}
	s := ""
	switch {
	case p.name == "command_text" && ev.Kind == ttp.Command:
		s = ev.Payload.Text(lineMembers...)
	case p.name == "raw_url" && ev.Kind == ttp.HTTPRequest:
		s = ev.Payload.Text(urlMembers...)
	}
	if s == "" {
		return "", false
	}
	return ttp.Quote(s), true
}

// cut bounds a value. One that is not a string becomes one if it has to be cut.
func cut(v ttp.Value) ttp.Value {
	if len(v) <= maxEvidence {
		return v
	}
	s, ok := v.Text()
	if !ok {
		s = string(v)
	}
	if len(s) <= maxEvidence {
		return v
	}
	return ttp.Quote(cutText(s))
}

// cutText bounds s and says how long it was.
func cutText(s string) string {
	if len(s) <= maxEvidence {
		return s
	}
	n := maxEvidence
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s…[cut, %d bytes]", s[:n], len(s))
}
