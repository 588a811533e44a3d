package rule

// automaton finds all of a set of literals in one pass over a text
// (Aho–Corasick): a dense table over classes of bytes. An upper-case ASCII
// letter is in the class of its lower-case one; the literals are folded.
//
// To scan, start with state 0 and for each byte take
//
//	state = next[state>>1+class[byte]]
//
// If state is odd, found[state>>1/width] are the literals that end here.
type automaton struct {
	class [256]int32
	width int32 // classes
	next  []int32
	found [][]int32
}

type trieNode struct {
	kids []edgeTo
	fail int32   // the state of the longest proper suffix
	ends []int32 // the literals that end here
}

// edgeTo leads to a node that has one byte more.
type edgeTo struct {
	first byte
	node  int32
}

// newAutomaton compiles literals, which must be folded and not empty. Each is
// reported as its id.
func newAutomaton(literals []string, ids []int32) *automaton {
	a := &automaton{width: 1}
	nodes := []trieNode{{}}
	for i, lit := range literals {
		at := int32(0)
		for j := 0; j < len(lit); j++ {
			a.classify(lit[j])
			at = child(&nodes, at, lit[j])
		}
		nodes[at].ends = append(nodes[at].ends, ids[i])
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	a.fill(nodes)
	return a
}

// classify gives c a class of its own; bytes without one share class 0.
func (a *automaton) classify(c byte) {
	if a.class[c] == 0 {
		a.class[c] = a.width
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

// fill walks the trie breadth first, so that the row of a node's suffix is
// complete before the node's own starts as a copy of it. States are numbered in
// that order, too: texts mostly stay near the root, and so near in memory.
func (a *automaton) fill(nodes []trieNode) {
	a.next = make([]int32, int32(len(nodes))*a.width)
	a.found = make([][]int32, len(nodes))
	queue := []int32{0} // nodes, by number of their state
	for state := int32(0); int(state) < len(queue); state++ {
		n := &nodes[queue[state]]
		row := a.row(state)
		a.found[state] = n.ends
		if state != 0 {
			copy(row, a.row(n.fail))
			a.found[state] = append(n.ends[:len(n.ends):len(n.ends)], a.found[n.fail]...)
		}
		for _, k := range n.kids {
			nodes[k.node].fail = row[a.class[k.first]]
			row[a.class[k.first]] = int32(len(queue))
			queue = append(queue, k.node)
		}
	}
	for i, state := range a.next {
		a.next[i] = state * a.width << 1
		if len(a.found[state]) > 0 {
			a.next[i]++
		}
	}
}

func (a *automaton) row(id int32) []int32 { return a.next[id*a.width : (id+1)*a.width] }
