package shell

import (
	"iter"
	"strings"
)

// split cuts text at ; & | && || and line ends that are not quoted, for text
// that does not parse as a whole. A quote that is never closed quotes nothing.
// Each piece is without the keywords and brackets around its command.
func split(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		q := quoting{unclosed: unclosed(text)}
		start := 0
		for i := 0; i <= len(text); i++ {
			if i < len(text) && (q.step(text[i]) || !isSeparator(text, i)) {
				continue
			}
			if piece := trimKeywords(text[start:i]); piece != "" && !yield(piece) {
				return
			}
			start = i + 1
		}
	}
}

// quoting follows the quotes of a text byte by byte.
type quoting struct {
	quote    byte // the one we are inside of, or 0
	escaped  bool
	unclosed string // the kinds of quotes that do not count
}

// step takes the next byte and reports whether it is quoted or a quote.
func (q *quoting) step(c byte) bool {
	if inWord[c] == plainByte && !q.escaped { // which is what most bytes are
		return q.quote != 0
	}
	return q.special(c)
}

func (q *quoting) special(c byte) bool {
	switch {
	case q.escaped:
		q.escaped = false
		return true
	case c == '\\' && q.quote != '\'':
		q.escaped = true
		return true
	case q.quote != 0:
		if c == q.quote {
			q.quote = 0
		}
		return true
	case (c == '\'' || c == '"' || c == '`') && strings.IndexByte(q.unclosed, c) < 0:
		q.quote = c
		return true
	}
	return false
}

// unclosed returns the kinds of quotes that have to be ignored for the others
// to be closed.
func unclosed(text string) string {
	q := quoting{}
	for {
		for i := range len(text) {
			q.step(text[i])
		}
		if q.quote == 0 {
			return q.unclosed
		}
		q = quoting{unclosed: q.unclosed + string(q.quote)}
	}
}

func isSeparator(text string, i int) bool {
	switch text[i] {
	case ';', '|', '\n':
		return true
	case '&': // not that of >& and &>
		return (i == 0 || text[i-1] != '>' && text[i-1] != '<') && (i+1 == len(text) || text[i+1] != '>')
	}
	return false
}

// trimKeywords takes away what a cut-up loop, condition or group leaves around
// a command.
func trimKeywords(piece string) string {
	for {
		piece = strings.TrimSpace(piece)
		first, rest, _ := strings.Cut(piece, " ")
		switch first {
		case "if", "then", "else", "elif", "while", "until", "do", "!", "{", "}", "(", ")", "fi", "done", "esac":
			piece = rest
			continue
		}
		break
	}
	if strings.Count(piece, "(") > strings.Count(piece, ")") {
		piece = strings.TrimPrefix(piece, "(")
	}
	if strings.Count(piece, ")") > strings.Count(piece, "(") {
		piece = strings.TrimRight(piece, ")")
	}
	return strings.TrimSpace(piece)
}

// looseWords splits a command that no shell would take into words and
// redirections.
func (m *memory) looseWords(piece string) ([]string, redirects) {
	var argv []string
	var red redirects
	words := m.fields(piece)
	for i := 0; i < len(words); i++ {
		fd, op, target := cutRedirect(words[i])
		if op == "" {
			if len(argv) > 0 || len(words) == 1 || !isAssignment(words[i]) {
				argv = append(argv, words[i])
			}
			continue
		}
		if target == "" && i+1 < len(words) {
			i++
			target = words[i]
		}
		red.add(fd, op, target)
	}
	return argv, red
}

// isAssignment reports whether word sets a variable, in front of a command.
func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

// fields splits at blanks that are not quoted and takes the quotes away.
func (m *memory) fields(piece string) []string {
	first, word := len(m.wordList), len(m.bytes)
	end := func() {
		if len(m.bytes) > word {
			m.wordList = append(m.wordList, m.made(word))
			word = len(m.bytes)
		}
	}
	q := quoting{unclosed: unclosed(piece)}
	for i := 0; i < len(piece); i++ {
		if n := plainRun(piece[i:]); n > 0 && !q.escaped {
			m.bytes = append(m.bytes, piece[i:i+n]...)
			i += n - 1
			continue
		}
		c := piece[i]
		before := q
		special := q.step(c)
		switch {
		case !special && isBlank(rune(c)):
			end()
		case !special || before.escaped || q == before:
			m.bytes = append(m.bytes, c)
		}
	}
	end()
	return tail(m.wordList, first)
}

// plainRun returns how many bytes s begins with that stand for themselves.
func plainRun(s string) int {
	for i := range len(s) {
		if inWord[s[i]] != plainByte {
			return i
		}
	}
	return len(s)
}

// cutRedirect cuts a word such as 2>/dev/null; op is "" if it is no redirection.
func cutRedirect(word string) (fd, op, target string) {
	rest := strings.TrimLeft(word, "0123456789")
	fd = word[:len(word)-len(rest)]
	for _, op := range []string{"&>>", "&>", ">>", ">&", ">|", "<<<", "<<", "<&", ">", "<"} {
		if target, ok := strings.CutPrefix(rest, op); ok {
			return fd, op, target
		}
	}
	return "", "", ""
}

// maxNesting is how deep brackets and keywords may nest for the parser to get
// the text. It recurses, and a stack that overflows cannot be recovered from.
const maxNesting = 200

// tooNested reports whether text may nest deeper than the parser should go. It
// errs on the side of caution: what only looks nested, in quotes say, counts.
func tooNested(text string) bool {
	depth := 0
	for i := range len(text) {
		switch c := text[i]; c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth = max(depth-1, 0)
		}
		if depth > maxNesting {
			return true
		}
	}
	return false
}
