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
}

// reader adds the values that a field has in the current record.
type reader func(ev *event, v *values)

// field is where a named field comes from.
type field struct {
	read      reader
	perRecord bool     // differs between the records of one event
	constant  bool     // has the same value in every simple command
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
	case kind == ttp.HTTPRequest && !strict:
		if f, ok := requestFields[name]; ok {
			return f
		}
	}
	f := field{read: func(ev *event, v *values) { readMember(ev, name, strict, v) }, shows: name}
	root, _, _ := strings.Cut(name, ".")
	f.uses = []string{name, root}
	return f
}

func readAllText(ev *event, v *values) {
	for _, m := range ev.payload {
		v.addAll(m.Value)
	}
}

func readMember(ev *event, name string, strict bool, v *values) {
	raw, _ := lookup(ev.payload, name)
	if !strict || raw.IsText() {
		v.addJSON(raw)
	}
}

// commandField returns the fields that kind command has beside its payload.
func commandField(name string) (field, bool) {
	switch name {
	case "line", "command_text":
		return field{read: readLine, uses: lineMembers, shows: "command_text"}, true
	case "User":
		return fieldOf(ttp.Command, "user", false), true
	case "CurrentDirectory":
		return fieldOf(ttp.Command, "pwd", false), true
	}
	read := simpleReader(name)
	if read == nil {
		return field{}, false
	}
	f := field{perRecord: true, constant: name == "type", uses: append([]string{name}, lineMembers...)}
	f.read = func(ev *event, v *values) {
		switch {
		case ev.simple != nil:
			read(ev.simple, v)
		case name == "CommandLine":
			readLine(ev, v)
		default: // a sensor that sees processes says it itself
			readMember(ev, name, false, v)
		}
	}
	return f, true
}

func readLine(ev *event, v *values) { v.addText(ev.line) }

// simpleReader returns what reads a field of a simple command, nil if there is
// none of that name.
func simpleReader(name string) func(c *shell.Command, v *values) {
	if n, ok := argumentIndex(name); ok {
		return func(c *shell.Command, v *values) { addWord(c, n, v) }
	}
	return simpleReaders[name]
}

var simpleReaders = map[string]func(c *shell.Command, v *values){
	"CommandLine":       func(c *shell.Command, v *values) { v.addText(c.Text) },
	"program":           func(c *shell.Command, v *values) { v.addText(c.Program) },
	"Image":             func(c *shell.Command, v *values) { v.addText(image(c.Path, c.Program)) },
	"args":              func(c *shell.Command, v *values) { v.addText(strings.Join(c.Args, " ")) },
	"arg":               func(c *shell.Command, v *values) { addEach(c.Args, v) },
	"writes":            func(c *shell.Command, v *values) { addEach(c.Writes, v) },
	"reads":             func(c *shell.Command, v *values) { addEach(c.Reads, v) },
	"ParentImage":       func(c *shell.Command, v *values) { v.addText(image("", c.ParentProgram)) },
	"ParentCommandLine": func(c *shell.Command, v *values) { v.addText(c.ParentText) },
	"type":              func(_ *shell.Command, v *values) { v.add("EXECVE") }, // as auditd calls it
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

// image is the path that a process list would show.
func image(path, program string) string {
	switch {
	case path != "":
		return path
	case program != "":
		return "/usr/bin/" + program
	}
	return ""
}
