package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// sessionList is a member of a session's payload that lists events. An entry
// that is a bare text stands for an event with that one member.
type sessionList struct {
	member string
	kind   ttp.Kind
	text   string
}

// sessionLists are in the order in which things happen if nothing says when.
var sessionLists = []sessionList{
	{"auth_attempts", ttp.AuthAttempt, ""},
	{"http_requests", ttp.HTTPRequest, "raw_url"},
	{"commands", ttp.Command, "command_text"},
}

func inSession(kind ttp.Kind) bool {
	return slices.ContainsFunc(sessionLists, func(l sessionList) bool { return l.kind == kind })
}

// maxEntries bounds how many entries of one list are looked at: the first half
// of them and the last half.
const maxEntries = 1024

// sessions is the rules over a session. What they know of it is in the event
// that ends it, so that nothing need be kept between events.
type sessions struct {
	matchers map[ttp.Kind]*matcher
	asked    map[ttp.Kind][]*asked // in the order of the matcher's rules
	memos    map[ttp.Kind]*memo[sighting]
	rules    []*sessionRule
}

// asked is a part of a session rule, or another rule that some ask for.
type asked struct {
	*definition
	fields []string // whose values the rules want to know
	reads  []field
}

type sessionRule struct {
	*definition
	asked    []*asked // by place in correlation.rules
	evidence []memberPath
	says     []ttp.Finding
}

// sighting is one event of a session that is what a rule asks for. The events
// of kind command are the simple commands of a line, or the line as a whole if
// none of them is it alone.
type sighting struct {
	*asked
	entry  int // in the order of the session
	record int // in the entry; 0 is the entry itself
	at     time.Time
	values []string // by asked.fields
	text   string
}

// newSessions returns the rules over sessions among rules, nil if there are
// none, and why some of them cannot be answered.
func newSessions(o Options, rules []*definition) (s *sessions, unanswered map[*definition]string) {
	s = &sessions{matchers: make(map[ttp.Kind]*matcher), asked: make(map[ttp.Kind][]*asked), memos: make(map[ttp.Kind]*memo[sighting])}
	unanswered = make(map[*definition]string)
	known := make(map[*definition]*asked)
	for _, d := range rules {
		if d.Status != Loaded || d.correlation == nil {
			continue
		}
		r, reason := s.resolve(d, rules, known)
		if reason != "" {
			unanswered[d] = reason
			continue
		}
		s.rules = append(s.rules, r)
	}
	if len(s.rules) == 0 {
		return nil, unanswered
	}
	for kind, list := range s.asked {
		definitions := make([]*definition, len(list))
		for i, a := range list {
			definitions[i] = a.definition
			for _, name := range a.fields {
				a.reads = append(a.reads, fieldOf(kind, name, false))
			}
		}
		m := newMatcher(Options{Expand: o.Expand}, kind, definitions)
		reads := append(m.reads(), shownOf(kind))
		for _, a := range list {
			reads = append(reads, a.reads...)
		}
		s.matchers[kind], s.memos[kind] = m, newMemo[sighting](o.Memo, reads)
	}
	return s, unanswered
}

// resolve finds what a rule asks for.
func (s *sessions) resolve(d *definition, rules []*definition, known map[*definition]*asked) (*sessionRule, string) {
	r := &sessionRule{definition: d, evidence: evidenceFields(ttp.Session, d), says: d.says()}
	var found []*definition
	for _, name := range d.correlation.rules {
		part, reason := findPart(name, d, rules)
		if reason != "" {
			return nil, reason
		}
		found = append(found, part)
	}
	for i, part := range found {
		a := known[part]
		if a == nil {
			a = &asked{definition: part}
			known[part] = a
			s.asked[part.Kinds[0]] = append(s.asked[part.Kinds[0]], a)
		}
		a.want(d.correlation, d.correlation.rules[i])
		r.asked = append(r.asked, a)
	}
	return r, ""
}

// findPart returns the part of d, or the rule, that has the name.
func findPart(name string, d *definition, rules []*definition) (*definition, string) {
	for _, part := range d.parts {
		if part.ID == name {
			return part, ""
		}
	}
	for _, other := range rules {
		if other.ID != name && other.name != name {
			continue
		}
		switch {
		case other.correlation != nil:
			return nil, "it correlates correlations"
		case other.detect == nil || other.Status == Refused:
			return nil, fmt.Sprintf("rule %.128q, which it needs, is %s", name, other.Status)
		case !inSession(other.Kinds[0]) || other.detect[other.Kinds[0]] == nil:
			return nil, fmt.Sprintf("a session has no events of kind %s, which rule %.128q is about", other.Kinds[0], name)
		}
		return other, ""
	}
	return nil, fmt.Sprintf("there is no rule %.128q, which it needs", name)
}

// ruleField is a field that every sighting has: the rule that it is of.
const ruleField = "rule"

func (a *asked) want(c *correlation, name string) {
	add := func(field string) {
		if field != ruleField && field != "" && !slices.Contains(a.fields, field) {
			a.fields = append(a.fields, field)
		}
	}
	add(c.field)
	for _, group := range c.groupBy {
		add(c.fieldOf(group, name))
	}
}

// value returns what a sighting has under a field.
func (s *sighting) value(field string) string {
	if field == ruleField {
		return s.ID
	}
	if i := slices.Index(s.fields, field); i >= 0 {
		return s.values[i]
	}
	return ""
}

// tag judges the session that ev ends.
func (s *sessions) tag(ev *ttp.Event) ([]ttp.Finding, error) {
	sightings, err := s.sightings(ev)
	var findings []ttp.Finding
	for _, r := range s.rules {
		if shown := r.judge(sightings); shown != nil {
			findings = append(findings, r.findings(ev, shown)...)
		}
	}
	if err != nil {
		err = ttp.Permanent(err)
	}
	return findings, err
}

// entry is one event that a session lists.
type entry struct {
	ttp.Event
	at time.Time
}

// entries returns the events that a session lists, in order of time if all of
// them say when they were.
func entries(p ttp.Object) []entry {
	var all []entry
	timed := true
	for _, list := range sessionLists {
		values, _ := p.List(list.member)
		if over := len(values) - maxEntries; over > 0 {
			values = slices.Delete(slices.Clone(values), maxEntries/2, maxEntries/2+over)
		}
		all = slices.Grow(all, len(values))
		for _, v := range values {
			payload, ok := v.Object()
			if _, isText := v.Text(); isText && !ok && list.text != "" {
				payload, ok = ttp.Object{{Name: list.text, Value: v}}, true
			}
			if !ok {
				continue
			}
			at, known := timeOf(payload)
			timed = timed && known
			all = append(all, entry{ttp.Event{Kind: list.kind, Payload: payload}, at})
		}
	}
	if timed {
		slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
		return all
	}
	for i := range all {
		all[i].at = time.Time{} // one without leaves the others nothing to be compared with
	}
	return all
}

func timeOf(p ttp.Object) (time.Time, bool) {
	for _, name := range []string{"ts", "timestamp"} {
		if v, ok := p.Get(name); ok {
			if at, ok := v.Time(); ok {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// maxSessionSearch bounds the bytes that tests of all entries of a session look
// at, beside the pass for literals.
const maxSessionSearch = 1 << 20

// sightings looks at every entry of the session.
func (s *sessions) sightings(ev *ttp.Event) (list []sighting, err error) {
	scratches := make(map[ttp.Kind]*scratch)
	budget := maxSessionSearch
	for i, e := range entries(ev.Payload) {
		m := s.matchers[e.Kind]
		if m == nil {
			continue
		}
		w := scratches[e.Kind]
		if w == nil {
			w = m.scratch.Get().(*scratch)
			scratches[e.Kind] = w
			defer m.put(w)
		}
		from := len(list)
		w.budget = budget
		list = s.lookAt(w, &e.Event, list)
		budget = w.budget
		for j := from; j < len(list); j++ {
			list[j].entry, list[j].at = i, e.at
		}
		if w.err != nil && err == nil {
			err = w.err
		}
	}
	return list, err
}

// lookAt appends the sightings in one entry to list.
func (s *sessions) lookAt(w *scratch, ev *ttp.Event, list []sighting) []sighting {
	w.err = nil
	memo, keyed := s.memos[ev.Kind], false
	if memo != nil {
		var known bool
		if w.key, keyed = memo.appendKey(w.key[:0], ev.Payload); keyed {
			if list, known = memo.get(list, w.key); known {
				return list
			}
		}
	}
	var found []sighting
	w.visit = func(rule int32, record int) {
		found = append(found, w.sighting(s.asked[ev.Kind][rule], record))
	}
	w.look(ev)
	found = ownCommands(found)
	if keyed && w.err == nil && w.budget >= 0 {
		memo.put(w.key, found)
	}
	return append(list, found...)
}

func (m *matcher) put(s *scratch) {
	s.visit = nil
	s.idle()
	m.scratch.Put(s)
}

// ownCommands leaves out the sightings in a line as a whole of what was seen in
// one of its commands.
func ownCommands(list []sighting) []sighting {
	inside := func(a *asked) bool {
		return slices.ContainsFunc(list, func(s sighting) bool { return s.asked == a && s.record > 0 })
	}
	var kept []sighting
	for _, s := range list {
		if s.record > 0 || !inside(s.asked) {
			kept = append(kept, s)
		}
	}
	slices.SortStableFunc(kept, func(a, b sighting) int { return cmp.Compare(a.record, b.record) })
	return kept
}

// sighting makes one of the current record. Its texts are its own.
func (s *scratch) sighting(a *asked, record int) sighting {
	seen := sighting{asked: a, record: record, values: make([]string, len(a.reads))}
	for i := range a.reads {
		var v values
		a.reads[i].read(&s.ev, &v)
		if len(v.list) > 0 {
			seen.values[i] = strings.Clone(clip(v.list[0]))
		}
	}
	var v values
	shownOf(s.kind).read(&s.ev, &v)
	seen.text = strings.Clone(strings.TrimSpace(clip(strings.Join(v.list, " "))))
	return seen
}

// shownOf is what is shown of an event of that kind.
func shownOf(kind ttp.Kind) field {
	switch kind {
	case ttp.Command:
		return fieldOf(kind, "CommandLine", false)
	case ttp.HTTPRequest:
		return firstTexts([]string{"method"}, urlMembers)
	}
	return firstTexts([]string{"service"}, []string{"username", "user"}, []string{"result"})
}

// firstTexts is the first text of each of the lists of members.
func firstTexts(members ...[]string) field {
	return field{uses: slices.Concat(members...), read: func(ev *event, v *values) {
		for _, names := range members {
			v.addText(ev.payload.Text(names...))
		}
	}}
}

// maxSighting bounds a text that is kept of a sighting, in bytes.
const maxSighting = 512

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxSighting)], "") }
