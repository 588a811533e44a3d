package rule

import "strings"

// newPythonPattern compiles a pattern in the syntax of Python's re. What
// differs for a yes or no answer is put into Go's words: classes and \b know all
// of Unicode, and $ also matches before a final newline. Of an expression that is
// too large for a table \b knows ASCII only.
func newPythonPattern(source string) (*pattern, error) {
	return compilePattern(fromPython(source), true)
}

// pythonClass is what an escaped letter means, as the inside of a bracket
// expression, in words that both engines know.
var pythonClass = map[byte]string{
	's': `\t-\r\x1c-\x20\x85\p{Z}`,
	'w': `_\p{L}\p{N}`,
	'd': `\p{Nd}`,
}

func fromPython(source string) string {
	multiline := strings.HasPrefix(source, "(?m") || strings.HasPrefix(source, "(?im")
	var b strings.Builder
	for i := 0; i < len(source); {
		n := tokenEnd(source[i:])
		token := source[i : i+n]
		i += n
		switch {
		case token[0] == '[':
			b.WriteString(bracketFromPython(token))
		case token[0] == '\\' && n == 2:
			b.WriteString(escapeFromPython(token))
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

func escapeFromPython(token string) string {
	c := token[1]
	if class, ok := pythonClass[c]; ok {
		return "[" + class + "]"
	}
	if class, ok := pythonClass[c|0x20]; ok {
		return "[^" + class + "]"
	}
	if c == 'Z' {
		return `\z`
	}
	return token
}

func bracketFromPython(token string) string {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' || i+1 == len(token) {
			b.WriteByte(token[i])
			continue
		}
		i++
		if class, ok := pythonClass[token[i]]; ok {
			b.WriteString(class)
			continue
		}
		b.WriteString(token[i-1 : i+1])
	}
	return b.String()
}
