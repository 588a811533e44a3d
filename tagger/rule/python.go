package rule

import "strings"

// newPythonPattern compiles a pattern in the syntax of Python's re. What
// differs for a yes or no answer is put into Go's words: classes and \b know all
// of Unicode, unless the flag a says otherwise, and $ also matches before a final
// newline. Of an expression that is too large for a table \b knows ASCII only.
func newPythonPattern(source string) (*pattern, error) {
	flags, _ := pythonFlags(source)
	return compilePattern(fromPython(source), !strings.Contains(flags, "a"))
}

// pythonFlags cuts the flags for the whole pattern off its front.
func pythonFlags(source string) (flags, rest string) {
	inside, ok := strings.CutPrefix(source, "(?")
	flags, rest, closed := strings.Cut(inside, ")")
	if !ok || !closed || flags == "" || strings.Trim(flags, "aimsux") != "" {
		return "", source
	}
	return flags, rest
}

// pythonClass is what an escaped letter means, as the inside of a bracket
// expression, in words that both engines know.
var pythonClass = map[byte]string{
	's': `\t-\r\x1c-\x20\x85\p{Z}`,
	'w': `_\p{L}\p{N}`,
	'd': `\p{Nd}`,
	'S': `\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}`,
	'W': `\p{M}\p{S}\p{Z}\p{C}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}‿⁀⁔︳︴﹍-﹏＿`, // of \p{Pc} all but _
	'D': `\P{Nd}`,
}

// asciiClass is pythonClass under the flag a.
var asciiClass = map[byte]string{
	's': `\t-\r\x20`,
	'w': `_a-zA-Z0-9`,
	'd': `0-9`,
	'S': `\x00-\x08\x0e-\x1f!-` + "\U0010ffff",
	'W': `\x00-/:-@\[-\x5e\x60{-` + "\U0010ffff",
	'D': `\x00-/:-` + "\U0010ffff",
}

func fromPython(source string) string {
	flags, source := pythonFlags(source)
	multiline, classes := strings.Contains(flags, "m"), pythonClass
	if strings.Contains(flags, "a") {
		classes = asciiClass
	}
	var b strings.Builder
	if known := strings.NewReplacer("a", "", "u", "").Replace(flags); known != "" {
		b.WriteString("(?" + known + ")")
	}
	for i := 0; i < len(source); {
		if name := referredTo(source[i:]); name != "" {
			b.WriteString(`\k<` + name + ">")
			i += len("(?P=)") + len(name)
			continue
		}
		n := tokenEnd(source[i:])
		token := source[i : i+n]
		i += n
		switch {
		case token[0] == '[':
			b.WriteString(bracketFromPython(token, classes))
		case token[0] == '\\' && n == 2:
			b.WriteString(escapeFromPython(token, classes))
		case token == "$" && !multiline:
			b.WriteString(`(?:\n?\z)`)
		case token == "{" && strings.HasPrefix(source[i:], ","):
			b.WriteString("{0")
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// referredTo returns the name of the group whose text (?P=name) at the beginning
// of s asks for again, "" if nothing does.
func referredTo(s string) string {
	name, ok := strings.CutPrefix(s, "(?P=")
	name, _, closed := strings.Cut(name, ")")
	if !ok || !closed {
		return ""
	}
	return name
}

func escapeFromPython(token string, classes map[byte]string) string {
	c := token[1]
	if c == 's' || c == 'w' || c == 'd' {
		return "[" + classes[c] + "]"
	}
	if c == 'S' || c == 'W' || c == 'D' {
		return "[^" + classes[c|0x20] + "]"
	}
	if c == 'Z' {
		return `\z`
	}
	return token
}

func bracketFromPython(token string, classes map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' || i+1 == len(token) {
			b.WriteByte(token[i])
			continue
		}
		i++
		if class, ok := classes[token[i]]; ok {
			b.WriteString(class)
			continue
		}
		b.WriteString(token[i-1 : i+1])
	}
	return b.String()
}
