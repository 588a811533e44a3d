package rule

import "ttp-worker/tagger/shell"

// Most fields of a simple command are parts of its text: the whole of it, the
// program, the arguments together or each alone. The literals of all of them are
// looked for in one pass over the text, and where in it they may stand is a
// matter of the command's layout.

// part says which part of a command's text a field is.
type part int8

const (
	noPart    part = iota // it is a text of its own
	wholeText             // of the record, which for the typed line is the line
	lineText              // of the typed line, in whatever record
	programPart
	argsPart
	argPart  // each argument
	wordPart // and the number of the word; 0 is what the program was called by
)

// span is a part of a text, in bytes.
type span struct{ from, to int }

// layout is where the parts of a folded text are.
type layout struct {
	size    int
	program span
	args    span
	words   []span // the first the program with its path
	cursor  int    // the word that was asked about last, as literals are found from left to right
}

// set lays out the text of a command; a nil one is a text without parts.
// It relies on what [shell.Command] says of Text.
func (l *layout) set(size int, c *shell.Command, length func(string) int) {
	l.size, l.program, l.args, l.words, l.cursor = size, span{-1, -1}, span{-1, -1}, l.words[:0], 1
	if c == nil {
		return
	}
	at := 0
	if c.Program == "" && c.Path == "" {
		l.words = append(l.words, span{-1, -1})
	} else {
		first := c.Program
		if c.Path != "" {
			first = c.Path
		}
		at = length(first)
		l.words = append(l.words, span{0, at})
		l.program = span{at - length(c.Program), at}
		at++
	}
	for i, arg := range c.Args {
		if i == maxValues {
			break
		}
		to := at + length(arg)
		l.words = append(l.words, span{at, to})
		at = to + 1
	}
	l.args = l.joined(c, at, length)
}

// joined returns the span of all arguments, beyond the first ones that have
// spans of their own, too; at is where the next argument would begin.
func (l *layout) joined(c *shell.Command, at int, length func(string) int) span {
	if len(c.Args) == 0 {
		return span{-1, -1}
	}
	for _, arg := range c.Args[min(len(c.Args), maxValues):] {
		at += length(arg) + 1
	}
	return span{l.words[1].from, at - 1}
}

// of returns the span of the part that the text from..to may stand in.
func (l *layout) of(p part, from, to int) span {
	switch p {
	case noPart, wholeText:
		return span{0, l.size}
	case programPart:
		return l.program
	case argsPart:
		return l.args
	case argPart:
		for l.cursor < len(l.words) && l.words[l.cursor].to < to {
			l.cursor++
		}
		if l.cursor < len(l.words) {
			return l.words[l.cursor]
		}
	default:
		if n := int(p - wordPart); n < len(l.words) {
			return l.words[n]
		}
	}
	return span{-1, -1}
}
