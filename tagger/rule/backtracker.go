package rule

import "regexp/syntax"

// backtracker searches as engines do that go back wherever they had a choice,
// and counts its steps: how long such a search takes is then the same on every
// machine, busy or not.
type backtracker struct {
	prog    *syntax.Prog
	text    []rune
	steps   int   // that it may still take
	entered []int // by choice: one more than where in the text its first way was taken, 0 outside of that
}

// newBacktracker compiles re, which it changes. All repetitions become greedy:
// where nothing matches all ways are taken, in whatever order.
func newBacktracker(re *syntax.Regexp) (*backtracker, error) {
	makeGreedy(re)
	prog, err := syntax.Compile(re.Simplify())
	return &backtracker{prog: prog}, err
}

func makeGreedy(re *syntax.Regexp) {
	re.Flags &^= syntax.NonGreedy
	for _, sub := range re.Sub {
		makeGreedy(sub)
	}
}

// search looks for a match at each place of text. ok is false if that takes
// more than the steps.
func (b *backtracker) search(text string, steps int) (ok bool) {
	b.text, b.steps = []rune(text), steps
	b.entered = make([]int, len(b.prog.Inst))
	for at := range b.text {
		if b.matches(uint32(b.prog.Start), at) || b.steps < 0 {
			break
		}
	}
	return b.steps >= 0
}

// matches reports whether what begins at the instruction matches what begins
// at the rune.
func (b *backtracker) matches(id uint32, at int) bool {
	if b.steps--; b.steps < 0 {
		return false
	}
	inst := &b.prog.Inst[id]
	switch inst.Op {
	case syntax.InstMatch:
		return true
	case syntax.InstFail:
		return false
	case syntax.InstAlt, syntax.InstAltMatch:
		return b.either(id, at)
	case syntax.InstCapture, syntax.InstNop:
		return b.matches(inst.Out, at)
	case syntax.InstEmptyWidth:
		return syntax.EmptyOp(inst.Arg)&^b.holds(at) == 0 && b.matches(inst.Out, at)
	}
	return at < len(b.text) && inst.MatchRune(b.text[at]) && b.matches(inst.Out, at+1)
}

// either takes both ways of a choice. The first is that into a loop if it is a
// loop's; what comes back from there without having read anything ends here.
func (b *backtracker) either(id uint32, at int) bool {
	inst, before := &b.prog.Inst[id], b.entered[id]
	if before == at+1 {
		return false
	}
	b.entered[id] = at + 1
	found := b.matches(inst.Out, at)
	b.entered[id] = 0
	found = found || b.matches(inst.Arg, at)
	b.entered[id] = before
	return found
}

// holds returns the conditions that are true in front of the rune.
func (b *backtracker) holds(at int) syntax.EmptyOp {
	behind, ahead := rune(endRune), rune(endRune)
	if at > 0 {
		behind = b.text[at-1]
	}
	if at < len(b.text) {
		ahead = b.text[at]
	}
	return syntax.EmptyOpContext(behind, ahead)
}
