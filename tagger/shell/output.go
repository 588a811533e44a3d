package shell

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// output returns what a command prints, as far as that can be told from its
// arguments and its input: programs that print their words and those that
// undo an encoding.
func (r *reader) output(program string, args []string, in stream) stream {
	out := known(program, args, in)
	if r.budget -= len(out.text); r.budget < 0 {
		r.broken = true
		return stream{}
	}
	return out
}

func known(program string, args []string, in stream) stream {
	switch program {
	case "echo":
		return echo(args, in)
	case "printf":
		return printf(args, in)
	}
	if !in.known {
		return stream{}
	}
	switch program {
	case "cat", "tee":
		return passed(args, in)
	case "rev":
		return stream{text: reversed(in.text), known: true, decoded: true}
	case "base64":
		if decodes(args) {
			return unbase64(in.text)
		}
	case "openssl":
		if slices.Contains(args, "-d") && (slices.Contains(args, "base64") || slices.Contains(args, "-base64") || slices.Contains(args, "-a")) {
			return unbase64(in.text)
		}
	case "xxd":
		if options := strings.Join(args, " "); strings.Contains(options, "r") && strings.Contains(options, "p") {
			return unhex(in.text)
		}
	}
	return stream{}
}

// echo prints its words. The echo of dash undoes escapes unasked, that of bash
// with -e only; with -n they differ in nothing that matters here.
func echo(args []string, in stream) stream {
	escapes := false
	for len(args) > 0 && isEchoOption(args[0]) {
		escapes = escapes || strings.Contains(args[0], "e")
		args = args[1:]
	}
	text := strings.Join(args, " ")
	out := stream{text: text, known: true, decoded: in.decoded}
	if escapes {
		out.text = unescapeC(text)
		out.decoded = out.decoded || out.text != text
	}
	out.text += "\n"
	return out
}

func isEchoOption(a string) bool {
	return len(a) > 1 && a[0] == '-' && strings.Trim(a[1:], "neE") == ""
}

// printf prints its format with the arguments put in, once.
func printf(args []string, in stream) stream {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return stream{}
	}
	format := unescapeC(args[0])
	out := stream{known: true, decoded: in.decoded || format != args[0] && strings.Contains(args[0], `\x`)}
	args = args[1:]
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		arg := ""
		if format[i] != '%' && len(args) > 0 {
			arg, args = args[0], args[1:]
		}
		b.WriteString(directive(format[i], arg))
	}
	out.text = b.String()
	return out
}

func directive(verb byte, arg string) string {
	switch verb {
	case '%':
		return "%"
	case 'b':
		return unescapeC(arg)
	}
	return arg
}

// passed is the output of a program that copies its input, if it reads no file.
func passed(args []string, in stream) stream {
	for _, a := range args {
		if a != "-" && a != "-u" && a != "-a" {
			return stream{}
		}
	}
	return in
}

func decodes(args []string) bool {
	for _, a := range args {
		if a == "--decode" || len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.ContainsAny(a, "dD") {
			return true
		}
	}
	return false
}

// unbase64 decodes what it can from the beginning of text.
func unbase64(text string) stream {
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	dst := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, _ := base64.RawStdEncoding.Decode(dst, []byte(text))
	return stream{text: string(dst[:n]), known: true, decoded: true}
}

func unhex(text string) stream {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, `\x`, "")), "")
	dst := make([]byte, hex.DecodedLen(len(text)))
	n, _ := hex.Decode(dst, []byte(text))
	return stream{text: string(dst[:n]), known: true, decoded: true}
}

func reversed(text string) string {
	b := []byte(strings.TrimSuffix(text, "\n"))
	slices.Reverse(b)
	return string(b)
}
