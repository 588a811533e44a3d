package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// redirects are the redirections of one statement.
type redirects struct {
	writes, reads []string
	text          []string // as they are shown
	in            stream   // what a here-document puts into the input
}

func (r *reader) redirects(list []*syntax.Redirect) redirects {
	var red redirects
	for _, redir := range list {
		fd := ""
		if redir.N != nil {
			fd = redir.N.Value
		}
		target := r.text(redir.Word)
		red.add(fd, redir.Op.String(), target)
		switch redir.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			red.in = stream{known: true}
			if redir.Hdoc != nil {
				red.in.text = r.document(redir.Hdoc)
			}
		case syntax.WordHdoc:
			red.in = stream{text: target + "\n", known: true}
		}
	}
	return red
}

func (red *redirects) add(fd, op, target string) {
	red.text = append(red.text, fd+op+target)
	reads, writes := targets(op, target)
	if reads {
		red.reads = append(red.reads, target)
	}
	if writes {
		red.writes = append(red.writes, target)
	}
}

// targets reports whether a redirection reads from its target and writes to it.
func targets(op, target string) (reads, writes bool) {
	if strings.HasPrefix(op, "<<") || isDescriptor(target) && strings.HasSuffix(op, "&") {
		return false, false
	}
	return op[0] == '<', op[0] != '<' || op == "<>"
}

// isDescriptor reports whether target, of 2>&1, is no file.
func isDescriptor(target string) bool {
	for i := range len(target) {
		if c := target[i]; c != '-' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
