package shell

import "strings"

// Most lines that are typed are plain: words, quotes, lists, pipelines and
// redirections, nothing that expands and nothing that nests. They are read here
// in one pass that allocates nothing. Whatever else a line has leaves it to the
// parser; TestPlain and FuzzPlain hold the two against each other.

// simple is a simple command of a plain line.
type simple struct {
	argv  []string
	red   redirects
	piped bool // its output is the input of the next one
}

// lexer reads one plain text.
type lexer struct {
	*reader
	text  string
	pos   int
	word  int  // where the current word begins
	words int  // where the words of the current command begin in reader.words
	begun bool // the current command has something

	writes, reads, shown int // where its redirections begin in the reader's lists
}

// plain reads text if it is plain and reports whether it was.
func (r *reader) plain(text string) bool {
	from := len(r.simples)
	l := lexer{reader: r, text: text}
	ok := l.lex()
	commands := r.simples[from:]
	r.simples = r.simples[:from]
	if !ok {
		return false
	}
	in := stream{}
	for i := range commands {
		if len(r.commands) >= maxCommands {
			r.broken = true
			break
		}
		// What this runs may be read as plain text and overwrite the list.
		c, out := commands[i], stream{}
		r.simples = r.simples[:from+len(commands)]
		if len(c.argv) == 0 {
			r.add(nil, c.red)
		} else {
			out = r.run(c.argv, c.red, in)
		}
		if in = (stream{}); c.piped {
			in = out
		}
	}
	r.simples = r.simples[:from]
	return true
}

// lex takes text apart into reader.simples. It stops where there are more
// commands or words than will be listed.
func (l *lexer) lex() bool {
	l.start()
	for l.pos < len(l.text) && len(l.simples) <= maxCommands {
		if len(l.wordList)+len(l.shownList) > maxWords {
			l.cut = true
			break
		}
		switch c := l.text[l.pos]; {
		case c == ' ' || c == '\t':
			l.pos++
		case c == '<' || c == '>':
			if !l.redirect() {
				return false
			}
		case c == ';' || c == '\n' || c == '|' || c == '&':
			if !l.operator(c) {
				return false
			}
		default:
			if !l.argument() {
				return false
			}
		}
	}
	if !l.begun {
		return len(l.simples) == 0 || !l.simples[len(l.simples)-1].piped
	}
	return l.end(false)
}

func (l *lexer) start() {
	l.begun = false
	l.words, l.writes, l.reads, l.shown = len(l.wordList), len(l.writeList), len(l.readList), len(l.shownList)
}

// end enters the current command.
func (l *lexer) end(piped bool) bool {
	if !l.begun {
		return false
	}
	red := redirects{
		writes: tail(l.writeList, l.writes), reads: tail(l.readList, l.reads), text: tail(l.shownList, l.shown),
	}
	l.simples = append(l.simples, simple{argv: tail(l.wordList, l.words), red: red, piped: piped})
	l.start()
	return true
}

func tail(list []string, from int) []string {
	if from == len(list) {
		return nil
	}
	return list[from:len(list):len(list)]
}

func (l *lexer) next() byte {
	if l.pos+1 < len(l.text) {
		return l.text[l.pos+1]
	}
	return 0
}

// operator reads what stands between two commands. What is a mistake there is
// left to the parser, too.
func (l *lexer) operator(c byte) bool {
	switch next := l.next(); {
	case c == '\n':
		l.pos++
		return !l.begun || l.end(false)
	case c == '&' && next == '>':
		return l.redirect()
	case c == next && c != ';':
		l.pos += 2
		return l.end(false) && l.more()
	case c == '|' && next == '&', c == next:
		return false
	case c == '|':
		l.pos++
		return l.end(true) && l.more()
	}
	l.pos++
	return l.end(false)
}

// more reports whether a command follows on the same line, as it must.
func (l *lexer) more() bool {
	rest := strings.TrimLeft(l.text[l.pos:], " \t")
	return rest != "" && strings.IndexByte(";|&\n", rest[0]) < 0
}

// argument reads one word of the command.
func (l *lexer) argument() bool {
	word, ok := l.read()
	if !ok {
		return false
	}
	source := l.text[l.word:l.pos]
	if first := len(l.wordList) == l.words; first && !isName(source) || source[0] == '{' && strings.Contains(source, ",") {
		return false
	}
	if l.pos < len(l.text) && (l.text[l.pos] == '>' || l.text[l.pos] == '<') {
		if isNumber(source) {
			l.pos = l.word
			return l.redirect()
		}
		if source[0] == '{' {
			return false
		}
	}
	l.begun = true
	l.wordList = append(l.wordList, word)
	return true
}

// keywords begin what is not a simple command.
var keywords = map[string]bool{
	"!": true, "[[": true, "]]": true, "if": true, "then": true, "else": true, "elif": true, "fi": true, "for": true,
	"while": true, "until": true, "do": true, "done": true, "case": true, "esac": true, "select": true,
	"function": true, "time": true, "coproc": true, "let": true, "declare": true, "local": true, "export": true,
	"readonly": true, "typeset": true, "nameref": true,
}

// isName reports whether a first word is the name of a program: no keyword,
// assignment or bracket.
func isName(source string) bool {
	for i := range len(source) {
		switch source[i] {
		case '=', '$', '{', '}':
			return false
		case '[':
			if len(source) > 1 {
				return false
			}
		}
	}
	return len(source) > len("nameref") && source != "function" && source != "readonly" || !keywords[source]
}

// read reads a word, its quotes undone. ok is false if it is not plain.
func (l *lexer) read() (word string, ok bool) {
	l.word = l.pos
	for l.pos < len(l.text) && inWord[l.text[l.pos]] == plainByte {
		l.pos++
	}
	if l.pos == len(l.text) || inWord[l.text[l.pos]] == endByte {
		return l.text[l.word:l.pos], l.text[l.word] != '#'
	}
	if l.text[l.word] == '#' {
		return "", false
	}
	from := len(l.bytes)
	l.bytes = append(l.bytes, l.text[l.word:l.pos]...)
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch inWord[c] {
		case endByte:
			return l.made(from), true
		case plainByte:
			l.bytes = append(l.bytes, c)
			l.pos++
		case quoteByte:
			if !l.quoted(c) {
				return "", false
			}
		default:
			if c != '$' || !l.variable() {
				return "", false
			}
		}
	}
	return l.made(from), true
}

// variable reads a variable that nobody assigned, which stays as it is typed.
func (l *lexer) variable() bool {
	end := l.pos + 1
	for end < len(l.text) && isLetter(l.text[end]) {
		end++
	}
	name := l.text[l.pos+1 : end]
	if name == "" || name == "IFS" || name[0] <= '9' || len(l.vars) > 0 {
		return false
	}
	l.bytes = append(l.bytes, l.text[l.pos:end]...)
	l.pos = end
	return true
}

func isLetter(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// quoted reads a quote or what a backslash quotes.
func (l *lexer) quoted(quote byte) bool {
	rest := l.text[l.pos+1:]
	if quote == '\\' {
		if rest == "" || rest[0] == '\n' || rest[0] >= 0x80 {
			return false
		}
		l.bytes = append(l.bytes, rest[0])
		l.pos += 2
		return true
	}
	if quote == '\'' {
		end := strings.IndexByte(rest, '\'')
		if end < 0 || !isPlainText(rest[:end]) {
			return false
		}
		l.bytes = append(l.bytes, rest[:end]...)
		l.pos += end + 2
		return true
	}
	return l.doubleQuoted()
}

func (l *lexer) doubleQuoted() bool {
	l.pos++
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case c == '"':
			l.pos++
			return true
		case c == '$':
			if !l.variable() {
				return false
			}
			continue
		case c == '\\' && strings.IndexByte("\"\\$`", l.next()) >= 0:
			l.pos++
			c = l.text[l.pos]
		case c == '`' || c == '\\' && l.next() == '\n' || !isPlainByte(c):
			return false
		}
		l.bytes = append(l.bytes, c)
		l.pos++
	}
	return false
}

func isPlainByte(c byte) bool { return c >= ' ' && c < 0x7f || c == '\t' || c == '\n' }

// isPlainText reports whether s stands for itself between single quotes.
func isPlainText(s string) bool {
	for i := range len(s) {
		if !isPlainByte(s[i]) {
			return false
		}
	}
	return true
}

// operators of redirections, a longer one before what it begins with. Those
// that are left out here, and are found to begin with one, are not plain.
var redirections = []string{"&>>", "&>", ">>", ">&", ">|", ">", "<&", "<>", "<"}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// redirect reads a redirection and its target.
func (l *lexer) redirect() bool {
	from := l.pos
	for l.text[l.pos] >= '0' && l.text[l.pos] <= '9' {
		l.pos++
	}
	fd, op := l.text[from:l.pos], ""
	for _, op = range redirections {
		if strings.HasPrefix(l.text[l.pos:], op) {
			break
		}
	}
	l.pos += len(op)
	for l.pos < len(l.text) && (l.text[l.pos] == ' ' || l.text[l.pos] == '\t') {
		l.pos++
	}
	if l.pos == len(l.text) || inWord[l.text[l.pos]] == endByte {
		return false
	}
	target, ok := l.read()
	if !ok || strings.HasPrefix(target, "{") {
		return false
	}
	l.begun = true
	l.enter(fd, op, target)
	return true
}

// enter is redirects.add for the lists of the reader.
func (l *lexer) enter(fd, op, target string) {
	at := len(l.bytes)
	l.bytes = append(append(append(l.bytes, fd...), op...), target...)
	l.shownList = append(l.shownList, l.made(at))
	reads, writes := targets(op, target)
	if reads {
		l.readList = append(l.readList, target)
	}
	if writes {
		l.writeList = append(l.writeList, target)
	}
}

// What a byte is in a word outside of quotes.
const (
	strangeByte = iota // it makes the text not plain
	plainByte
	endByte
	quoteByte
)

var inWord = func() (kinds [256]byte) {
	for c := '!'; c <= '~'; c++ {
		kinds[c] = plainByte
	}
	for _, c := range "$`()" {
		kinds[c] = strangeByte
	}
	for _, c := range " \t\n;|&<>" {
		kinds[c] = endByte
	}
	for _, c := range `'"\` {
		kinds[c] = quoteByte
	}
	return kinds
}()
