package rule

import "math/bits"

// automaton finds all of a set of literals in one pass over a text
// (Aho–Corasick): a dense table over classes of bytes. An upper-case ASCII
// letter is in the class of its lower-case one; the literals are folded.
//
// To scan, start with state 0 and for each byte take
//
//	state = next[state<<shift|class[byte]]
//
// From ends on, literals end in a state.
//
// States are numbered so that literals end in those from ends on, and within
// both halves by their distance from the start: texts stay near it, and so near
// in memory. As long as they fit, numbers have 16 bits, which is half the memory
// and some more speed.
type automaton struct {
	class  [256]uint8
	small  []uint16 // what comes next, by state and class
	large  []uint32 // the same, if small is nil
	width  uint32   // classes
	shift  uint32   // a row has 1<<shift steps
	ends   uint32
	index  int      // among those of a matcher
	found  []ending // the literals of all states from ends on
	bounds []uint32 // where in found those of a state begin, by state less ends
}

// step is the number of a state.
type step interface{ uint16 | uint32 }

// trie is the literals by their bytes. Node 0 is the root, which is nobody's kid.
type trie []trieNode

type trieNode struct {
	last         byte // of the text that leads here
	kid, sibling int32
	fail         int32    // the node of the longest proper suffix
	ends         []ending // of the literals that end here, those of its suffixes included
}

// newAutomaton compiles literals, which must be folded and not empty. Each is
// reported as its ending.
func newAutomaton(literals []string, endings []ending) *automaton {
	a := &automaton{width: 1}
	t := make(trie, 1, 4*len(literals))
	for i, lit := range literals {
		at := int32(0)
		for j := 0; j < len(lit); j++ {
			a.classify(lit[j])
			at = t.enter(at, lit[j])
		}
		t[at].ends = append(t[at].ends, endings[i])
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	a.fill(t)
	return a
}

// classify gives c a class of its own; bytes without one share class 0.
func (a *automaton) classify(c byte) {
	if a.class[c] == 0 { // 230 at most, as there are no upper-case letters
		a.class[c] = uint8(a.width)
		a.width++
	}
}

// find returns the node that c leads to, 0 if there is none.
func (t trie) find(at int32, c byte) int32 {
	kid := t[at].kid
	for kid != 0 && t[kid].last != c {
		kid = t[kid].sibling
	}
	return kid
}

// enter is find that makes the node if need be.
func (t *trie) enter(at int32, c byte) int32 {
	if kid := t.find(at, c); kid != 0 {
		return kid
	}
	kid := int32(len(*t))
	*t = append(*t, trieNode{last: c, sibling: (*t)[at].kid})
	(*t)[at].kid = kid
	return kid
}

// breadthFirst returns the nodes by their distance from the root.
func (t trie) breadthFirst() []int32 {
	order := make([]int32, 1, len(t))
	for i := 0; i < len(order); i++ {
		for kid := t[order[i]].kid; kid != 0; kid = t[kid].sibling {
			order = append(order, kid)
		}
	}
	return order
}

// link finds the suffix of each node, what ends in which ends in the node, too.
func (t trie) link(order []int32) {
	for _, id := range order {
		for kid := t[id].kid; kid != 0; kid = t[kid].sibling {
			n, from := &t[kid], t[id].fail
			if id != 0 {
				n.fail = t.find(from, n.last)
			}
			for n.fail == 0 && from != 0 {
				from = t[from].fail
				n.fail = t.find(from, n.last)
			}
			n.ends = append(n.ends[:len(n.ends):len(n.ends)], t[n.fail].ends...)
		}
	}
}

// fill makes the tables.
func (a *automaton) fill(t trie) {
	order := t.breadthFirst()
	t.link(order)
	states := a.number(t, order)
	a.shift = uint32(bits.Len32(a.width - 1))
	if len(t) <= 1<<16 {
		a.small = rows[uint16](a, t, order, states)
	} else {
		a.large = rows[uint32](a, t, order, states)
	}
}

// number returns the state of each node and enters what is found there.
func (a *automaton) number(t trie, order []int32) []uint32 {
	states := make([]uint32, len(t))
	next := uint32(0)
	for _, id := range order {
		if len(t[id].ends) == 0 {
			states[id] = next
			next++
		}
	}
	a.ends = next
	for _, id := range order {
		if len(t[id].ends) > 0 {
			states[id] = next
			next++
			a.bounds = append(a.bounds, uint32(len(a.found)))
			a.found = append(a.found, t[id].ends...)
		}
	}
	a.bounds = append(a.bounds, uint32(len(a.found)))
	return states
}

// rows makes the table, node after node, so that the row of a node's suffix is
// complete before the node's own starts as a copy of it.
func rows[S step](a *automaton, t trie, order []int32, states []uint32) []S {
	table := make([]S, len(t)<<a.shift)
	row := func(node int32) []S { return table[states[node]<<a.shift:][:a.width] }
	for _, id := range order {
		own := row(id)
		if id != 0 {
			copy(own, row(t[id].fail))
		}
		for kid := t[id].kid; kid != 0; kid = t[kid].sibling {
			own[a.class[t[kid].last]] = S(states[kid])
		}
	}
	return table
}

// literalsAt returns the literals that end in a state from ends on.
func (a *automaton) literalsAt(state uint32) []ending {
	return a.found[a.bounds[state-a.ends]:a.bounds[state-a.ends+1]]
}
