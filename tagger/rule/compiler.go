package rule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// compiler collects what the rules of a kind share.
type compiler struct {
	*matcher
	clauseOf  map[string]int32
	slotOf    map[slotKey]int32
	atomOf    map[key]int32
	literals  []literal
	literalOf map[literalKey]int32
}

type slotKey struct {
	name   string
	strict bool
}

// newMatcher compiles the rules, which must be sorted by id.
func newMatcher(o Options, kind ttp.Kind, rules []*definition) *matcher {
	c := &compiler{
		matcher:   &matcher{kind: kind},
		clauseOf:  make(map[string]int32),
		slotOf:    make(map[slotKey]int32),
		atomOf:    make(map[key]int32),
		literalOf: make(map[literalKey]int32),
	}
	if kind == ttp.Command {
		c.expand = o.Expand
		c.textSlot = c.slot("CommandLine", false)
	}
	for i, d := range rules {
		c.rule(int32(i), d)
	}
	c.index()
	c.prune()
	c.makeAutomata()
	c.listLeads()
	c.listSlots()
	c.shareEvidence()
	c.matcher.memo = newMemo[hit](o.Memo, c.matcher.reads())
	c.matcher.scratch.New = func() any { return newScratch(c.matcher) }
	return c.matcher
}

func (c *compiler) rule(i int32, d *definition) {
	r := &compiled{definition: d, evidence: evidenceFields(c.kind, d), says: d.says()}
	c.rules = append(c.rules, r)
	root := c.node(d.detect[c.kind])
	if root.op != opOr {
		c.clause(i, root)
		return
	}
	for _, part := range root.parts {
		c.clause(i, part)
	}
}

func (c *compiler) clause(rule int32, root node) {
	if _, ok := c.witnesses(&root); !ok {
		c.rules[rule].Unindexed = true
	}
	k := string(root.appendKey(nil))
	i, ok := c.clauseOf[k]
	if !ok {
		i = int32(len(c.clauses))
		c.clauseOf[k] = i
		c.clauses = append(c.clauses, clause{root: root})
	}
	c.clauses[i].rules = append(c.clauses[i].rules, rule)
}

// appendKey appends what makes two expressions the same.
func (n *node) appendKey(dst []byte) []byte {
	for _, number := range [...]int64{int64(n.op), int64(n.n), int64(n.atom), int64(len(n.parts))} {
		dst = binary.AppendVarint(dst, number)
	}
	for i := range n.parts {
		dst = n.parts[i].appendKey(dst)
	}
	return dst
}

// index enters with the atoms which clauses they call for.
func (c *compiler) index() {
	c.always, c.perRecord = newBitset(len(c.clauses)), newBitset(len(c.clauses))
	for i := range c.clauses {
		root, i := &c.clauses[i].root, int32(i)
		if c.readsRecord(root) {
			c.perRecord.add(i)
		}
		witnesses, ok := c.witnesses(root)
		if !ok {
			c.always.add(i)
			continue
		}
		for _, a := range witnesses {
			if !slices.Contains(c.atoms[a].clauses, i) {
				c.atoms[a].clauses = append(c.atoms[a].clauses, i)
			}
		}
	}
}

func (c *compiler) node(e *expr) node {
	if e.op == opTest {
		return c.leaf(c.atom(e.test))
	}
	n := node{op: e.op, n: e.n}
	rest := e.parts
	if e.op == opOr {
		n.parts, rest = c.merge(flatten(e.parts, nil))
	}
	for _, part := range rest {
		n.parts = append(n.parts, c.node(part))
	}
	if len(n.parts) == 1 && e.op == opOr {
		return n.parts[0]
	}
	if e.op != opNot {
		slices.SortStableFunc(n.parts, func(a, b node) int { return a.cost() - b.cost() })
	}
	return n
}

// cost is small for what is cheap to look at.
func (n *node) cost() int {
	switch {
	case n.plain:
		return 0
	case n.op == opTest:
		return 2
	}
	most := 0
	for i := range n.parts {
		most = max(most, 1+n.parts[i].cost())
	}
	return most
}

func (c *compiler) leaf(atom int32) node {
	a := &c.atoms[atom]
	return node{op: opTest, atom: atom, plain: a.plain, perRecord: c.slots[a.slot].perRecord}
}

// flatten appends the parts of an or, those of the ors inside it included.
func flatten(parts, dst []*expr) []*expr {
	for _, part := range parts {
		if part.op == opOr {
			dst = flatten(part.parts, dst)
		} else {
			dst = append(dst, part)
		}
	}
	return dst
}

// merge makes one atom of all alternatives that are plain tests of one field:
// lists of names are long, and nobody asks which of them it was.
func (c *compiler) merge(parts []*expr) (merged []node, rest []*expr) {
	byField := make(map[slotKey][]*test)
	for _, part := range parts {
		if part.op == opTest && part.test.isPlain() {
			k := slotKey{part.test.field, part.test.strict}
			byField[k] = append(byField[k], part.test)
		}
	}
	for _, part := range parts {
		var tests []*test
		k := slotKey{}
		if part.op == opTest && part.test.isPlain() {
			k = slotKey{part.test.field, part.test.strict}
			tests = byField[k]
		}
		switch {
		case len(tests) < 2:
			rest = append(rest, part)
		case part.test == tests[0]: // the others are in it
			merged = append(merged, c.leaf(c.anyOf(k, tests)))
		}
	}
	return merged, rest
}

// anyOf returns the atom that is true if one of the tests is.
func (c *compiler) anyOf(k slotKey, tests []*test) int32 {
	var b strings.Builder
	for _, t := range tests {
		fmt.Fprintf(&b, "%d%q", t.how, t.text)
	}
	t := &test{key: key{field: k.name, strict: k.strict, how: oneOf, text: b.String()}}
	if i, ok := c.atomOf[t.key]; ok {
		return i
	}
	i := int32(len(c.atoms))
	c.atomOf[t.key] = i
	a := atom{test: t, slot: c.slot(t.field, t.strict), plain: true, groups: make([][]int32, 1)}
	for _, one := range tests {
		id := c.literal(a.slot, fold(one.text))
		a.groups[0] = append(a.groups[0], id)
		c.lead(id, i, one.how)
	}
	c.atoms = append(c.atoms, a)
	return i
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
		a.plain = t.isPlain()
		id := c.literal(a.slot, fold(t.text))
		a.groups = [][]int32{{id}}
		c.lead(id, i, t.how)
	case t.how == matches:
		a.groups = c.groups(&a, i)
	}
	c.atoms = append(c.atoms, a)
	return i
}

// listSlots says where literals are to be looked for.
func (c *compiler) listSlots() {
	c.sensors = make(map[string]bool)
	for i := range c.slots {
		slot, i := &c.slots[i], int32(i)
		isText := c.kind == ttp.Command && i == c.textSlot
		scanned := slot.words != nil || slot.exact != nil
		switch {
		case isText:
			c.lineSlots = append(c.lineSlots, i)
			c.sensorSlots = append(c.sensorSlots, i)
			c.commandSlots = append(c.commandSlots, i)
		case slot.perRecord:
			c.sensors[slot.name] = true
			c.sensorSlots = append(c.sensorSlots, i)
			switch {
			case scanned && slot.named != unnamed:
				c.namedSlots[slot.named] = append(c.namedSlots[slot.named], i)
			case scanned:
				c.commandSlots = append(c.commandSlots, i)
			}
		case scanned && slot.part == noPart:
			c.eventSlots = append(c.eventSlots, i)
		}
	}
}

// reads returns the fields that the rules read.
func (m *matcher) reads() []field {
	list := make([]field, len(m.slots))
	for i := range m.slots {
		list[i] = m.slots[i].field
	}
	return list
}

// shareEvidence numbers the lists of evidence that rules show.
func (c *compiler) shareEvidence() {
	numbers := make(map[string]int32)
	for _, r := range c.rules {
		k := fmt.Sprint(r.showsMatch(), r.evidence)
		if _, ok := numbers[k]; !ok {
			numbers[k] = int32(len(numbers))
		}
		r.shows = numbers[k]
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
