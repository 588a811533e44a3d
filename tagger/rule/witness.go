package rule

import (
	"cmp"
	"slices"
)

// witnesses returns atoms of which at least one is true, and reached from a
// literal, wherever n is true. ok is false if there are no such.
func (c *compiler) witnesses(n *node) (atoms []int32, ok bool) {
	switch n.op {
	case opTest:
		return []int32{n.atom}, len(c.atoms[n.atom].groups) > 0
	case opAnd:
		return c.rarestPart(n.parts)
	case opOr, opAtLeast:
		for i := range n.parts {
			w, ok := c.witnesses(&n.parts[i])
			if !ok {
				return nil, false
			}
			atoms = append(atoms, w...)
		}
		return atoms, true
	}
	return nil, false
}

func (c *compiler) rarestPart(parts []node) (best []int32, ok bool) {
	for i := range parts {
		w, indexed := c.witnesses(&parts[i])
		if indexed && (!ok || c.rarity(w) > c.rarity(best)) {
			best, ok = w, true
		}
	}
	return best, ok
}

// rarity of the atoms is that of the one that is likely true most often.
func (c *compiler) rarity(atoms []int32) int {
	rare := func(i int32) int {
		a := &c.atoms[i]
		var texts []string
		for _, id := range a.groups[0] {
			texts = append(texts, c.literals[id].text)
		}
		r := rarity(texts)
		switch {
		case c.slots[a.slot].constant:
			r = 0
		case a.how == matches:
			r = a.pattern.groups[0].rarity()
		case a.how != contains:
			r += 512 // one place in the text is less likely than any
		}
		return r
	}
	if len(atoms) == 0 {
		return 0
	}
	least := slices.MinFunc(atoms, func(a, b int32) int { return cmp.Compare(rare(a), rare(b)) })
	return rare(least) - len(atoms)
}
