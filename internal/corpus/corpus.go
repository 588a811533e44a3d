// Package corpus holds command lines and Sigma rules of others for tests and
// benchmarks (README.md says whose), and lines that are made to be slow.
package corpus

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed lines.txt
var lines string

//go:embed sigma/*.yml
var sigma embed.FS

// Lines returns 2,000 distinct command lines: of botnets, reverse shells,
// attack techniques and ordinary work.
func Lines() []string { return strings.Split(strings.TrimSuffix(lines, "\n"), "\n") }

// Sigma returns 122 rules of SigmaHQ that are about commands.
func Sigma() fs.FS {
	sub, err := fs.Sub(sigma, "sigma")
	if err != nil {
		panic(err) // the name is not valid, which embed has checked
	}
	return sub
}
