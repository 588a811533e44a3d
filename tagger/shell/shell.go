// Package shell says what a command line really runs: it takes the line apart
// into simple commands the way the shell of the host would, looks through
// quotes, variables, wrappers such as sudo and busybox, inner shells and
// encodings, and runs none of it.
package shell

import (
	"errors"
	"strings"
)

// What one line may cost. A line that goes beyond is read up to the limit.
const (
	maxLine     = 64 << 10 // bytes that are read at all
	maxParsed   = 8 << 10  // bytes that the full parser gets; what is left is read word by word
	maxLoose    = 16 << 10 // bytes that are read word by word
	maxMade     = 64 << 10 // bytes that all expansions of a line may make together
	maxTexts    = 96 << 10 // bytes of the texts of all commands
	maxParent   = 1 << 10  // bytes of ParentText
	maxCommands = 256
	maxWords    = 4 << 10 // and redirections, of plain text
	maxDepth    = 16      // of commands inside commands
)

// Command is one simple command of a line, as the shell would run it: quotes
// and backslashes undone, variables that the line itself assigns put in. What
// cannot be known, such as the output of a program, stays as it was typed.
//
// Assignments in front of a command, or alone, and redirections of a whole
// block are commands without a Program.
type Command struct {
	// Text is the words joined by one space, with the redirections behind them.
	Text string
	// Program is what follows the last slash of the first word.
	Program string
	// Path is the first word if it has a slash in it, else "".
	Path string
	// Args are the words behind the first, or the assignments.
	Args []string
	// Writes and Reads are the files that output goes to and input comes from,
	// by redirections of any file descriptor.
	Writes, Reads []string
	// ParentProgram and ParentText belong to the command that runs this one:
	// the sudo in front of it, the shell whose -c it is. They are "" for a
	// command that the typed line runs itself. ParentText is cut at 1 KiB.
	ParentProgram, ParentText string
	// Decoded says that the command came out of base64, hex or escapes.
	Decoded bool
}

var errLimit = errors.New("line is beyond a limit")

// Parser takes lines apart, one after the other, and uses its memory again for
// the next. The zero Parser is ready for use. It is not safe for concurrent use.
type Parser struct {
	reader reader
	end    *reader // for the end of lines that are beyond a limit
}

// Parse lists the simple commands of line in the order in which they start;
// those of a substitution come before the command that it is part of. ok is
// false if a part of the line could not be read as a whole or a limit was met:
// 64 KiB, 8 KiB of what is more than words, lists and redirections, 16 KiB of
// what is then read word by word, 256 commands with 96 KiB of text, 16 levels of
// commands inside commands, or 64 KiB of text made by variables and decoding. The
// commands that could be read are returned all the same, and of a line that goes
// on behind the limits the last 128 or those of its last 8 KiB: what an attacker
// pads, he pads in front.
//
// The commands, and every text in them, are only good until the next call.
// Parse takes some 0.3 µs for a plain line, which is most of them and allocates
// nothing, some 5 µs for others, and 2 ms for the worst 64 KiB that are known.
func (p *Parser) Parse(line string) (commands []Command, ok bool) {
	head := line
	if len(line) > maxLine {
		head = strings.ToValidUTF8(line[:maxLine], "")
	}
	p.reader.read(head)
	if len(line) <= maxLine && !p.reader.full() {
		return p.reader.commands, !p.reader.broken
	}
	if p.end == nil {
		p.end = new(reader)
	}
	p.end.read(lastOf(line))
	return append(p.reader.commands, p.end.commands...), false
}

// read lists the commands of a text that is within the limit of its length.
func (r *reader) read(text string) {
	r.reset()
	defer func() {
		if recover() != nil {
			r.broken = true
		}
	}()
	r.script(clean(text))
}

// full reports whether a limit kept commands out.
func (r *reader) full() bool { return len(r.commands) >= maxCommands || r.texts < 0 || r.cut }

// lastOf returns the last commands of a line.
func lastOf(line string) string {
	begin, separators := len(line), 0
	for begin > max(0, len(line)-maxParsed) && separators < maxCommands/2 {
		begin--
		if strings.IndexByte(";&|\n", line[begin]) >= 0 {
			separators++
		}
	}
	return strings.ToValidUTF8(strings.TrimLeft(line[begin:], ";&|\n"), "")
}

// Parse is [Parser.Parse] with a parser of its own: its result may be kept. It
// is safe for concurrent use.
func Parse(line string) (commands []Command, ok bool) { return new(Parser).Parse(line) }

// Expander returns a function that lists the commands of a line as
// [Parser.Parse] does, for use by one goroutine.
func Expander() func(line string) []Command {
	var p Parser
	return func(line string) []Command {
		commands, _ := p.Parse(line)
		return commands
	}
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "")

// clean makes a line out of what clients and droppers send: line ends of
// Windows, and scripts of one line, where "#!/bin/sh;" would comment it all out.
func clean(line string) string {
	if strings.ContainsAny(line, "\r\x00") {
		line = lineEnds.Replace(line)
	}
	if rest, ok := strings.CutPrefix(line, "#!"); ok {
		if end := strings.IndexAny(rest, ";\n"); end >= 0 {
			return rest[end+1:]
		}
	}
	return line
}
