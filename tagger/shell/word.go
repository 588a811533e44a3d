package shell

import (
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// words expands the words of a command into its arguments.
func (r *reader) words(words []*syntax.Word) []string {
	argv := make([]string, 0, len(words))
	for i, w := range words {
		if alternatives, ok := braces(w); ok {
			argv = append(argv, alternatives...)
			continue
		}
		fields := r.word(w)
		if i == 0 && len(w.Parts) > 1 && len(fields) > 0 {
			fields[0] = dropUnset(fields[0])
		}
		argv = append(argv, fields...)
	}
	return argv
}

// braces expands {a,b}, a way to write a command without a space.
func braces(w *syntax.Word) ([]string, bool) {
	lit := w.Lit()
	if len(lit) < 4 || lit[0] != '{' || lit[len(lit)-1] != '}' || !strings.Contains(lit, ",") {
		return nil, false
	}
	inner := lit[1 : len(lit)-1]
	if strings.ContainsAny(inner, "{}") {
		return nil, false
	}
	return strings.Split(unescape(inner), ","), true
}

// word expands one word: into several fields if a variable in it has spaces.
func (r *reader) word(w *syntax.Word) []string {
	if lit := w.Lit(); lit != "" {
		return []string{unescape(lit)}
	}
	e := expansion{reader: r, alone: len(w.Parts) == 1}
	e.parts(w.Parts, false)
	return e.done()
}

// text expands a word that is not split: an assignment, a redirection.
func (r *reader) text(w *syntax.Word) string {
	if lit := w.Lit(); lit != "" {
		return unescape(lit)
	}
	e := expansion{reader: r, alone: len(w.Parts) == 1, whole: true}
	e.parts(w.Parts, false)
	return strings.Join(e.done(), " ")
}

// document expands the body of a here-document.
func (r *reader) document(w *syntax.Word) string {
	e := expansion{reader: r, whole: true}
	e.parts(w.Parts, true)
	return strings.Join(e.done(), " ")
}

// expansion is one word being expanded.
type expansion struct {
	*reader
	fields []string
	field  strings.Builder
	began  bool // the current field exists, even if it is empty
	alone  bool // the word has only one part
	whole  bool // no field splitting
}

func (e *expansion) parts(parts []syntax.WordPart, quoted bool) {
	for _, p := range parts {
		e.part(p, quoted)
	}
}

func (e *expansion) part(p syntax.WordPart, quoted bool) {
	switch p := p.(type) {
	case *syntax.Lit:
		if quoted {
			e.add(unescapeQuoted(p.Value))
		} else {
			e.add(unescape(p.Value))
		}
	case *syntax.SglQuoted:
		if p.Dollar {
			e.add(unescapeC(p.Value))
		} else {
			e.add(p.Value)
		}
	case *syntax.DblQuoted:
		e.began = true
		e.alone = e.alone && len(p.Parts) == 1
		e.parts(p.Parts, true)
	case *syntax.ParamExp:
		e.param(p, quoted)
	case *syntax.CmdSubst:
		e.value(e.substitution(p), quoted, p)
	default:
		e.node(p)
		e.add(e.typed(p))
	}
}

func (e *expansion) add(s string) {
	e.began = true
	e.budget -= len(s)
	if e.budget >= 0 {
		e.field.WriteString(s)
	}
}

func (e *expansion) next() {
	if e.began {
		e.fields = append(e.fields, e.field.String())
	}
	e.field.Reset()
	e.began = false
}

func (e *expansion) done() []string {
	e.next()
	return e.fields
}

// value puts in what p stands for, or its source if that is not known.
func (e *expansion) value(v stream, quoted bool, p syntax.WordPart) {
	e.unpacked = e.unpacked || v.decoded
	switch {
	case !v.known:
		e.add(e.typed(p))
	case quoted || e.whole:
		e.add(v.text)
	default:
		e.split(v.text)
	}
}

// split puts in a value that blanks divide into fields.
func (e *expansion) split(value string) {
	for i, field := range strings.FieldsFunc(value, isBlank) {
		if i > 0 || isBlank(rune(value[0])) {
			e.next()
		}
		e.add(field)
	}
	if value != "" && isBlank(rune(value[len(value)-1])) {
		e.next()
	}
}

func isBlank(c rune) bool { return c == ' ' || c == '\t' || c == '\n' }

// substitution reads the commands of $(…) and returns their output, if it can
// be told without running them.
func (r *reader) substitution(s *syntax.CmdSubst) stream {
	if r.atLimit() {
		return stream{}
	}
	defer r.leave(r.scope)
	r.depth++
	if len(s.Stmts) != 1 {
		for _, stmt := range s.Stmts {
			r.stmt(stmt, stream{})
		}
		return stream{}
	}
	out := r.stmt(s.Stmts[0], stream{})
	out.text = strings.TrimRight(out.text, "\n")
	return out
}

func (e *expansion) param(p *syntax.ParamExp, quoted bool) {
	if p.Param == nil || p.Excl || p.Length || p.Width || p.Index != nil {
		e.node(p)
		e.add(e.typed(p))
		return
	}
	name := p.Param.Value
	value, known := e.vars[name]
	switch {
	case known:
		known = e.operate(p, &value)
	case name == "IFS":
		value, known = " ", true
	case p.Exp != nil && p.Exp.Word != nil && isDefault(p.Exp.Op):
		value, known = e.text(p.Exp.Word), true
	case isPositional(name):
		known = !e.alone // glue as in w$@get, which nothing stands behind
	}
	e.value(stream{text: value, known: known}, quoted, p)
}

func isPositional(name string) bool {
	return name == "@" || name == "*" || len(name) == 1 && name[0] >= '1' && name[0] <= '9'
}

func isDefault(op syntax.ParExpOperator) bool {
	switch op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
		return true
	}
	return false
}

// operate applies ${a:1:2} and ${a/b/c} to the value and reports whether the
// result is known.
func (r *reader) operate(p *syntax.ParamExp, value *string) bool {
	switch {
	case p.Slice != nil:
		return slice(p.Slice, value)
	case p.Repl != nil:
		return r.replace(p.Repl, value)
	case p.Exp != nil:
		return isDefault(p.Exp.Op)
	}
	return true
}

func slice(s *syntax.Slice, value *string) bool {
	from, ok := constant(s.Offset, 0)
	if !ok || from > len(*value) {
		return false
	}
	length, ok := constant(s.Length, len(*value)-from)
	if !ok {
		return false
	}
	*value = (*value)[from:min(from+length, len(*value))]
	return true
}

// constant returns a number that is written out, or absent if there is none.
func constant(x syntax.ArithmExpr, absent int) (int, bool) {
	if x == nil {
		return absent, true
	}
	w, ok := x.(*syntax.Word)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(w.Lit(), 10, 16)
	return int(n), err == nil
}

func (r *reader) replace(repl *syntax.Replace, value *string) bool {
	old, with := "", ""
	if repl.Orig != nil {
		old = r.text(repl.Orig)
	}
	if repl.With != nil {
		with = r.text(repl.With)
	}
	if old == "" || strings.ContainsAny(old, "*?[#%") {
		return false
	}
	n := 1
	if repl.All {
		n = strings.Count(*value, old)
	}
	if r.budget -= n * len(with); r.budget < 0 {
		return false
	}
	*value = strings.Replace(*value, old, with, n)
	return true
}
