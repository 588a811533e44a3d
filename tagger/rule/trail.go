package rule

import (
	"sort"
	"strings"
)

// maxTrail bounds the length of a line whose trail is kept, in bytes.
const maxTrail = 1 << 10

// trail is where in a line literals end. The text of most simple commands stands
// in the line just as it is, so that what there is to be seen in it has been seen.
type trail struct {
	line  string // "" if there is no trail of it
	steps []trailStep
	next  int // where in line the next command is looked for
}

// trailStep is a state of the automaton in which literals end, and how much of
// the line had been read by then.
type trailStep struct {
	state uint32
	read  int
}

// begin starts the trail of a line, if it is one to be kept.
func (t *trail) begin(line string) {
	*t = trail{steps: t.steps[:0]}
	if len(line) <= maxTrail && isASCII(line) {
		t.line = line
	}
}

// find returns the span of text in the line. Of commands that stand in the line
// in their order each is looked for behind the last.
func (t *trail) find(text string) (in span, ok bool) {
	at := strings.Index(t.line[t.next:], text)
	if at >= 0 {
		at += t.next
	} else if at = strings.Index(t.line, text); at < 0 {
		return span{}, false
	}
	t.next = at + len(text)
	return span{at, t.next}, true
}

// within returns the steps that were taken within a span.
func (t *trail) within(in span) []trailStep {
	from := sort.Search(len(t.steps), func(i int) bool { return t.steps[i].read > in.from })
	to := from
	for to < len(t.steps) && t.steps[to].read <= in.to {
		to++
	}
	return t.steps[from:to]
}
