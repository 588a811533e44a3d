package rule

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// hit is a rule that matches, and the simple command that made it match, as
// JSON; "" if it was the event itself.
type hit struct {
	rule  int32
	match ttp.Value
}

// scratch is what one goroutine writes while it looks at one event. What is
// known of an atom or a literal is kept with the epoch it is true of, so that
// nothing need be cleared between events.
type scratch struct {
	*matcher
	ev     event
	expand func(line string) []shell.Command
	values []values                            // by slot, as of the epoch
	read   []uint64                            // by slot: the epoch
	layout layout                              // of the text that is being scanned
	only   part                                // if that is not the text of a record: the part that it is
	images map[string]string                   // see event
	names  [parentName + 1]map[string]*outcome // what is seen in simple commands, by naming and name
	noting *outcome                            // what is seen is entered here, too, if it is not nil

	quiet [][]uint64 // by automaton and state from ends on: the text in which it has no more to say
	text  uint64     // that is being scanned

	clock      uint64
	whole      uint64   // epoch of the event
	record     uint64   // epoch of the current record
	known      []uint64 // by atom: epoch<<1, and 1 if it is true
	seen       []uint64 // by literal: epoch
	shared     bitset   // candidates by what all records have in common
	candidates bitset   // clauses
	matched    bitset   // rules

	hits   []hit
	folded []byte
	key    []byte
	shown  []shown
	object ttp.Object     // evidence that is being made
	cuts   [][2]ttp.Value // long values of the event, and what is shown of them

	// visit, if set, is told of every record that a rule matches in place of
	// there being a hit for the first. Record 0 is the event itself.
	visit  func(rule int32, record int)
	number int // of the record

	budget    int   // bytes that may still be searched
	undecided bool  // the clause being looked at needed more
	err       error // the first search that gave up
}

// maxSearch bounds the bytes that tests of one event look at, beside the pass
// for literals. It is linesSearched times a line of 64 KiB, and some 2.5 ms; of
// a longer line it is more.
const (
	maxSearch     = linesSearched << 16
	linesSearched = 10
)

func newScratch(m *matcher) *scratch {
	s := &scratch{
		matcher:    m,
		values:     make([]values, len(m.slots)),
		read:       make([]uint64, len(m.slots)),
		images:     make(map[string]string),
		names:      [...]map[string]*outcome{ownName: make(map[string]*outcome), parentName: make(map[string]*outcome)},
		known:      make([]uint64, len(m.atoms)),
		seen:       make([]uint64, len(m.leads)),
		shared:     newBitset(len(m.clauses)),
		candidates: newBitset(len(m.clauses)),
		matched:    newBitset(len(m.rules)),
	}
	for _, a := range m.automata {
		s.quiet = append(s.quiet, make([]uint64, len(a.bounds)))
	}
	if m.expand != nil {
		s.expand = m.expand()
	}
	return s
}

// maxIdle bounds the memory that an idle scratch keeps, in bytes.
const maxIdle = 64 << 10

// idle lets go of the event.
func (s *scratch) idle() {
	if s.ev.payload != nil {
		s.forget()
	}
	clear(s.hits)
	clear(s.shown)
	clear(s.cuts)
	s.hits, s.shown, s.cuts = s.hits[:0], s.shown[:0], s.cuts[:0]
}

// forget lets go of what was looked at.
func (s *scratch) forget() {
	s.ev = event{}
	if cap(s.folded) > maxIdle {
		s.folded = nil
	}
	if len(s.images) > maxImages {
		clear(s.images)
	}
	for i := range s.values {
		clear(s.values[i].list)
	}
}

// look finds the rules that match the event, sorted.
func (s *scratch) look(ev *ttp.Event) {
	s.hits, s.err, s.number = s.hits[:0], nil, -1
	if s.visit == nil {
		s.budget = maxSearch
	}
	s.ev = event{payload: ev.Payload, images: s.images}
	if s.kind == ttp.Command {
		s.ev.line = ev.Payload.Text(lineMembers...)
		s.budget = max(s.budget, linesSearched*len(s.ev.line))
	}
	s.clock++
	s.whole = s.clock
	clear(s.matched)
	copy(s.shared, s.always)
	for _, i := range s.eventSlots {
		s.scan(i, s.whole, s.shared)
	}
	s.lookAt(nil)
	if s.expand != nil && s.ev.line != "" && s.perRecord.any() {
		commands := s.expand(s.ev.line)
		for i := range commands {
			s.lookAt(&commands[i])
		}
	}
	slices.SortFunc(s.hits, func(a, b hit) int { return int(a.rule) - int(b.rule) })
}

// lookAt evaluates the clauses for one record: the event as it is, or a simple
// command.
func (s *scratch) lookAt(c *shell.Command) {
	s.ev.simple = c
	s.number++
	if s.visit != nil {
		clear(s.matched)
	}
	s.clock++
	s.record = s.clock
	copy(s.candidates, s.shared)
	for _, i := range s.recordSlots(c) {
		s.scan(i, s.record, s.candidates)
	}
	if c == nil {
		s.candidates.join(s.shared) // the line was scanned as that of a record
	} else {
		s.scanNamed(ownName, s.candidates)
		s.scanNamed(parentName, s.candidates)
		s.candidates.keep(s.perRecord)
	}
	match := ttp.Value("")
	for w, word := range s.candidates {
		for ; word != 0; word &= word - 1 {
			clause := &s.clauses[w<<6+bits.TrailingZeros64(word)]
			if !s.isNews(clause) || !s.matches(clause) {
				continue
			}
			if c != nil && match == "" && s.visit == nil {
				match = ttp.Quote(cutText(c.Text))
			}
			s.add(clause, match)
		}
	}
}

func (s *scratch) recordSlots(c *shell.Command) []int32 {
	if c != nil {
		return s.commandSlots
	}
	for i := range s.ev.payload {
		if s.sensors[s.ev.payload[i].Name] {
			return s.sensorSlots
		}
	}
	return s.lineSlots
}

// isNews reports whether some rule of the clause has not matched yet.
func (s *scratch) isNews(c *clause) bool {
	return slices.ContainsFunc(c.rules, func(i int32) bool { return !s.matched.has(i) })
}

// matches reports whether a clause is true. One that cannot be told with what
// is left of the budget is not.
func (s *scratch) matches(c *clause) bool {
	s.undecided = false
	return s.holds(&c.root) && !s.undecided
}

func (s *scratch) add(c *clause, match ttp.Value) {
	for _, i := range c.rules {
		if !s.matched.has(i) {
			s.matched.add(i)
			if s.visit != nil {
				s.visit(i, s.number)
				continue
			}
			s.hits = append(s.hits, hit{i, match})
		}
	}
}

func (s *scratch) holds(n *node) bool {
	switch n.op {
	case opTest:
		if !n.plain {
			return s.truth(n.atom)
		}
		epoch := s.whole
		if n.perRecord {
			epoch = s.record
		}
		return s.known[n.atom] == epoch<<1|1
	case opNot:
		return !s.holds(&n.parts[0])
	case opAnd:
		for i := range n.parts {
			if !s.holds(&n.parts[i]) {
				return false
			}
		}
		return true
	}
	want := max(n.n, 1) // of opOr one
	for i := range n.parts {
		if s.holds(&n.parts[i]) {
			if want--; want == 0 {
				return true
			}
		}
	}
	return false
}

func (s *scratch) epoch(slot int32) uint64 {
	if s.slots[slot].perRecord {
		return s.record
	}
	return s.whole
}

func (s *scratch) truth(i int32) bool {
	a := &s.atoms[i]
	epoch := s.epoch(a.slot)
	if s.known[i]>>1 == epoch && a.how < refContains {
		return s.known[i]&1 != 0
	}
	if !s.possible(a, epoch) {
		return false
	}
	found := s.verify(a)
	if s.undecided {
		return false
	}
	s.known[i] = epoch << 1
	if found {
		s.known[i]++
	}
	return found
}

// possible reports whether of each group of literals one was seen.
func (s *scratch) possible(a *atom, epoch uint64) bool {
	for _, group := range a.groups {
		if !slices.ContainsFunc(group, func(id int32) bool { return s.seen[id] == epoch }) {
			return false
		}
	}
	return true
}

// verify asks a test of the values themselves.
func (s *scratch) verify(a *atom) bool {
	v := s.valuesOf(a.slot)
	switch a.how {
	case exists:
		return v.present
	case missing, isNull:
		return !v.present
	}
	for _, text := range v.list {
		if s.compare(a, text) {
			return true
		}
		if s.budget < 0 {
			s.undecided = true
			break
		}
	}
	return false
}

func (s *scratch) compare(a *atom, value string) bool {
	switch a.how {
	case contains, startsWith, endsWith, equals:
		s.budget -= len(value) / 8
		return a.how.compare(value, a.text)
	case matches:
		found, err := a.pattern.search(value, &s.budget)
		if err != nil && s.err == nil {
			s.err = err
		}
		return found
	case inNetwork:
		addr, err := netip.ParseAddr(value)
		return err == nil && a.network.Contains(addr.Unmap())
	case less, lessOrEqual, greater, greaterOrEqual:
		n, ok := decimal(value)
		return ok && a.how.order(n, a.number)
	}
	for _, other := range s.valuesOf(a.ref).list {
		if s.budget -= len(value) + len(other); s.budget < 0 {
			return false
		}
		if a.cased && (a.how-refContains).compare(value, other) ||
			!a.cased && (a.how-refContains).compare(fold(value), fold(other)) {
			return true
		}
	}
	return false
}

// compare compares bytes; h is one of the first four.
func (h how) compare(value, text string) bool {
	switch h {
	case contains:
		return strings.Contains(value, text)
	case startsWith:
		return strings.HasPrefix(value, text)
	case endsWith:
		return strings.HasSuffix(value, text)
	}
	return value == text
}

func (h how) order(a, b float64) bool {
	switch h {
	case less:
		return a < b
	case lessOrEqual:
		return a <= b
	case greater:
		return a > b
	}
	return a >= b
}
