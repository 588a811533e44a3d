package rule

import (
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// valuesOf reads a field, if that has not been done.
func (s *scratch) valuesOf(slot int32) *values {
	v := &s.values[slot]
	if epoch := s.epoch(slot); s.read[slot] != epoch {
		s.read[slot] = epoch
		v.reset()
		s.slots[slot].read(&s.ev, v)
	}
	return v
}

// scan looks for literals in a field. The clauses that these lead to are
// added to candidates.
func (s *scratch) scan(i int32, epoch uint64, candidates bitset) {
	slot := &s.slots[i]
	if slot.part != noPart && i != s.textSlot {
		s.scanPart(i, slot, epoch, candidates)
		return
	}
	for _, text := range s.valuesOf(i).list {
		s.scanValue(slot, text, epoch, candidates)
	}
}

// scanPart looks at a part of a command's text by itself. Only whole values
// need that, and a payload that has the part as a member.
func (s *scratch) scanPart(i int32, slot *slot, epoch uint64, candidates bitset) {
	if s.ev.simple != nil {
		if slot.exact != nil && s.ev.simple.Program != "" {
			s.lookUp(slot, s.ev.simple.Program, epoch, candidates)
		}
		return
	}
	s.only = slot.part
	for _, text := range s.valuesOf(i).list {
		if slot.exact != nil {
			s.lookUp(slot, text, epoch, candidates)
		}
		s.scanWords(s.slots[s.textSlot].words, text, nil, epoch, candidates)
	}
	s.only = noPart
}

func (s *scratch) scanValue(slot *slot, text string, epoch uint64, candidates bitset) {
	if slot.exact != nil {
		s.lookUp(slot, text, epoch, candidates)
	}
	var c *shell.Command
	if slot.part == wholeText {
		c = s.ev.simple
	}
	s.scanWords(slot.words, text, c, epoch, candidates)
}

// lookUp looks for a value as a whole.
func (s *scratch) lookUp(slot *slot, text string, epoch uint64, candidates bitset) {
	if len(text) > slot.longest {
		return
	}
	s.folded = appendFolded(s.folded[:0], text)
	if id, ok := slot.exact[string(s.folded)]; ok {
		s.note(id, 0, 0, epoch, candidates)
	}
}

// scanWords looks for the literals of an automaton in a text, which is that of
// command c if there is one.
func (s *scratch) scanWords(a *automaton, text string, c *shell.Command, epoch uint64, candidates bitset) {
	if a == nil {
		return
	}
	if ttp.IsASCII(text) {
		s.layout.set(len(text), c, func(s string) int { return len(s) })
		scanText(s, a, text, epoch, candidates)
		return
	}
	s.folded = appendFolded(s.folded[:0], text)
	s.layout.set(len(s.folded), c, foldedLen)
	scanText(s, a, s.folded, epoch, candidates)
}

// scanText looks for the literals of an automaton in a text, which is folded
// but for the case of ASCII letters.
func scanText[T string | []byte](s *scratch, a *automaton, text T, epoch uint64, candidates bitset) {
	if a.small != nil {
		scanTable(s, a, a.small, text, epoch, candidates)
	} else {
		scanTable(s, a, a.large, text, epoch, candidates)
	}
}

// longText is from how many bytes on it pays to note which states have no more
// to say in a text.
const longText = 1 << 10

func scanTable[S step, T string | []byte](s *scratch, a *automaton, next []S, text T, epoch uint64, candidates bitset) {
	var quiet []uint64
	if len(text) >= longText {
		s.text++
		quiet = s.quiet[a.index]
	}
	state, class, ends, shift := uint32(0), &a.class, a.ends, a.shift&31
	for i := 0; i < len(text); i++ {
		state = uint32(next[state<<shift|uint32(class[text[i]])])
		if state < ends || quiet != nil && quiet[state-ends] == s.text {
			continue
		}
		found := a.literalsAt(state)
		s.sawAll(found, i+1, epoch, candidates)
		if quiet != nil && s.sawEnough(found, epoch) {
			quiet[state-ends] = s.text
		}
	}
}

// sawAll notes that literals end there in the text that is being scanned.
func (s *scratch) sawAll(found []ending, end int, epoch uint64, candidates bitset) {
	if s.only != noPart {
		s.sawOnly(found, end, epoch, candidates)
		return
	}
	inLine := s.ev.simple == nil
	for i := range found {
		f := &found[i]
		switch {
		case f.part <= wholeText:
			if s.seen[f.literal] != epoch || f.bound {
				s.saw(f, wholeText, end, epoch, candidates)
			}
		case f.part == lineText:
			if inLine && (s.seen[f.literal] != s.whole || f.bound) {
				s.saw(f, wholeText, end, s.whole, s.shared)
			}
		case !inLine && (s.seen[f.literal] != epoch || f.bound):
			s.saw(f, f.part, end, epoch, candidates)
		}
	}
}

// sawEnough reports whether to see the literals again in the text would change
// nothing.
func (s *scratch) sawEnough(found []ending, epoch uint64) bool {
	for i := range found {
		f, at := &found[i], epoch
		if f.part == lineText {
			at = s.whole
		}
		inVain := f.part > wholeText && (s.ev.simple == nil) != (f.part == lineText)
		if s.only != noPart || !inVain && (f.bound || s.seen[f.literal] != at) {
			return false
		}
	}
	return true
}

// sawOnly is sawAll in a text that is the only part to be looked for.
func (s *scratch) sawOnly(found []ending, end int, epoch uint64, candidates bitset) {
	for i := range found {
		if found[i].part == s.only {
			s.saw(&found[i], wholeText, end, epoch, candidates)
		}
	}
}

// saw notes that a literal ends there, if it stands within the part.
func (s *scratch) saw(f *ending, in part, end int, epoch uint64, candidates bitset) {
	from := end - int(f.size)
	if within := s.layout.of(in, from, end); from >= within.from && end <= within.to {
		s.note(f.literal, from-within.from, within.to-end, epoch, candidates)
	}
}

// note notes a literal that has that many bytes before and behind it, and what
// follows from it.
func (s *scratch) note(literal int32, before, behind int, epoch uint64, candidates bitset) {
	s.seen[literal] = epoch
	if s.noting != nil {
		s.noting.literals = append(s.noting.literals, literal)
	}
	leads := s.leads[literal]
	for i := range leads {
		if to := &leads[i]; to.place.fits(before, behind) {
			s.follow(to, epoch, candidates)
		}
	}
}

// follow notes what follows from a literal that is in its place.
func (s *scratch) follow(to *lead, epoch uint64, candidates bitset) {
	if s.noting != nil {
		s.noting.leads = append(s.noting.leads, *to)
	}
	if to.plain {
		s.known[to.atom] = epoch<<1 | 1
	}
	if to.clause >= 0 {
		candidates.add(to.clause)
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
