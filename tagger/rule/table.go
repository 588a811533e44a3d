package rule

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// Bounds on one table. An expression that needs more is left to package regexp.
const (
	maxStates = 2048
	maxWork   = 2 << 20 // instructions visited while it is built
)

const (
	dead     = 0 // the state from which nothing matches any more
	accept   = 1 // the state of a match
	endClass = 0 // the class that stands for the end of the text
	endRune  = -1
)

// table is a regular expression as a deterministic automaton over ASCII. It
// answers whether there is a match, not where.
type table struct {
	class [128]uint8
	width int // classes
	start uint32
	next  []uint32 // state*width + class
}

// search looks for a match in s. ok is false if it takes more than ASCII to tell.
func (t *table) search(s string) (found, ok bool) {
	state := t.start
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 128 {
			return false, false
		}
		state = t.next[int(state)*t.width+int(t.class[c])]
		if state <= accept {
			return state == accept, true
		}
	}
	return t.next[int(state)*t.width+endClass] == accept, true
}

// builder makes a table out of a program by following all its threads at once.
type builder struct {
	table
	prog     *syntax.Prog
	anchored bool
	sample   []rune   // a byte of each class
	takes    []string // by class and instruction: 1 if a thread there goes on
	states   []state
	known    map[string]uint32

	visited []bool // per instruction, in one step
	stack   []uint32
	work    int
}

// state is the threads that wait for the next byte. The conditions between the
// byte behind and the one ahead (^, $, \b) are still to be looked at, so it also
// says as much of the byte behind as these depend on.
type state struct {
	behind  rune // endRune at the start of the text, else 'a', '\n' or ' '
	threads []uint32
}

// newTable returns the table for prog, or nil if it would be too large.
func newTable(prog *syntax.Prog) *table {
	b := &builder{
		prog:     prog,
		anchored: prog.StartCond()&syntax.EmptyBeginText != 0,
		states:   make([]state, 2), // dead and accept; search never leaves them
		known:    make(map[string]uint32),
		visited:  make([]bool, len(prog.Inst)),
	}
	b.classify()
	b.next = make([]uint32, 2*b.width)
	b.start = b.enter(endRune, []uint32{uint32(prog.Start)})
	for id := 2; id < len(b.states); id++ {
		for class := range b.sample {
			b.next = append(b.next, b.step(b.states[id], class))
		}
		if len(b.states) > maxStates || b.work > maxWork {
			return nil
		}
	}
	t := b.table
	return &t
}

// classify puts the bytes that no instruction and no condition tells apart
// into one class.
func (b *builder) classify() {
	n := len(b.prog.Inst)
	b.sample = []rune{endRune}
	b.takes = []string{string(make([]byte, n+1))}
	classes := make(map[string]uint8)
	signature := make([]byte, n+1)
	for c := range rune(128) {
		for i := range b.prog.Inst {
			signature[i] = 0
			if isRune(b.prog.Inst[i].Op) && b.prog.Inst[i].MatchRune(c) {
				signature[i] = 1
			}
		}
		signature[n] = byte(edge(c))
		id, ok := classes[string(signature)]
		if !ok {
			id = uint8(len(b.sample))
			b.takes = append(b.takes, string(signature))
			classes[b.takes[id]] = id
			b.sample = append(b.sample, c)
		}
		b.class[c] = id
	}
	b.width = len(b.sample)
}

func isRune(op syntax.InstOp) bool {
	switch op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

// edge returns what stands for c where a condition looks back at it.
func edge(c rune) rune {
	switch {
	case c == endRune || c == '\n':
		return c
	case syntax.IsWordChar(c):
		return 'a'
	}
	return ' '
}

// enter returns the state of these threads, a new one if need be.
func (b *builder) enter(behind rune, threads []uint32) uint32 {
	if len(threads) == 0 {
		return dead
	}
	slices.Sort(threads)
	threads = slices.Compact(threads)
	k := binary.AppendVarint(nil, int64(behind))
	for _, t := range threads {
		k = binary.AppendUvarint(k, uint64(t))
	}
	id, ok := b.known[string(k)]
	if !ok {
		id = uint32(len(b.states))
		b.known[string(k)] = id
		b.states = append(b.states, state{behind, threads})
	}
	return id
}

// step returns where s goes when the next byte is of the class.
func (b *builder) step(s state, class int) uint32 {
	ahead, takes := b.sample[class], b.takes[class]
	holds := syntax.EmptyOpContext(s.behind, ahead)
	var threads []uint32
	clear(b.visited)
	b.stack = append(b.stack[:0], s.threads...)
	for len(b.stack) > 0 {
		id := b.stack[len(b.stack)-1]
		b.stack = b.stack[:len(b.stack)-1]
		if b.visited[id] {
			continue
		}
		b.visited[id] = true
		b.work++
		inst := &b.prog.Inst[id]
		switch inst.Op {
		case syntax.InstMatch:
			return accept
		case syntax.InstAlt, syntax.InstAltMatch:
			b.stack = append(b.stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			b.stack = append(b.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^holds == 0 {
				b.stack = append(b.stack, inst.Out)
			}
		default:
			if takes[id] == 1 {
				threads = append(threads, inst.Out)
			}
		}
	}
	if ahead == endRune {
		return dead
	}
	if !b.anchored {
		threads = append(threads, uint32(b.prog.Start))
	}
	return b.enter(edge(ahead), threads)
}
