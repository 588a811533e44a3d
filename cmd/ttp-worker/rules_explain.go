package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// explainOptions are what explain is told.
type explainOptions struct {
	rules     []string
	kind, rid string
	closest   int
	json      bool
}

func newRulesExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain LINE",
		Short: "Say which rules look at a line, and why each did or did not match",
		Long: `Says which rules match a line, by which of its simple commands and by which
tests; then which rules came closest, and what they missed.

LINE is a shell command, or with --kind another text: the address of a request
(http_request), a user name (auth_attempt). A LINE that is a JSON object is the
whole payload. Nothing in it is run.`,
		Example: `  ttp-worker rules explain 'find / -perm -4000'
  ttp-worker rules explain --rule R0015 'find / -name x'
  ttp-worker rules explain --kind http_request '/cgi-bin/../../etc/passwd'`,
		Args: oneArg("a line"),
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error { return o.run(cmd.Context(), cmd.Flags().Arg(0), cmd.OutOrStdout()) })
	rulesFlag(s, &o.rules)
	s.text(&o.kind, "kind", string(ttp.Command), "the kind of event that the line is", nil)
	s.text(&o.rid, "rule", "", "explain this rule only, whether or not it came close", nil)
	s.number(&o.closest, "closest", 5, 0, "how many rules that did not match are explained")
	s.flag(&o.json, "json", false, "write JSON: every rule that was asked, with its whole trace")
	return cmd
}

func (o *explainOptions) run(ctx context.Context, line string, out io.Writer) error {
	ev, err := o.event(line)
	if err != nil {
		return usageError{err}
	}
	set, _, err := loadRules(o.rules)
	if err != nil {
		return err
	}
	if hint := set.Suggest(o.rid); o.rid != "" && hint != "" {
		return errors.New(hint)
	}
	list := slices.DeleteFunc(set.Explain(ev), func(e rule.Explanation) bool { return o.rid != "" && e.Rule.ID != o.rid })
	if o.json {
		return writeJSON(out, explanations(list))
	}
	tags, err := o.tags(ctx, set, ev)
	if err != nil {
		return err
	}
	o.write(out, ev.Kind, list, tags)
	return nil
}

// event makes the event of the line.
func (o *explainOptions) event(line string) (*ttp.Event, error) {
	ev := &ttp.Event{Kind: ttp.Kind(o.kind), SourceID: "explain"}
	if strings.HasPrefix(strings.TrimSpace(line), "{") {
		if payload, err := ttp.ParseObject(line); err == nil {
			ev.Payload = payload
			return ev, nil
		}
	}
	field := rule.DefaultField(ev.Kind)
	if field == "" {
		return nil, fmt.Errorf("an event of kind %.40q is no single text: give its payload as a JSON object", o.kind)
	}
	ev.Payload = ttp.Object{{Name: field, Value: ttp.Quote(line)}}
	return ev, nil
}

// tags returns what the worker would say in the end, lifters included.
func (o *explainOptions) tags(ctx context.Context, set *rule.Set, ev *ttp.Event) ([]ttp.Finding, error) {
	t, err := newTagger(set, zap.NewNop())
	if err != nil {
		return nil, err
	}
	return t.Tag(ctx, ev)
}

func (o *explainOptions) write(out io.Writer, kind ttp.Kind, list []rule.Explanation, tags []ttp.Finding) {
	matched := slices.DeleteFunc(slices.Clone(list), func(e rule.Explanation) bool { return !e.Matched })
	near := slices.DeleteFunc(slices.Clone(list), func(e rule.Explanation) bool { return e.Matched || o.rid == "" && e.Near == 0 })
	slices.SortStableFunc(near, func(a, b rule.Explanation) int { return b.Near - a.Near })
	near = near[:min(len(near), max(o.closest, len(o.rid)))]
	if len(list) == 0 {
		fmt.Fprintf(out, "No rule of the engine looks at events of kind %s.\n", visible(string(kind)))
	}
	for i := range matched {
		writeExplanation(out, &matched[i], "MATCH")
		writeTrace(out, &matched[i].Trace, o.rid == "", 1)
		fmt.Fprintln(out)
	}
	for i := range near {
		writeExplanation(out, &near[i], "close")
		if o.rid != "" {
			writeTrace(out, &near[i].Trace, false, 1)
		} else {
			writeMissing(out, &near[i])
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%d of %d rules match", len(matched), len(list))
	if rest := len(list) - len(matched) - len(near); rest > 0 {
		fmt.Fprintf(out, ", %d more found nothing or less of what they look for (--closest, --rule)", rest)
	}
	fmt.Fprint(out, ".\n")
	writeFindings(out, tags, o.rid)
}

// writeFindings writes the tags that come of it, and whether they are kept.
func writeFindings(out io.Writer, tags []ttp.Finding, only string) {
	for _, f := range tags {
		if only != "" && f.RuleID != only {
			continue
		}
		fate := ""
		if f.Confidence < ttp.MinConfidence {
			fate = fmt.Sprintf(", dropped: below the floor of %v", ttp.MinConfidence)
		}
		fmt.Fprintf(out, "tag: %s %s by %s, confidence %v%s\n", f.Tactic, cmp.Or(f.SubTechnique, f.Technique), visible(f.RuleID), f.Confidence, fate)
	}
}

func writeExplanation(out io.Writer, e *rule.Explanation, word string) {
	fmt.Fprintf(out, "%s %s  %s\n", word, visible(e.Rule.ID), visible(e.Rule.Title))
	if e.Record != "" {
		fmt.Fprintf(out, "    in the simple command: %s\n", short(visible(e.Record), 160))
	}
	if e.Cut {
		fmt.Fprintln(out, "    the event is too large: not all of it was looked at for this")
	}
}

// writeMissing writes what a rule that came close did not find.
func writeMissing(out io.Writer, e *rule.Explanation) {
	for _, t := range e.Trace.Missing() {
		if t.Asked == "not" {
			fmt.Fprintf(out, "  - it must not be: %s\n", short(visible(truth(&t)), 200))
			continue
		}
		question := strings.TrimSpace(t.Asked + " " + t.Wanted)
		if t.Selection != "" {
			question = t.Selection + ": " + question
		}
		fmt.Fprintf(out, "  - missing: %s%s\n", short(visible(question), 200), saw(&t))
	}
}

// truth says what is true of a part, its selection or its first true test.
func truth(t *rule.Trace) string {
	if t.Selection != "" && t.Holds {
		return t.Selection
	}
	for i := range t.Parts {
		if t.Parts[i].Holds {
			return truth(&t.Parts[i])
		}
	}
	return t.Asked + " " + t.Wanted
}

func saw(t *rule.Trace) string {
	if len(t.Parts) > 0 {
		return ""
	}
	if t.Saw == nil {
		return "   (there is none)"
	}
	return "   saw " + short(visible(strings.Join(t.Saw, " | ")), 120)
}

// writeTrace writes a part of a condition, true ones with a plus. If the whole
// is true, what decided nothing is left out: untrue alternatives of a true one.
func writeTrace(out io.Writer, t *rule.Trace, decided bool, depth int) {
	sign := "-"
	if t.Holds {
		sign = "+"
	}
	fmt.Fprintf(out, "%s%s ", strings.Repeat("  ", depth), sign)
	if t.Selection != "" {
		fmt.Fprintf(out, "%s: ", visible(t.Selection))
	}
	if words, first := sameTests(t); first != nil && (!t.Holds || !decided) {
		fmt.Fprintf(out, "%s any of %s%s\n", visible(first.Asked), short(visible(words), 160), saw(first))
		return
	}
	fmt.Fprintf(out, "%s", strings.TrimSpace(short(visible(t.Asked+" "+t.Wanted), 240)))
	if len(t.Parts) == 0 {
		fmt.Fprint(out, saw(t))
	}
	fmt.Fprintln(out)
	for i := range t.Parts {
		if part := &t.Parts[i]; part.Holds || !decided || !t.Holds || t.Asked != "any of" {
			writeTrace(out, part, decided, depth+1)
		}
	}
}

// sameTests returns what alternatives that ask the same compare with, and the
// first of them; nil if they are no such.
func sameTests(t *rule.Trace) (words string, first *rule.Trace) {
	if t.Asked != "any of" {
		return "", nil
	}
	var list []string
	for i := range t.Parts {
		part := &t.Parts[i]
		if len(part.Parts) > 0 || part.Asked != t.Parts[0].Asked || part.Selection != "" {
			return "", nil
		}
		list = append(list, part.Wanted)
	}
	return strings.Join(list, ", "), &t.Parts[0]
}

// explanation is an explanation as JSON.
type explanation struct {
	Rule    string    `json:"rule_id"`
	Version int       `json:"rule_version"`
	Title   string    `json:"title"`
	Matched bool      `json:"matched"`
	Record  string    `json:"simple_command,omitempty"`
	Cut     bool      `json:"cut,omitempty"`
	Trace   traceJSON `json:"trace"`
}

type traceJSON struct {
	Selection string      `json:"selection,omitempty"`
	Asked     string      `json:"asked"`
	Wanted    string      `json:"wanted,omitempty"`
	Saw       []string    `json:"saw,omitempty"`
	Holds     bool        `json:"holds"`
	Parts     []traceJSON `json:"parts,omitempty"`
}

func explanations(list []rule.Explanation) []explanation {
	out := make([]explanation, len(list))
	for i, e := range list {
		out[i] = explanation{e.Rule.ID, e.Rule.Version, e.Rule.Title, e.Matched, e.Record, e.Cut, newTraceJSON(&e.Trace)}
	}
	return out
}

func newTraceJSON(t *rule.Trace) traceJSON {
	out := traceJSON{Selection: t.Selection, Asked: t.Asked, Wanted: t.Wanted, Saw: t.Saw, Holds: t.Holds}
	for i := range t.Parts {
		out.Parts = append(out.Parts, newTraceJSON(&t.Parts[i]))
	}
	return out
}
