package rule

import "slices"

// literal is a text that is looked for in a slot.
type literal struct {
	slot  int32
	text  string
	atoms []placed
	ending
	loose bool // it need not be a whole value
	asked bool // some atom asks whether it was seen
}

// placed says that seeing the literal, in its place, may make the atom true.
type placed struct {
	atom  int32
	place how
}

type literalKey struct {
	slot int32
	text string
}

func (c *compiler) lead(literal, atom int32, place how) {
	l := &c.literals[literal]
	l.atoms = append(l.atoms, placed{atom, place})
	l.loose = l.loose || place != equals
}

// groups enters the literals that a pattern requires. Only the first group,
// the rarest, leads to the atom; the others are asked before it is searched.
func (c *compiler) groups(a *atom, i int32) [][]int32 {
	var groups [][]int32
	for n, g := range a.pattern.groups {
		ids := make([]int32, len(g.texts))
		for j, text := range g.texts {
			ids[j] = c.literal(a.slot, text)
			if n == 0 {
				c.lead(ids[j], i, g.place())
			} else {
				c.literals[ids[j]].loose = true
			}
		}
		groups = append(groups, ids)
	}
	return groups
}

func (c *compiler) literal(slot int32, text string) int32 {
	k := literalKey{slot, text}
	if id, ok := c.literalOf[k]; ok {
		return id
	}
	id := int32(len(c.literals))
	c.literalOf[k] = id
	c.literals = append(c.literals, literal{
		slot: slot, text: text,
		ending: ending{literal: id, size: int32(len(text)), part: c.slots[slot].part},
	})
	return id
}

// prune forgets what seeing a literal does not change: leads to an atom that
// neither is true by it nor calls for a clause, and of the literals that are asked
// for before a search those of a single byte, which are seen everywhere.
func (c *compiler) prune() {
	for i := range c.literals {
		l := &c.literals[i]
		l.bound = false
		l.atoms = slices.DeleteFunc(l.atoms, func(to placed) bool {
			a := &c.atoms[to.atom]
			useless := !a.plain && len(a.clauses) == 0
			l.bound = l.bound || !useless && to.place != contains
			return useless
		})
	}
	for i := range c.atoms {
		if a := &c.atoms[i]; a.how == matches && len(a.clauses) == 0 {
			a.groups = slices.DeleteFunc(a.groups, func(ids []int32) bool {
				return slices.ContainsFunc(ids, func(id int32) bool { return len(c.literals[id].text) == 1 })
			})
		}
		for _, group := range c.atoms[i].groups {
			for _, id := range group {
				c.literals[id].asked = true
			}
		}
	}
}

// automata sorts the literals: those that are only looked for as a whole value
// are looked up; of the others those that are parts of a command's text are
// found in one pass over it, the rest in one over their own field.
func (c *compiler) makeAutomata() {
	texts := make([][]string, len(c.slots))
	endings := make([][]ending, len(c.slots))
	for id := range c.literals {
		l := &c.literals[id]
		slot, in := &c.slots[l.slot], l.slot
		switch {
		case len(l.atoms) == 0 && !l.asked:
			continue
		case !l.loose && (l.part == noPart || l.part == programPart):
			if slot.exact == nil {
				slot.exact = make(map[string]int32)
			}
			slot.exact[l.text] = int32(id)
			slot.longest = max(slot.longest, maxUnfolded*len(l.text))
			continue
		case l.part != noPart:
			in = c.textSlot
		}
		texts[in], endings[in] = append(texts[in], l.text), append(endings[in], l.ending)
	}
	for i := range c.slots {
		if len(texts[i]) > 0 {
			a := newAutomaton(texts[i], endings[i])
			a.index = len(c.automata)
			c.slots[i].words, c.automata = a, append(c.automata, a)
		}
	}
}

// listLeads lists what the literals lead to, all in one piece of memory.
func (c *compiler) listLeads() {
	var all []lead
	ends := make([]int, len(c.literals))
	for id := range c.literals {
		for _, to := range c.literals[id].atoms {
			a := &c.atoms[to.atom]
			if len(a.clauses) == 0 {
				all = append(all, lead{to.atom, -1, to.place, a.plain})
			}
			for _, clause := range a.clauses {
				all = append(all, lead{to.atom, clause, to.place, a.plain})
			}
		}
		ends[id] = len(all)
	}
	from := 0
	for _, end := range ends {
		c.leads = append(c.leads, all[from:end])
		from = end
	}
}
