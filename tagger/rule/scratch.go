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
	values []values // by slot

	clock      uint64
	whole      uint64   // epoch of the event
	record     uint64   // epoch of the current record
	known      []uint64 // by atom: epoch<<1, and 1 if it is true
	seen       []uint64 // by literal: epoch
	shared     bitset   // candidates by what all records have in common
	candidates bitset
	matched    bitset

	hits   []hit
	folded []byte
	key    []byte
	shown  []shown

	budget    int   // bytes that may still be searched
	undecided bool  // the rule being looked at needed more
	err       error // the first search that gave up
}

// maxSearch bounds the bytes that tests of one event look at, beside the pass
// for literals. It is 16 times the largest line, and some 2 ms.
const maxSearch = 1 << 20

func newScratch(m *matcher) *scratch {
	s := &scratch{
		matcher:    m,
		values:     make([]values, len(m.slots)),
		known:      make([]uint64, len(m.atoms)),
		seen:       make([]uint64, len(m.literals)),
		shared:     newBitset(len(m.rules)),
		candidates: newBitset(len(m.rules)),
		matched:    newBitset(len(m.rules)),
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
	s.ev = event{}
	clear(s.hits)
	clear(s.shown)
	s.hits, s.shown = s.hits[:0], s.shown[:0]
	if cap(s.folded) > maxIdle {
		s.folded = nil
	}
	for i := range s.values {
		clear(s.values[i].list)
	}
}

// look finds the rules that match the event, sorted.
func (s *scratch) look(ev *ttp.Event) {
	s.hits, s.err, s.budget = s.hits[:0], nil, maxSearch
	s.ev = event{payload: ev.Payload}
	if s.kind == ttp.Command {
		s.ev.line = ev.Payload.Text(lineMembers...)
	}
	s.clock++
	s.whole = s.clock
	clear(s.matched)
	copy(s.shared, s.always)
	for i := range s.slots {
		if !s.slots[i].perRecord {
			s.scan(i, s.whole, s.shared)
		}
	}
	s.lookAt(nil)
	if s.expand != nil && s.ev.line != "" && s.perRecord.any() {
		commands := s.expand(s.ev.line)
		for i := range commands {
			s.lookAt(&commands[i])
		}
		slices.SortFunc(s.hits, func(a, b hit) int { return int(a.rule) - int(b.rule) })
	}
}

// lookAt evaluates the rules for one record: the event as it is, or a simple
// command.
func (s *scratch) lookAt(c *shell.Command) {
	s.ev.simple = c
	s.clock++
	s.record = s.clock
	copy(s.candidates, s.shared)
	for i := range s.slots {
		if s.slots[i].perRecord {
			s.scan(i, s.record, s.candidates)
		}
	}
	if c != nil {
		s.candidates.keep(s.perRecord)
		s.candidates.drop(s.matched)
	}
	match := ttp.Value("")
	for w, word := range s.candidates {
		for ; word != 0; word &= word - 1 {
			i := int32(w<<6 + bits.TrailingZeros64(word))
			if !s.matches(i) {
				continue
			}
			if c != nil && match == "" {
				match = ttp.Quote(cutText(c.Text))
			}
			s.matched.add(i)
			s.hits = append(s.hits, hit{i, match})
		}
	}
}

// matches reports whether a rule is true. One that cannot be told with what is
// left of the budget is not.
func (s *scratch) matches(rule int32) bool {
	s.undecided = false
	return s.holds(&s.rules[rule].root) && !s.undecided
}

// scan reads a field and looks for literals in it. The rules that these lead
// to are added to candidates.
func (s *scratch) scan(i int, epoch uint64, candidates bitset) {
	v := &s.values[i]
	v.reset()
	s.slots[i].read(&s.ev, v)
	slot := &s.slots[i]
	for _, text := range v.list {
		if hasUpper(text) {
			s.folded = appendFolded(s.folded[:0], text)
			scanText(s, slot, s.folded, epoch, candidates)
		} else {
			scanText(s, slot, text, epoch, candidates)
		}
	}
}

// scanText looks for the literals of a slot in a folded text.
func scanText[T string | []byte](s *scratch, slot *slot, text T, epoch uint64, candidates bitset) {
	if id, ok := slot.exact[string(text)]; ok {
		s.saw(id, len(text), len(text), epoch, candidates)
	}
	a := slot.words
	if a == nil {
		return
	}
	state := int32(0)
	for i := 0; i < len(text); i++ {
		state = a.next[state>>1+a.class[text[i]]]
		if state&1 != 0 {
			for _, id := range a.found[state>>1/a.width] {
				s.saw(id, i+1, len(text), epoch, candidates)
			}
		}
	}
}

// saw notes that a literal ends at end in a text of that size.
func (s *scratch) saw(id int32, end, size int, epoch uint64, candidates bitset) {
	l := &s.literals[id]
	if s.seen[id] == epoch && !l.bound {
		return
	}
	s.seen[id] = epoch
	for _, to := range l.leads {
		if !to.place.fits(end-len(l.text), size-end) {
			continue
		}
		a := &s.atoms[to.atom]
		if a.plain {
			s.known[to.atom] = epoch<<1 | 1
		}
		for _, r := range a.rules {
			candidates.add(r)
		}
	}
}

// fits reports whether a text with that many bytes before and behind it is in
// its place.
func (h how) fits(before, behind int) bool {
	switch h {
	case startsWith:
		return before == 0
	case endsWith:
		return behind == 0
	case equals:
		return before == 0 && behind == 0
	}
	return true
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
	v := &s.values[a.slot]
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
	for _, other := range s.values[a.ref].list {
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
