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

type trieNode struct {
	kids []edgeTo
	fail int32    // the node of the longest proper suffix
	ends []ending // of the literals that end here, those of its suffixes included
}

// edgeTo leads to a node that has one byte more.
type edgeTo struct {
	first byte
	node  int32
}

// newAutomaton compiles literals, which must be folded and not empty. Each is
// reported as its ending.
func newAutomaton(literals []string, endings []ending) *automaton {
	a := &automaton{width: 1}
	nodes := []trieNode{{}}
	for i, lit := range literals {
		at := int32(0)
		for j := 0; j < len(lit); j++ {
			a.classify(lit[j])
			at = child(&nodes, at, lit[j])
		}
		nodes[at].ends = append(nodes[at].ends, endings[i])
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	a.fill(nodes, breadthFirst(nodes))
	return a
}

// classify gives c a class of its own; bytes without one share class 0.
func (a *automaton) classify(c byte) {
	if a.class[c] == 0 { // 230 at most, as there are no upper-case letters
		a.class[c] = uint8(a.width)
		a.width++
	}
}

func child(nodes *[]trieNode, at int32, c byte) int32 {
	for _, k := range (*nodes)[at].kids {
		if k.first == c {
			return k.node
		}
	}
	kid := int32(len(*nodes))
	(*nodes)[at].kids = append((*nodes)[at].kids, edgeTo{c, kid})
	*nodes = append(*nodes, trieNode{})
	return kid
}

// breadthFirst returns the nodes by their distance from the root.
func breadthFirst(nodes []trieNode) []int32 {
	order := make([]int32, 1, len(nodes))
	for i := 0; i < len(order); i++ {
		for _, k := range nodes[order[i]].kids {
			order = append(order, k.node)
		}
	}
	return order
}

// fill makes the tables, node after node, so that the row of a node's suffix is
// complete before the node's own starts as a copy of it.
func (a *automaton) fill(nodes []trieNode, order []int32) {
	rows := make([]int32, len(nodes)*int(a.width))
	row := func(node int32) []int32 { return rows[int(node)*int(a.width):][:a.width] }
	for _, id := range order {
		n := &nodes[id]
		if id != 0 {
			copy(row(id), row(n.fail))
			n.ends = append(n.ends[:len(n.ends):len(n.ends)], nodes[n.fail].ends...)
		}
		for _, k := range n.kids {
			class := a.class[k.first]
			nodes[k.node].fail = row(id)[class]
			row(id)[class] = k.node
		}
	}
	states := a.number(nodes, order)
	a.shift = uint32(bits.Len32(a.width - 1))
	if len(nodes) <= 1<<16 {
		a.small = renumbered[uint16](rows, states, a.width, a.shift)
	} else {
		a.large = renumbered[uint32](rows, states, a.width, a.shift)
	}
}

// number returns the state of each node and enters what is found there.
func (a *automaton) number(nodes []trieNode, order []int32) []uint32 {
	states := make([]uint32, len(nodes))
	next := uint32(0)
	for _, id := range order {
		if len(nodes[id].ends) == 0 {
			states[id] = next
			next++
		}
	}
	a.ends = next
	for _, id := range order {
		if len(nodes[id].ends) > 0 {
			states[id] = next
			next++
			a.bounds = append(a.bounds, uint32(len(a.found)))
			a.found = append(a.found, nodes[id].ends...)
		}
	}
	a.bounds = append(a.bounds, uint32(len(a.found)))
	return states
}

func renumbered[S step](rows []int32, states []uint32, width, shift uint32) []S {
	out := make([]S, len(states)<<shift)
	for i, node := range rows {
		at := states[i/int(width)]<<shift | uint32(i)%width
		out[at] = S(states[node])
	}
	return out
}

// literalsAt returns the literals that end in a state from ends on.
func (a *automaton) literalsAt(state uint32) []ending {
	return a.found[a.bounds[state-a.ends]:a.bounds[state-a.ends+1]]
}
