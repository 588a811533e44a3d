// Command lint holds the analyzers that neither go vet nor staticcheck brings.
// It runs as the -vettool of go vet, so go's build cache remembers what was
// already found clean.
package main

import (
	"github.com/jingyugao/rowserrcheck/passes/rowserr"
	"github.com/polyfloyd/go-errorlint/errorlint"
	sqlclose "github.com/ryanrolds/sqlclosecheck/pkg/analyzer"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	analyzers := []*analysis.Analyzer{
		errorlint.NewAnalyzer(),
		nilness.Analyzer,
		rowserr.NewAnalyzer(),
		sqlclose.NewAnalyzer(),
		unusedwrite.Analyzer,
	}
	for _, a := range analyzers {
		obeyIgnores(a)
	}
	unitchecker.Main(analyzers...)
}
