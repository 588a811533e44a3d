package rule

import (
	"cmp"
	"slices"
	"sync"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// matcher is the rules for one kind of event, compiled. It is immutable; what
// changes while an event is looked at is in a scratch.
type matcher struct {
	kind   ttp.Kind
	expand func(line string) []shell.Command
	rules  []*compiled
	slots  []slot
	atoms  []atom

	literals []literal

	always    bitset // the rules that no literal leads to
	perRecord bitset // the rules that a further record can make true

	scratch sync.Pool
	memo    *memo // nil: none
}

// compiled is a rule whose tests are numbers of atoms.
type compiled struct {
	*definition
	root     node
	evidence []string
}

type node struct {
	op    op
	n     int
	atom  int32
	parts []node
}

// slot is a field that some atom is about.
type slot struct {
	field
	name   string
	strict bool
	words  *automaton // finds the literals; nil if there are none
}

// atom is a test that any number of rules share.
type atom struct {
	*test
	slot, ref int32 // ref: of the field that is compared with

	// A plain atom is true where its literal is seen. Any other may only be
	// true if of each group at least one literal was seen.
	plain  bool
	groups [][]int32

	rules []int32 // to be evaluated once the atom may be true
}

// literal is a text that is looked for in a slot, and the atoms that it leads
// to.
type literal struct {
	slot  int32
	text  string
	leads []lead
}

// lead says that seeing the literal, in its place, may make the atom true.
type lead struct {
	atom  int32
	place how // contains, startsWith, endsWith or equals
}

// compiler collects what the rules of a kind share.
type compiler struct {
	*matcher
	slotOf    map[slotKey]int32
	atomOf    map[key]int32
	literalOf map[literalKey]int32
}

type slotKey struct {
	name   string
	strict bool
}

type literalKey struct {
	slot int32
	text string
}

// newMatcher compiles the rules, which must be sorted by id.
func newMatcher(o Options, kind ttp.Kind, rules []*definition) *matcher {
	c := &compiler{
		matcher:   &matcher{kind: kind},
		slotOf:    make(map[slotKey]int32),
		atomOf:    make(map[key]int32),
		literalOf: make(map[literalKey]int32),
	}
	if kind == ttp.Command {
		c.expand = o.Expand
	}
	c.always, c.perRecord = newBitset(len(rules)), newBitset(len(rules))
	for i, d := range rules {
		c.rule(int32(i), d)
	}
	c.automata()
	c.matcher.memo = newMemo(o.Memo, c.slots)
	c.matcher.scratch.New = func() any { return newScratch(c.matcher) }
	return c.matcher
}

func (c *compiler) rule(i int32, d *definition) {
	r := &compiled{definition: d, evidence: evidenceFields(c.kind, d)}
	r.root = c.node(d.detect[c.kind])
	c.rules = append(c.rules, r)
	if c.readsRecord(&r.root) {
		c.perRecord.add(i)
	}
	witnesses, ok := c.witnesses(&r.root)
	if !ok {
		d.Unindexed = true
		c.always.add(i)
		return
	}
	for _, a := range witnesses {
		if !slices.Contains(c.atoms[a].rules, i) {
			c.atoms[a].rules = append(c.atoms[a].rules, i)
		}
	}
}

func (c *compiler) node(e *expr) node {
	if e.op == opTest {
		return node{op: opTest, atom: c.atom(e.test)}
	}
	n := node{op: e.op, n: e.n, parts: make([]node, len(e.parts))}
	for i, part := range e.parts {
		n.parts[i] = c.node(part)
	}
	return n
}

func (c *compiler) slot(name string, strict bool) int32 {
	f := fieldOf(c.kind, name, strict)
	if f.shows == "command_text" && c.kind == ttp.Command && !f.perRecord {
		name, strict = "command_text", false // one text under several names
	}
	k := slotKey{name, strict}
	if i, ok := c.slotOf[k]; ok {
		return i
	}
	i := int32(len(c.slots))
	c.slotOf[k] = i
	c.slots = append(c.slots, slot{field: f, name: name, strict: strict})
	return i
}

func (c *compiler) atom(t *test) int32 {
	if i, ok := c.atomOf[t.key]; ok {
		return i
	}
	i := int32(len(c.atoms))
	c.atomOf[t.key] = i
	a := atom{test: t, slot: c.slot(t.field, t.strict)}
	if t.how >= refContains {
		a.ref = c.slot(t.text, t.strict)
	}
	switch {
	case t.how <= equals && t.text != "":
		a.plain = !t.cased
		id := c.literal(a.slot, fold(t.text))
		a.groups = [][]int32{{id}}
		c.literals[id].leads = append(c.literals[id].leads, lead{i, t.how})
	case t.how == matches:
		a.groups = c.groups(&a, i)
	}
	c.atoms = append(c.atoms, a)
	return i
}

// groups enters the literals that a pattern requires. Only the first group,
// the rarest, leads to the atom; the others are asked before it is searched.
func (c *compiler) groups(a *atom, i int32) [][]int32 {
	var groups [][]int32
	for g, texts := range a.pattern.groups {
		ids := make([]int32, len(texts))
		for j, text := range texts {
			ids[j] = c.literal(a.slot, text)
			if g == 0 {
				l := &c.literals[ids[j]]
				l.leads = append(l.leads, lead{i, contains})
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
	c.literals = append(c.literals, literal{slot: slot, text: text})
	return id
}

func (c *compiler) automata() {
	for i := range c.slots {
		var texts []string
		var ids []int32
		for id, l := range c.literals {
			if l.slot == int32(i) {
				texts, ids = append(texts, l.text), append(ids, int32(id))
			}
		}
		if len(texts) > 0 {
			c.slots[i].words = newAutomaton(texts, ids)
		}
	}
}

// readsRecord reports whether n looks at a field that differs between records.
func (c *compiler) readsRecord(n *node) bool {
	if n.op == opTest {
		a := &c.atoms[n.atom]
		return c.slots[a.slot].perRecord || a.how >= refContains && c.slots[a.ref].perRecord
	}
	return slices.ContainsFunc(n.parts, func(part node) bool { return c.readsRecord(&part) })
}

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
		if a.how == equals || a.how == startsWith || a.how == endsWith {
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
