package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ttp-worker/tagger/rule"
)

// severities are the values of lint --level.
var severities = map[string]rule.Severity{"error": rule.Error, "warning": rule.Warning, "hint": rule.Hint}

func newRulesLint() *cobra.Command {
	var dirs []string
	var level string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check the rules: schema, ids, ATT&CK, patterns, fields",
		Long: `Checks the rules and writes what there is to say, a line each, by file:

error    keeps a rule from working: schema, ids, unknown and revoked techniques
warning  is likely not meant: a misspelt key or field, a revoked id that is
         translated, a catastrophic or an over-broad pattern, a tag that is never stored
hint     would make a good rule better: tests, references, cost

The exit code is 1 if there is anything of the --level or above.`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		named, err := ruleSources(dirs)
		if err != nil {
			return err
		}
		return writeRemarks(cmd.OutOrStdout(), rule.Lint(bare(named)...), severities[level], asJSON)
	})
	rulesFlag(s, &dirs)
	s.text(&level, "level", "warning", "the least that is written: hint, warning or error", oneOf("hint", "warning", "error"))
	s.flag(&asJSON, "json", false, "write JSON")
	return cmd
}

// remark is a remark as JSON.
type remark struct {
	Level   string `json:"level"`
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Rule    string `json:"rule_id,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

func writeRemarks(out io.Writer, list []rule.Remark, least rule.Severity, asJSON bool) error {
	remarks := []remark{}
	for _, r := range list {
		if r.Severity >= least {
			remarks = append(remarks, remark{r.Severity.String(), r.File, r.Line, r.Rule, r.Field, r.Text})
		}
	}
	if asJSON {
		if err := writeJSON(out, remarks); err != nil {
			return err
		}
	} else {
		for _, r := range remarks {
			fmt.Fprintln(out, visible(r.text()))
		}
	}
	if len(remarks) > 0 {
		return fmt.Errorf("%d findings in the rules", len(remarks))
	}
	return nil
}

// text says the remark as compilers do: file:line: level: rule: key: message.
func (r *remark) text() string {
	place := r.File
	if r.Line > 0 {
		place = fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	parts := []string{place, r.Level}
	if r.Rule != "" {
		parts = append(parts, "rule "+r.Rule)
	}
	if r.Field != "" {
		parts = append(parts, r.Field)
	}
	return strings.Join(append(parts, r.Message), ": ")
}

func newRulesTest() *cobra.Command {
	var dirs []string
	var asJSON bool
	cmd := &cobra.Command{Use: "test", Short: "Run the tests that stand in the rules"}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		set, problems, err := loadRules(dirs)
		if err != nil {
			return err
		}
		return testRules(cmd.OutOrStdout(), set, problems, asJSON)
	})
	rulesFlag(s, &dirs)
	s.flag(&asJSON, "json", false, "write JSON")
	return cmd
}

// testReport is the outcome of the tests as JSON.
type testReport struct {
	Rules    int           `json:"rules"`
	Refused  []string      `json:"refused"`
	Failures []testFailure `json:"failures"`
}

type testFailure struct {
	Rule  string `json:"rule_id"`
	File  string `json:"file"`
	Line  int    `json:"line"`
	Input string `json:"input"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

func testRules(out io.Writer, set *rule.Set, problems []rule.Problem, asJSON bool) error {
	failures := set.Test()
	if asJSON {
		if err := writeJSON(out, newTestReport(set, problems, failures)); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(out, "refused:", visible(p.Error()))
		}
		for i := range failures {
			writeFailure(out, set, &failures[i])
		}
	}
	switch {
	case len(failures)+len(problems) > 0:
		return fmt.Errorf("%d tests failed, %d rules or files were refused", len(failures), len(problems))
	case !asJSON:
		_, err := fmt.Fprintf(out, "%d rules, all tests passed\n", len(set.Rules()))
		return err
	}
	return nil
}

func newTestReport(set *rule.Set, problems []rule.Problem, failures []rule.Failure) testReport {
	report := testReport{Rules: len(set.Rules()), Refused: []string{}, Failures: []testFailure{}}
	for _, p := range problems {
		report.Refused = append(report.Refused, p.Error())
	}
	for _, f := range failures {
		report.Failures = append(report.Failures, testFailure{f.Rule, f.File, f.Line, f.Input, f.Want, f.Got})
	}
	return report
}

// writeFailure writes what was wanted and what came, and how it came to that.
func writeFailure(out io.Writer, set *rule.Set, f *rule.Failure) {
	fmt.Fprintf(out, "FAIL %s  %s:%d\n", visible(f.Rule), visible(f.File), f.Line)
	fmt.Fprintf(out, "    input:  %s\n", short(visible(f.Input), 400))
	fmt.Fprintf(out, "  - want:   %s\n", visible(f.Want))
	fmt.Fprintf(out, "  + got:    %s\n", visible(f.Got))
	for _, e := range set.Explain(&f.Event) {
		if e.Rule.ID != f.Rule {
			continue
		}
		if e.Record != "" {
			fmt.Fprintf(out, "    in:     %s\n", short(visible(e.Record), 160))
		}
		writeTrace(out, &e.Trace, e.Matched, 2)
	}
	fmt.Fprintln(out)
}
