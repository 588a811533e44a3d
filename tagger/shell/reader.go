package shell

import (
	"strings"
	"sync"
	"unsafe"

	"mvdan.cc/sh/v3/syntax"
)

// reader collects the commands of one line.
type reader struct {
	commands []Command
	vars     map[string]string // what the line has assigned so far
	budget   int               // bytes that expansions may still make
	texts    int               // bytes that the commands may still have
	parses   int               // bytes that may still be parsed
	broken   bool              // something could not be read
	cut      bool              // there are more words than are read
	scope
	memory
}

// memory is what a reader builds its results in. It is used again for the next
// line.
type memory struct {
	bytes                                    []byte // of words and texts that do not stand in the line as they are
	simples                                  []simple
	wordList, writeList, readList, shownList []string
}

// maxIdle bounds the memory that is kept from one line to the next, in
// elements of each list.
const maxIdle = 16 << 10

// reset makes the reader ready for a line.
func (r *reader) reset() {
	r.budget, r.texts, r.parses, r.broken, r.cut, r.scope = maxMade, maxTexts, maxParsed, false, false, scope{}
	clear(r.vars)
	clear(r.commands)
	r.commands = r.commands[:0]
	if cap(r.bytes)+cap(r.wordList) > maxIdle {
		r.memory = memory{}
	}
	r.bytes, r.simples = r.bytes[:0], r.simples[:0]
	r.wordList, r.writeList, r.readList, r.shownList = r.wordList[:0], r.writeList[:0], r.readList[:0], r.shownList[:0]
}

// made returns what was appended to bytes since from. It stays as it is until
// the reader is reset: bytes are only ever appended.
func (m *memory) made(from int) string {
	if from == len(m.bytes) {
		return ""
	}
	return unsafe.String(&m.bytes[from], len(m.bytes)-from)
}

// join returns the words joined by one space, with the redirections behind.
func (m *memory) join(words, redirections []string) string {
	from := len(m.bytes)
	for i, word := range words {
		if i > 0 {
			m.bytes = append(m.bytes, ' ')
		}
		m.bytes = append(m.bytes, word...)
	}
	for _, word := range redirections {
		if len(m.bytes) > from {
			m.bytes = append(m.bytes, ' ')
		}
		m.bytes = append(m.bytes, word...)
	}
	return m.made(from)
}

// scope is where the reader is.
type scope struct {
	source   string // the text whose syntax tree is being read
	program  string // the parent's
	parent   string // the parent's text
	decoded  bool   // the script came out of an encoding
	unpacked bool   // a word of the command being read did
	depth    int
}

// stream is the output of a command as far as it is known without running it.
type stream struct {
	text    string
	known   bool
	decoded bool // it came out of an encoding
}

var parsers = sync.Pool{New: func() any { return syntax.NewParser(syntax.Variant(syntax.LangBash)) }}

// script reads text as the shell reads a script. What does not parse as a
// whole is read statement by statement, and what does not parse then, word by
// word.
func (r *reader) script(text string) {
	if r.atLimit() {
		return
	}
	defer r.leave(r.scope)
	r.depth++
	if r.whole(text) {
		return
	}
	r.broken = true
	if len(text) > maxLoose {
		text, r.cut = strings.ToValidUTF8(text[:maxLoose], ""), true
	}
	for piece := range split(text) {
		if len(r.commands) >= maxCommands {
			return
		}
		if !r.whole(piece) {
			argv, redirects := r.looseWords(piece)
			r.run(argv, redirects, stream{})
		}
	}
}

// whole reads text if it can be read as a whole and reports whether it could.
func (r *reader) whole(text string) bool {
	if r.plain(text) {
		return true
	}
	file, err := r.parse(text)
	if err != nil {
		return false
	}
	r.source = text
	r.node(file)
	return true
}

// atLimit reports whether nothing may be read that is one level deeper.
func (r *reader) atLimit() bool {
	if r.depth >= maxDepth || len(r.commands) >= maxCommands || r.budget < 0 {
		r.broken = true
		return true
	}
	return false
}

func (r *reader) leave(back scope) { r.scope = back }

func (r *reader) parse(text string) (*syntax.File, error) {
	if len(text) > r.parses || tooNested(text) {
		return nil, errLimit
	}
	r.parses -= len(text)
	p := parsers.Get().(*syntax.Parser)
	file, err := p.Parse(strings.NewReader(text), "")
	parsers.Put(p) // not reached after a panic, which may leave a parser in any state
	return file, err
}

// node reads every statement below n.
func (r *reader) node(n syntax.Node) {
	syntax.Walk(n, func(n syntax.Node) bool {
		stmt, ok := n.(*syntax.Stmt)
		if ok {
			r.stmt(stmt, stream{})
		}
		return !ok
	})
}

// stmt reads one statement with its input and returns its output.
func (r *reader) stmt(s *syntax.Stmt, in stream) stream {
	if len(r.commands) >= maxCommands {
		r.broken = true
		return stream{}
	}
	if pipe, ok := s.Cmd.(*syntax.BinaryCmd); ok {
		return r.binary(pipe, in)
	}
	red := r.redirects(s.Redirs)
	if red.in.known {
		in = red.in
	}
	switch cmd := s.Cmd.(type) {
	case nil:
		r.add(nil, red)
	case *syntax.CallExpr:
		return r.call(cmd, red, in)
	case *syntax.DeclClause:
		r.declare(cmd, red)
	case *syntax.TimeClause:
		if cmd.Stmt != nil {
			return r.stmt(cmd.Stmt, in)
		}
	default:
		r.block(cmd, red)
	}
	return stream{}
}

func (r *reader) binary(b *syntax.BinaryCmd, in stream) stream {
	if b.Op == syntax.Pipe || b.Op == syntax.PipeAll {
		return r.stmt(b.Y, r.stmt(b.X, in))
	}
	r.stmt(b.X, in)
	r.stmt(b.Y, in)
	return stream{}
}

// block reads what has statements inside: loops, subshells, functions.
func (r *reader) block(cmd syntax.Command, red redirects) {
	if r.atLimit() {
		return
	}
	defer r.leave(r.scope)
	r.depth++
	r.node(cmd)
	if len(red.writes)+len(red.reads) > 0 {
		r.add(nil, red)
	}
}

func (r *reader) call(cmd *syntax.CallExpr, red redirects, in stream) stream {
	if len(cmd.Assigns) > 0 {
		// They are for the environment of this command alone, but are taken to
		// hold for what follows, too: nothing else may show what they were for.
		r.append(Command{Args: r.assignments(cmd.Assigns)})
	}
	if len(cmd.Args) == 0 {
		if len(red.writes)+len(red.reads) > 0 {
			r.add(nil, red)
		}
		return stream{}
	}
	r.unpacked = false
	argv := r.words(cmd.Args)
	in.decoded = in.decoded || r.unpacked
	return r.run(argv, red, in)
}

func (r *reader) declare(cmd *syntax.DeclClause, red redirects) {
	argv := append([]string{cmd.Variant.Value}, r.assignments(cmd.Args)...)
	r.add(argv, red)
}

func (r *reader) assignments(assigns []*syntax.Assign) []string {
	var words []string
	for _, a := range assigns {
		switch {
		case a.Name == nil && a.Value != nil:
			words = append(words, r.word(a.Value)...)
		case a.Naked && a.Name != nil:
			words = append(words, a.Name.Value)
		case a.Array != nil || a.Index != nil || a.Name == nil:
			r.node(a)
			words = append(words, r.typed(a))
		default:
			words = append(words, r.variable(a))
		}
	}
	return words
}

func (r *reader) variable(a *syntax.Assign) string {
	value := ""
	if a.Value != nil {
		value = r.text(a.Value)
	}
	name := a.Name.Value
	if a.Append {
		value = r.vars[name] + value
		r.budget -= len(value)
	}
	if r.vars == nil {
		r.vars = make(map[string]string)
	}
	r.vars[name] = value
	return name + "=" + value
}

// typed returns the source of n.
func (r *reader) typed(n syntax.Node) string {
	from, to := int(n.Pos().Offset()), int(n.End().Offset())
	if from > to || to > len(r.source) {
		return ""
	}
	return r.source[from:to]
}

// add lists a command and returns it, nil if there is room for no more.
func (r *reader) add(argv []string, red redirects) *Command {
	c := Command{Text: r.join(argv, red.text), Writes: red.writes, Reads: red.reads}
	if len(argv) > 0 {
		slash := strings.LastIndexByte(argv[0], '/')
		c.Program = argv[0][slash+1:]
		c.Args = argv[1:]
		if slash >= 0 {
			c.Path = argv[0]
		}
	}
	return r.append(c)
}

func (r *reader) append(c Command) *Command {
	if c.Text == "" {
		c.Text = r.join(c.Args, nil)
	}
	r.texts -= len(c.Text)
	if len(r.commands) >= maxCommands || r.texts < 0 {
		r.broken = true
		return nil
	}
	c.ParentProgram, c.ParentText, c.Decoded = r.program, r.parent, r.decoded
	r.commands = append(r.commands, c)
	return &r.commands[len(r.commands)-1]
}
