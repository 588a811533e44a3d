package rule

import (
	"strings"

	"ttp-worker/tagger/shell"
)

// Some fields of a simple command depend on what it is called and on nothing
// else, and names repeat: what is seen in these fields is kept by name.

// naming says which name of a simple command a field depends on.
type naming int8

const (
	unnamed    naming = iota
	ownName           // the path or the program
	parentName        // the program of the parent
)

var namings = map[string]naming{"program": ownName, "Image": ownName, "type": ownName, "ParentImage": parentName}

// of returns the name of a command. Paths have a slash in them, programs
// have none.
func (n naming) of(c *shell.Command) string {
	switch {
	case n == parentName:
		return c.ParentProgram
	case c.Path != "":
		return c.Path
	}
	return c.Program
}

// Bounds of what is kept: how many names, and how long they are, in bytes.
const (
	maxNames = 1024
	maxName  = 64
)

// outcome is what is seen in fields.
type outcome struct {
	literals []int32
	leads    []lead
}

// scanNamed looks for literals in the fields of the current command that depend
// on a name.
func (s *scratch) scanNamed(n naming, candidates bitset) {
	name := n.of(s.ev.simple)
	known := s.names[n]
	if o, ok := known[name]; ok {
		s.repeat(o, candidates)
		return
	}
	o := new(outcome)
	s.noting = o
	for _, i := range s.namedSlots[n] {
		s.scan(i, s.record, candidates)
	}
	s.noting = nil
	if len(known) >= maxNames {
		clear(known)
	}
	if len(name) <= maxName {
		known[strings.Clone(name)] = o
	}
}

// repeat notes what was seen in fields of the same name before.
func (s *scratch) repeat(o *outcome, candidates bitset) {
	for _, id := range o.literals {
		s.seen[id] = s.record
	}
	for i := range o.leads {
		s.follow(&o.leads[i], s.record, candidates)
	}
}
