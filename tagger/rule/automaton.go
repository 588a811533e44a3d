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
	kids map[byte]int32
	fail int32   // the node of the longest proper suffix
	ends []int32 // the literals that end here
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
	if kid, ok := (*nodes)[at].kids[c]; ok {
		return kid
	}
	if (*nodes)[at].kids == nil {
		(*nodes)[at].kids = make(map[byte]int32, 1)
	}
	kid := int32(len(*nodes))
	(*nodes)[at].kids[c] = kid
	*nodes = append(*nodes, trieNode{})
	return kid
}

// fill walks the trie breadth first, so that the row of a node's suffix is
// complete before the node's own starts as a copy of it.
func (a *automaton) fill(nodes []trieNode) {
	a.next = make([]int32, int32(len(nodes))*a.width)
	a.found = make([][]int32, len(nodes))
	queue := []int32{0}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		n := &nodes[id]
		row := a.row(id)
		a.found[id] = n.ends
		if id != 0 {
			copy(row, a.row(n.fail))
			a.found[id] = append(n.ends[:len(n.ends):len(n.ends)], a.found[n.fail]...)
		}
		for c, kid := range n.kids {
			nodes[kid].fail = row[a.class[c]]
			row[a.class[c]] = kid
			queue = append(queue, kid)
		}
	}
	for i, id := range a.next {
		a.next[i] = id * a.width << 1
		if len(a.found[id]) > 0 {
			a.next[i]++
		}
	}
}

func (a *automaton) row(id int32) []int32 { return a.next[id*a.width : (id+1)*a.width] }
