package main

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"
	"golang.org/x/tools/go/analysis/passes/nilness"
)

func TestIgnoreSilencesItsLineAndTheNextAndNothingElse(t *testing.T) {
	t.Parallel()
	a := *nilness.Analyzer
	obeyIgnores(&a)
	analysistest.Run(t, analysistest.TestData(), &a, "ignore")
}
