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

	leads    [][]lead // by literal
	automata []*automaton

	// The slots in which literals are looked for: once in an event, in the line
	// that was typed, in each simple command. A payload that has members called
	// as fields of simple commands is one more place to look.
	eventSlots, lineSlots, commandSlots, sensorSlots []int32

	namedSlots [parentName + 1][]int32 // slots of simple commands, by naming

	sensors map[string]bool // those members

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
	name    string
	strict  bool
	exact   map[string]int32 // the literals that are only looked for as a whole value
	longest int              // bytes that a value can have that is one of them
	words   *automaton       // finds the others; nil if there are none
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

// ending is a literal that ends in a state of an automaton. Together with its
// leads it is all of a literal that is there when texts are scanned: what is
// read at every other byte had better be small.
type ending struct {
	literal int32
	size    int32 // of the literal, in bytes
	part    part  // of the slot
	bound   bool  // some lead wants it in its place, so that seeing it once may not be enough
}

// lead says that where the literal is seen in its place a clause is to be
// evaluated.
type lead struct {
	atom   int32
	clause int32 // -1: none
	place  how   // contains, startsWith, endsWith or equals
	plain  bool  // the atom is true there
}
