package main

import (
	"go/ast"
	"go/token"
	"regexp"

	"golang.org/x/tools/go/analysis"
)

// directive names the analyzer to silence and the reason, which is not optional.
var directive = regexp.MustCompile(`^//nolint:(\w+) // \S`)

// line is one line of one file.
type line struct {
	file string
	n    int
}

// obeyIgnores makes the analyzer silent about a line that carries, or follows,
// a comment "//nolint:NAME // reason".
func obeyIgnores(a *analysis.Analyzer) {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		ignored := ignoredLines(pass, a.Name)
		filtered, report := *pass, pass.Report
		filtered.Report = func(d analysis.Diagnostic) {
			if !ignored[lineOf(pass.Fset, d.Pos)] {
				report(d)
			}
		}
		return run(&filtered)
	}
}

func ignoredLines(pass *analysis.Pass, name string) map[line]bool {
	ignored := map[line]bool{}
	for _, f := range pass.Files {
		for _, c := range comments(f) {
			if m := directive.FindStringSubmatch(c.Text); m != nil && m[1] == name {
				at := lineOf(pass.Fset, c.Pos())
				ignored[at] = true
				ignored[line{at.file, at.n + 1}] = true
			}
		}
	}
	return ignored
}

func comments(f *ast.File) []*ast.Comment {
	var all []*ast.Comment
	for _, group := range f.Comments {
		all = append(all, group.List...)
	}
	return all
}

func lineOf(fset *token.FileSet, pos token.Pos) line {
	p := fset.Position(pos)
	return line{p.Filename, p.Line}
}
