package rule

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ttp-worker/ttp"
)

// Explanation is why a rule did or did not match an event.
type Explanation struct {
	Rule    Info
	Matched bool

	// Record is the simple command that the trace is about, "" if it is the
	// event itself: the one that matched, else the one that came closest.
	Record string

	// Near is how many of the rule's tests are true there.
	Near  int
	Trace Trace

	// Cut says that the event is too large for every test to be asked of all of
	// it. Matched is right all the same.
	Cut bool
}

// Trace is what became of one part of a rule's condition.
type Trace struct {
	Selection string   // the name of the selection that this is, "" if it is none
	Asked     string   // "all of", "any of", "not", "2 of", or of a test what it asks, such as "program is"
	Wanted    string   // of a test what it compares with, such as `"find"`
	Saw       []string // of a test the values that it was asked of, bounded
	Holds     bool
	Parts     []Trace // of what is no test
}

// Bounds of what a trace quotes: attackers write the values.
const (
	maxSeen     = 4
	maxSeenText = 200
)

// Explain says of every rule for the kind of ev how it came out. Which rules
// match is found out as for a tag; every test of every rule is then asked again,
// slowly: some 10 ms for a line, some 0.5 s for the worst of 64 KiB. The order is
// that of the rule ids.
func (s *Set) Explain(ev *ttp.Event) []Explanation {
	var list []Explanation
	if m := s.matchers[ev.Kind]; m != nil {
		list = m.explain(ev)
	}
	if ev.Kind == ttp.Session && s.sessions != nil {
		list = append(list, s.sessions.explain(ev)...)
		slices.SortStableFunc(list, func(a, b Explanation) int { return cmp.Compare(a.Rule.ID, b.Rule.ID) })
	}
	return list
}

// explain says of each rule over a session which of its parts were seen.
func (s *sessions) explain(ev *ttp.Event) []Explanation {
	all, _ := s.sightings(ev) // what a search that gave up would have found is not seen
	list := make([]Explanation, len(s.rules))
	for i, r := range s.rules {
		e := Explanation{Rule: r.Info, Matched: r.judge(all) != nil, Trace: Trace{Asked: r.correlation.String()}}
		e.Trace.Holds = e.Matched
		for _, a := range r.asked {
			part := Trace{Selection: a.ID, Asked: "is seen"}
			for _, seen := range all {
				if seen.asked != a {
					continue
				}
				part.Holds = true
				if len(part.Saw) < maxSeen {
					part.Saw = append(part.Saw, bounded(seen.text))
				}
			}
			if part.Holds {
				e.Near++
			}
			e.Trace.Parts = append(e.Trace.Parts, part)
		}
		list[i] = e
	}
	return list
}

// records returns the event and, of a command, each simple command in it.
func (m *matcher) records(ev *ttp.Event) []event {
	records := []event{{payload: ev.Payload}}
	if m.kind != ttp.Command {
		return records
	}
	records[0].line = ev.Payload.Text(lineMembers...)
	if m.expand == nil || records[0].line == "" {
		return records
	}
	commands := m.expand()(records[0].line)
	for i := range commands {
		records = append(records, event{payload: ev.Payload, line: records[0].line, simple: &commands[i]})
	}
	return records
}

// Bounds of an explanation, in bytes that are looked at. A test costs something
// even where it has nothing to look at.
const (
	maxExplained = 32 << 20
	testCost     = 64
)

// explainer asks the tests of rules of the records of one event.
type explainer struct {
	kind    ttp.Kind
	records []event
	budget  int
}

// explain explains the rules that match first: what they leave of the budget is
// for how close the others came.
func (m *matcher) explain(ev *ttp.Event) []Explanation {
	x := explainer{kind: m.kind, records: m.records(ev), budget: maxExplained}
	where := m.where(ev)
	list := make([]Explanation, len(m.rules))
	for i, r := range m.rules {
		list[i] = Explanation{Rule: r.Info, Near: -1}
		if at, ok := where[int32(i)]; ok {
			x.look(&list[i], r.definition, at)
			list[i].Matched = true
		}
	}
	for i, r := range m.rules {
		for at := 0; at < len(x.records) && !list[i].Matched; at++ {
			if at > 0 && x.budget < 0 {
				break
			}
			x.look(&list[i], r.definition, at)
		}
	}
	return list
}

// where returns the first record that each rule matches, by its number.
func (m *matcher) where(ev *ttp.Event) map[int32]int {
	s := m.scratch.Get().(*scratch)
	defer m.put(s)
	first := make(map[int32]int)
	s.visit = func(rule int32, record int) {
		if _, ok := first[rule]; !ok {
			first[rule] = record
		}
	}
	s.budget = maxSearch
	s.look(ev)
	return first
}

// look asks the rule of a record. The explanation becomes one about that record
// if it comes closer there.
func (x *explainer) look(best *Explanation, d *definition, at int) {
	r := &x.records[at]
	trace := x.trace(d.detect[x.kind], r)
	best.Cut = best.Cut || x.budget < 0
	near := trace.near()
	if closer := near - best.Near; closer < 0 || closer == 0 && trace.seen() <= best.Trace.seen() {
		return
	}
	best.Near, best.Trace, best.Record = near, trace, ""
	if r.simple != nil {
		best.Record = r.simple.Text
	}
}

// near counts the tests that are true, those that are to be false left out.
func (t *Trace) near() (n int) {
	if len(t.Parts) == 0 && t.Holds {
		return 1
	}
	if t.Asked == askedNot {
		return 0
	}
	for i := range t.Parts {
		n += t.Parts[i].near()
	}
	return n
}

// seen counts the tests that had something to look at.
func (t *Trace) seen() (n int) {
	if t.Saw != nil {
		n = 1
	}
	for i := range t.Parts {
		n += t.Parts[i].seen()
	}
	return n
}

const (
	askedNot = "not"
	askedAny = "any of"
)

func (x *explainer) trace(e *expr, r *event) Trace {
	if e.op == opTest {
		t := x.ask(e.test, r)
		t.Selection = e.name
		return t
	}
	t := Trace{Selection: e.name, Parts: make([]Trace, len(e.parts))}
	held := 0
	for i, part := range e.parts {
		t.Parts[i] = x.trace(part, r)
		if t.Parts[i].Holds {
			held++
		}
	}
	switch e.op {
	case opAnd:
		t.Asked, t.Holds = "all of", held == len(e.parts)
	case opNot:
		t.Asked, t.Holds = askedNot, held == 0
	case opAtLeast:
		t.Asked, t.Holds = strconv.Itoa(e.n)+" of", held >= e.n
	default:
		t.Asked, t.Holds = askedAny, held > 0
	}
	return t
}

// ask asks a test of a record. What the budget does not allow for does not hold.
func (x *explainer) ask(t *test, r *event) Trace {
	var trace Trace
	trace.Asked, trace.Wanted = t.question()
	if x.budget -= testCost; x.budget < 0 {
		return trace
	}
	var v, other values
	fieldOf(x.kind, t.field, t.strict).read(r, &v)
	if t.how >= refContains {
		fieldOf(x.kind, t.text, t.strict).read(r, &other)
	}
	for _, value := range v.list {
		if len(trace.Saw) < maxSeen {
			trace.Saw = append(trace.Saw, bounded(value))
		}
	}
	switch t.how {
	case exists:
		trace.Holds = v.present
	case missing, isNull:
		trace.Holds = !v.present
	default:
		for _, value := range v.list {
			trace.Holds = trace.Holds || t.isTrueOf(value, other.list, &x.budget)
		}
	}
	return trace
}

func bounded(s string) string {
	if len(s) <= maxSeenText {
		return s
	}
	return strings.ToValidUTF8(s[:maxSeenText], "") + "…"
}

// isTrueOf reports whether the test is true of one value of its field; others
// are the values of the field that it compares with, if it does. What that costs
// is taken from the budget.
func (t *test) isTrueOf(value string, others []string, budget *int) bool {
	switch t.how {
	case matches:
		found, err := t.pattern.search(value, budget)
		return found && err == nil
	case inNetwork:
		addr, err := netip.ParseAddr(value)
		return err == nil && t.network.Contains(addr.Unmap())
	case less, lessOrEqual, greater, greaterOrEqual:
		n, ok := decimal(value)
		return ok && t.how.order(n, t.number)
	}
	compare := t.how
	if compare >= refContains {
		compare -= refContains
	} else {
		others = []string{t.text}
	}
	for _, other := range others {
		if *budget -= testCost + len(value) + len(other); *budget < 0 {
			return false
		}
		if t.cased && compare.compare(value, other) || !t.cased && compare.compare(fold(value), fold(other)) {
			return true
		}
	}
	return false
}

var hows = map[how]string{
	contains: "contains", startsWith: "starts with", endsWith: "ends with", equals: "is", matches: "matches", inNetwork: "is in",
	less: "<", lessOrEqual: "<=", greater: ">", greaterOrEqual: ">=", exists: "is there", missing: "is not there", isNull: "is null or not there",
	refContains: "contains the field", refStartsWith: "starts with the field", refEndsWith: "ends with the field", refEquals: "is the same as the field",
}

// question says what the test asks and what it compares with.
func (t *test) question() (asked, wanted string) {
	field := t.field
	if field == anyText {
		field = "any text"
	}
	asked = field + " " + hows[t.how]
	switch t.how {
	case exists, missing, isNull:
		return asked, ""
	case matches:
		return asked, "/" + strings.TrimPrefix(t.text, "python:") + "/"
	case less, lessOrEqual, greater, greaterOrEqual, inNetwork:
		return asked, t.text
	}
	if t.cased {
		asked += " (case counts)"
	}
	return asked, strconv.Quote(t.text)
}

// Missing returns what keeps the part from holding: the tests that would have
// to come out otherwise, of alternatives those of the closest.
func (t *Trace) Missing() []Trace {
	switch {
	case t.Holds:
		return nil
	case len(t.Parts) == 0 || t.Asked == askedNot:
		return []Trace{*t}
	case t.Asked == askedAny:
		return t.closest().Missing()
	}
	var list []Trace
	for i := range t.Parts {
		list = append(list, t.Parts[i].Missing()...)
	}
	return list
}

func (t *Trace) closest() *Trace {
	best := &t.Parts[0]
	for i := range t.Parts {
		if t.Parts[i].near() > best.near() {
			best = &t.Parts[i]
		}
	}
	return best
}

// DefaultField is the payload member that a single text stands for in events
// of that kind, "" if there is none.
func DefaultField(kind ttp.Kind) string { return defaultField[kind] }
