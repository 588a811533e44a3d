package rule

import (
	"strings"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// event is what the fields of one record are read from. A command line is
// several records: the line as it was typed, then each simple command in it.
type event struct {
	payload ttp.Object
	line    string         // kind command
	simple  *shell.Command // nil: the line itself
	http    request        // kind http_request

	images map[string]string // by program: the path that a process list would show; nil: none are kept
}

// reader adds the values that a field has in the current record.
type reader func(ev *event, v *values)

// field is where a named field comes from.
type field struct {
	read      reader
	part      part     // of a command's text
	perRecord bool     // differs between the records of one event
	constant  bool     // has the same value in every simple command
	named     naming   // of a simple command
	uses      []string // the payload members that it is read from; nil means all
	shows     string   // the payload member that is its evidence, "" for none
}

// lineMembers are where the text of a command may stand, the first that is a
// non-empty string counts.
var lineMembers = []string{"command_text", "text", "command", "cmd", "CommandLine"}

// fieldOf returns the source of a field. A name that means nothing special is
// a payload member; strict leaves those out that are not strings.
func fieldOf(kind ttp.Kind, name string, strict bool) field {
	switch {
	case name == anyText:
		return field{read: readAllText}
	case kind == ttp.Command:
		if f, ok := commandField(name); ok {
			return f
		}
	case name == "logtype" && kind == ttp.AuthAttempt && !strict:
		return logtypeField
	case kind == ttp.HTTPRequest && !strict:
		if f, ok := requestFields[name]; ok {
			return f
		}
	}
	p := pathOf(name)
	f := field{read: func(ev *event, v *values) { readMember(ev, p, strict, v) }, shows: name}
	root, _, _ := strings.Cut(name, ".")
	f.uses = []string{name, root}
	return f
}

func readAllText(ev *event, v *values) {
	for _, m := range ev.payload {
		v.addAll(m.Value)
	}
}

func readMember(ev *event, p memberPath, strict bool, v *values) {
	raw, _ := p.in(ev.payload)
	if !strict || raw.IsText() {
		v.addJSON(raw)
	}
}

// commandField returns the fields that kind command has beside its payload.
func commandField(name string) (field, bool) {
	switch name {
	case "line", "command_text":
		return field{read: readLine, part: lineText, uses: lineMembers, shows: "command_text"}, true
	case "User":
		return fieldOf(ttp.Command, "user", false), true
	case "CurrentDirectory":
		return fieldOf(ttp.Command, "pwd", false), true
	}
	read := simpleReader(name)
	if read == nil {
		return field{}, false
	}
	f := field{
		part: partOf(name), perRecord: true, constant: name == "type", named: namings[name],
		uses: append([]string{name}, lineMembers...),
	}
	p := pathOf(name)
	f.read = func(ev *event, v *values) {
		switch {
		case ev.simple != nil:
			read(ev, v)
		case name == "CommandLine":
			readLine(ev, v)
		default: // a sensor that sees processes says it itself
			readMember(ev, p, false, v)
		}
	}
	return f, true
}

// partOf returns the part of a simple command's text that a field is.
func partOf(name string) part {
	if n, ok := argumentIndex(name); ok {
		return wordPart + part(n)
	}
	return map[string]part{"CommandLine": wholeText, "program": programPart, "args": argsPart, "arg": argPart}[name]
}

func readLine(ev *event, v *values) { v.addText(ev.line) }

// simpleReader returns what reads a field of a simple command, nil if there is
// none of that name.
func simpleReader(name string) reader {
	if n, ok := argumentIndex(name); ok {
		return func(ev *event, v *values) { addWord(ev.simple, n, v) }
	}
	return simpleReaders[name]
}

var simpleReaders = map[string]reader{
	"CommandLine":       func(ev *event, v *values) { v.addText(ev.simple.Text) },
	"program":           func(ev *event, v *values) { v.addText(ev.simple.Program) },
	"Image":             func(ev *event, v *values) { v.addText(ev.image(ev.simple.Path, ev.simple.Program)) },
	"args":              func(ev *event, v *values) { v.addText(joinedArgs(ev.simple)) },
	"arg":               func(ev *event, v *values) { addEach(ev.simple.Args, v) },
	"writes":            func(ev *event, v *values) { addEach(ev.simple.Writes, v) },
	"reads":             func(ev *event, v *values) { addEach(ev.simple.Reads, v) },
	"ParentImage":       func(ev *event, v *values) { v.addText(ev.image("", ev.simple.ParentProgram)) },
	"ParentCommandLine": func(ev *event, v *values) { v.addText(ev.simple.ParentText) },
	"type":              func(_ *event, v *values) { v.add("EXECVE") }, // as auditd calls it
}

// joinedArgs returns the arguments joined by one space. They stand in the text.
func joinedArgs(c *shell.Command) string {
	if len(c.Args) == 0 {
		return ""
	}
	from, size := 0, len(c.Args)-1
	switch {
	case c.Path != "":
		from = len(c.Path) + 1
	case c.Program != "":
		from = len(c.Program) + 1
	}
	for _, arg := range c.Args {
		size += len(arg)
	}
	return c.Text[from : from+size]
}

func addEach(list []string, v *values) {
	for _, s := range list {
		v.add(s)
	}
}

// addWord adds a word of the command, the program being the first.
func addWord(c *shell.Command, n int, v *values) {
	switch {
	case n == 0 && c.Path != "":
		v.add(c.Path)
	case n == 0:
		v.addText(c.Program)
	case n <= len(c.Args):
		v.add(c.Args[n-1])
	}
}

// maxImages bounds how many programs the paths are kept of, maxProgram how long
// their names are, in bytes.
const (
	maxImages  = 1024
	maxProgram = 64
)

// image is the path that a process list would show.
func (ev *event) image(path, program string) string {
	if path != "" || program == "" {
		return path
	}
	image, ok := ev.images[program]
	if !ok {
		image = "/usr/bin/" + program
		if ev.images != nil && len(program) <= maxProgram {
			ev.images[image[len("/usr/bin/"):]] = image // the program itself may be gone by then
		}
	}
	return image
}
