package rule

import (
	"sync"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// matcher is the rules for one kind of event, compiled. It is immutable; what
// changes while an event is looked at is in a scratch.
type matcher struct {
	kind    ttp.Kind
	expand  func() func(line string) []shell.Command // nil: rules see whole lines only
	rules   []*compiled
	clauses []clause
	slots   []slot
	atoms   []atom

	literals []literal

	textSlot int32 // of kind command: the slot that is the text of the record, in which those of its parts are found

	always    bitset // the clauses that no literal leads to
	perRecord bitset // the clauses that a further record can make true

	scratch sync.Pool
	memo    *memo[hit] // nil: none
}

// compiled is a rule.
type compiled struct {
	*definition
	evidence []memberPath
	shows    int32 // rules that show the same evidence have the same number
	says     []ttp.Finding
}

// clause is one of the alternatives that rules consist of. Each is looked at
// only where its own rarest literal was seen. Rules may share it.
type clause struct {
	root  node
	rules []int32
}

// node is an expression whose tests are numbers of atoms.
type node struct {
	op    op
	n     int
	atom  int32
	parts []node

	plain, perRecord bool // of the atom
}

// slot is a field that some atom is about.
type slot struct {
	field
	name   string
	strict bool
	exact  map[string]int32 // the literals that are only looked for as a whole value
	words  *automaton       // finds the others; nil if there are none
}

// atom is a test that any number of rules share.
type atom struct {
	*test
	slot, ref int32 // ref: of the field that is compared with

	// A plain atom is true where its literal is seen. Any other may only be
	// true if of each group at least one literal was seen.
	plain  bool
	groups [][]int32

	clauses []int32 // to be evaluated once the atom may be true
}

// literal is a text that is looked for in a slot, and the atoms that it leads
// to.
type literal struct {
	slot  int32
	part  part // of the slot
	text  string
	leads []lead
	bound bool // some lead wants it in its place, so that seeing it once may not be enough
	loose bool // it need not be a whole value
	asked bool // some atom asks whether it was seen
}

// lead says that seeing the literal, in its place, may make the atom true.
type lead struct {
	atom  int32
	place how // contains, startsWith, endsWith or equals
}
