package rule

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// maxStates bounds one table. An expression that needs more is left to package
// regexp.
const maxStates = 2048

// What a step leads to, if it is not a state.
const (
	unknown = iota // nobody has taken this step yet
	dead           // nothing matches any more
	accept         // a match
	firstState
)

// endClass is the class that stands for the end of the text, endRune what
// stands beyond both ends of it.
const (
	endClass = 0
	endRune  = -1
)

// stepCost is what a step that is taken for the first time costs, in bytes of a
// search that takes known steps.
const stepCost = 256

// table is a regular expression as a deterministic automaton over classes of
// runes. It answers whether there is a match, not where. It is worked out step
// by step as texts ask for it: most of an expression no text ever comes to.
// It is safe for concurrent use.
type table struct {
	next   atomic.Pointer[[]uint32] // by state + class; a state is the number of its first step
	start  uint32
	width  uint32               // classes
	ascii  [utf8.RuneSelf]uint8 // classes; these are the first to be numbered
	others []interval           // the classes of all other runes

	mu      sync.Mutex // guards all below, and what is added to next
	builder builder
}

// interval is runes of one class, from first to that of the next interval.
type interval struct {
	first rune
	class uint16
}

// newTable returns the table for prog. With unicodeWords \b is where a word of
// any script begins or ends, as it is in Python; else an ASCII word's.
func newTable(prog *syntax.Prog, unicodeWords bool) *table {
	t := &table{builder: builder{
		words:    unicodeWords && hasWordBoundary(prog),
		prog:     prog,
		anchored: prog.StartCond()&syntax.EmptyBeginText != 0,
		known:    make(map[string]uint32),
		visited:  make([]bool, len(prog.Inst)),
	}}
	t.classify()
	t.next.Store(new([]uint32))
	t.addRow(state{}) // a state is never numbered as low as accept
	for t.width*uint32(len(t.builder.states)) < firstState {
		t.addRow(state{})
	}
	t.start = t.enter(endRune, []uint32{uint32(prog.Start)})
	return t
}

// search looks for a match in s and takes what that costs from budget. ok is
// false if it cannot tell, because the budget is used up or the expression
// needs too many states.
func (t *table) search(s string, budget *int) (found, ok bool) {
	if *budget -= len(s); *budget < 0 {
		return false, false
	}
	state, next := t.start, *t.next.Load()
	for i := 0; i < len(s); {
		class := uint32(0)
		if c := s[i]; c < utf8.RuneSelf {
			class = uint32(t.ascii[c])
			i++
		} else {
			r, n := utf8.DecodeRuneInString(s[i:])
			class = t.classOf(r)
			i += n
		}
		at := int(state + class)
		if at >= len(next) {
			next = *t.next.Load()
		}
		state = atomic.LoadUint32(&next[at])
		if state < firstState {
			if state == unknown {
				state, next = t.explore(uint32(at), budget)
			}
			if state < firstState {
				return state == accept, state != unknown
			}
		}
	}
	end := t.step(state+endClass, budget)
	return end == accept, end != unknown
}

// step returns what a step leads to, unknown if that cannot be told.
func (t *table) step(at uint32, budget *int) uint32 {
	next := *t.next.Load()
	if to := atomic.LoadUint32(&next[at]); to != unknown {
		return to
	}
	to, _ := t.explore(at, budget)
	return to
}

// explore takes a step for the first time.
func (t *table) explore(at uint32, budget *int) (to uint32, next []uint32) {
	if *budget -= stepCost; *budget < 0 {
		return unknown, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if to = (*t.next.Load())[at]; to == unknown {
		to = t.follow(t.builder.states[at/t.width], int(at%t.width))
	}
	next = *t.next.Load()
	atomic.StoreUint32(&next[at], to)
	return to, next
}

// classOf returns the class of a rune that is not ASCII.
func (t *table) classOf(r rune) uint32 {
	i, found := slices.BinarySearchFunc(t.others, r, func(v interval, r rune) int { return int(v.first - r) })
	if !found {
		i--
	}
	return uint32(t.others[i].class)
}

// builder is what the steps of a table are worked out with.
type builder struct {
	prog     *syntax.Prog
	anchored bool
	words    bool     // those of all scripts count for \b
	sample   []rune   // a rune of each class
	takes    []string // by class and instruction: 1 if a thread there goes on
	states   []state  // by number divided by the table's width
	known    map[string]uint32

	visited []bool // per instruction, in one step
	stack   []uint32
}

// state is the threads that wait for the next rune. The conditions between the
// rune behind and the one ahead (^, $, \b) are still to be looked at, so it also
// says as much of the rune behind as these depend on.
type state struct {
	behind  rune // endRune at the start of the text, else 'a', '\n' or ' '
	threads []uint32
}

// classify puts the runes that no instruction and no condition tells apart
// into one class.
func (t *table) classify() {
	b := &t.builder
	classes := make(map[string]uint16)
	b.sample = []rune{endRune}
	b.takes = []string{string(make([]byte, len(b.prog.Inst)+1))}
	for c := range rune(utf8.RuneSelf) {
		t.ascii[c] = uint8(b.class(c, classes))
	}
	for _, r := range b.boundaries() {
		class := b.class(r, classes)
		if n := len(t.others); n == 0 || t.others[n-1].class != class {
			t.others = append(t.others, interval{r, class})
		}
	}
	t.width = uint32(len(b.sample))
}

// class returns the class of r, a new one if need be.
func (b *builder) class(r rune, classes map[string]uint16) uint16 {
	n := len(b.prog.Inst)
	signature := make([]byte, n+1)
	for i := range b.prog.Inst {
		if isRune(b.prog.Inst[i].Op) && b.prog.Inst[i].MatchRune(r) {
			signature[i] = 1
		}
	}
	signature[n] = byte(b.edge(r))
	id, ok := classes[string(signature)]
	if !ok {
		id = uint16(len(b.sample))
		b.takes = append(b.takes, string(signature))
		classes[b.takes[id]] = id
		b.sample = append(b.sample, r)
	}
	return id
}

// boundaries returns the runes beyond ASCII, in order, at which the class can
// change.
func (b *builder) boundaries() []rune {
	list := []rune{utf8.RuneSelf}
	add := func(first, last rune) { list = append(list, first, last+1) }
	if b.words {
		eachRange(unicode.L, add)
		eachRange(unicode.N, add)
	}
	for i := range b.prog.Inst {
		switch inst := &b.prog.Inst[i]; inst.Op {
		case syntax.InstRune, syntax.InstRune1:
			if len(inst.Rune) == 1 {
				add(inst.Rune[0], inst.Rune[0])
				for r := unicode.SimpleFold(inst.Rune[0]); r != inst.Rune[0]; r = unicode.SimpleFold(r) {
					add(r, r)
				}
			}
			for j := 0; j+1 < len(inst.Rune); j += 2 {
				add(inst.Rune[j], inst.Rune[j+1])
			}
		}
	}
	list = slices.DeleteFunc(list, func(r rune) bool { return r < utf8.RuneSelf || r > unicode.MaxRune })
	slices.Sort(list)
	return slices.Compact(list)
}

func eachRange(t *unicode.RangeTable, add func(first, last rune)) {
	each := func(first, last, stride rune) {
		if stride == 1 {
			add(first, last)
			return
		}
		for r := first; r <= last; r += stride {
			add(r, r)
		}
	}
	for _, r := range t.R16 {
		each(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		each(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
}

func hasWordBoundary(prog *syntax.Prog) bool {
	return slices.ContainsFunc(prog.Inst, func(i syntax.Inst) bool {
		return i.Op == syntax.InstEmptyWidth && syntax.EmptyOp(i.Arg)&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
	})
}

func isRune(op syntax.InstOp) bool {
	switch op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

// edge returns what stands for c where a condition looks at it.
func (b *builder) edge(c rune) rune {
	switch {
	case c == endRune || c == '\n':
		return c
	case syntax.IsWordChar(c), b.words && (unicode.IsLetter(c) || unicode.IsNumber(c)):
		return 'a'
	}
	return ' '
}

// enter returns the number of the state of these threads, a new one if need
// be, and unknown if there are too many.
func (t *table) enter(behind rune, threads []uint32) uint32 {
	if len(threads) == 0 {
		return dead
	}
	slices.Sort(threads)
	threads = slices.Compact(threads)
	k := binary.AppendVarint(nil, int64(behind))
	for _, thread := range threads {
		k = binary.AppendUvarint(k, uint64(thread))
	}
	id, ok := t.builder.known[string(k)]
	if !ok {
		if len(t.builder.states) >= maxStates {
			return unknown
		}
		id = t.addRow(state{behind, threads})
		t.builder.known[string(k)] = id
	}
	return id
}

// addRow makes room for the steps from a state and returns its number. Searches
// that go on meanwhile hold the table as it was.
func (t *table) addRow(s state) uint32 {
	t.builder.states = append(t.builder.states, s)
	next := *t.next.Load()
	id := uint32(len(next))
	next = append(next, make([]uint32, t.width)...)
	t.next.Store(&next)
	return id
}

// follow returns where s goes when the next rune is of the class.
func (t *table) follow(s state, class int) uint32 {
	b := &t.builder
	ahead, takes := b.sample[class], b.takes[class]
	holds := syntax.EmptyOpContext(s.behind, b.edge(ahead))
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
		switch inst := &b.prog.Inst[id]; inst.Op {
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
			if takes[id] == '\x01' {
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
	return t.enter(b.edge(ahead), threads)
}
