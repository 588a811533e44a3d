package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ttp-worker/api"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// readOptions are what the commands that ask the database have in common.
type readOptions struct {
	db    string
	all   bool
	texts map[string]*string // parameters of the question, by the name of the flag
	scope map[ttp.ScopeKind]*string

	asJSON, asCSV bool
}

// read is a command that asks one sort of question.
type read struct {
	use, short string
	parameters []string // flags that are parameters of the question
	scopes     []ttp.ScopeKind
	tabular    bool // there are other forms of the answer than JSON

	work func(ctx context.Context, o *readOptions, out io.Writer) error
}

func (r read) command() *cobra.Command {
	o := &readOptions{texts: map[string]*string{}, scope: map[ttp.ScopeKind]*string{}}
	cmd := &cobra.Command{Use: r.use, Short: r.short}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		if o.db == "" {
			return usageError{errors.New("--db is required: mysql://user:pass@host:port/name or sqlite://PATH")}
		}
		return r.work(cmd.Context(), o, cmd.OutOrStdout())
	})
	s.text(&o.db, "db", "", "database: mysql://user:pass@host:port/name or sqlite://PATH", nil)
	for _, kind := range r.scopes {
		o.scope[kind] = new(string)
		s.text(o.scope[kind], string(kind), "", scopeHelp[kind], nil)
	}
	if len(r.scopes) > 1 {
		s.flag(&o.all, "all", false, "of the whole fleet")
	}
	for _, name := range r.parameters {
		o.texts[name] = new(string)
		s.text(o.texts[name], name, "", parameterHelp[name], nil)
	}
	if r.tabular {
		s.flag(&o.asJSON, "json", false, "write JSON, as the API does")
		s.flag(&o.asCSV, "csv", false, "write comma-separated values")
	}
	return cmd
}

var scopeHelp = map[ttp.ScopeKind]string{
	ttp.ByIdentity: "uuid of an identity", ttp.ByAttacker: "uuid of an attacker", ttp.ByCampaign: "uuid of a campaign", ttp.BySession: "id of a session",
}

var parameterHelp = map[string]string{
	"min-confidence": "tags of at least this confidence, from 0 to 1",
	"since":          "tags stored at this time or later: 2026-05-02T06:22:48Z, 2026-05-02, or how long ago, such as 36h or 7d",
	"until":          "tags stored before this time",
	"tactic":         "tags of one tactic: TA0007 or discovery",
	"decky":          "tags of one decoy host",
	"limit":          "lines at most",
	"technique":      "a technique, which stands for its sub-techniques, too, or one sub-technique",
	"after":          "go on behind the page before, as it said",
	"domain":         "which matrix: enterprise-attack or ics-attack",
}

var filterFlags = []string{"min-confidence", "since", "until", "tactic", "decky"}

// question returns the sort of question and its parameters. name begins the
// names of the sorts that differ by scope.
func (o *readOptions) question(name string) (endpoint string, values url.Values, err error) {
	values = url.Values{}
	given := 0
	for kind, id := range o.scope {
		if *id != "" {
			name += "-by-" + string(kind)
			values.Set("id", *id)
			given++
		}
	}
	if o.all {
		given++
	}
	if given != 1 {
		return "", nil, usageError{errors.New("want one of " + o.scopeNames())}
	}
	for flag, value := range o.texts {
		if *value != "" {
			values.Set(strings.ReplaceAll(flag, "-", "_"), *value)
		}
	}
	if values.Has("technique") {
		name += "-of-technique"
	}
	return name, values, nil
}

// scoped reports whether a scope is given.
func (o *readOptions) scoped() bool {
	for _, id := range o.scope {
		if *id != "" {
			return true
		}
	}
	return false
}

func (o *readOptions) scopeNames() string {
	var names []string
	if len(o.scope) > 1 {
		names = append(names, "--all")
	}
	for _, kind := range ttp.ScopeKinds {
		if o.scope[kind] != nil {
			names = append(names, "--"+string(kind))
		}
	}
	return strings.Join(names, ", ")
}

// ask puts the question to the database.
func (o *readOptions) ask(ctx context.Context, name string) (api.Answer, error) {
	endpoint, values, err := o.question(name)
	if err != nil {
		return api.Answer{}, err
	}
	db, err := sink.Open(o.db, sink.Options{}) //nolint:contextcheck // it does not connect
	if err != nil {
		return api.Answer{}, usageError{fmt.Errorf("--db: %w", err)}
	}
	defer db.Close()
	service := &api.Service{Store: db, AnswerWithin: 10 * time.Minute}
	endpoints := service.Endpoints()
	at := slices.IndexFunc(endpoints, func(e api.Endpoint) bool { return e.Name == endpoint })
	answer, err := service.Ask(ctx, endpoints[at], values)
	return answer, asked(err)
}

// asked says what is wrong in the words of the command line.
func asked(err error) error {
	problem, ok := errors.AsType[*api.Problem](err)
	switch {
	case !ok:
		return err
	case problem.Cause != nil:
		_, hint := sink.Explain(problem.Cause)
		return fmt.Errorf("%w (%s)", problem.Cause, hint)
	}
	var faults []error
	for _, f := range problem.Faults {
		faults = append(faults, fmt.Errorf("--%s: %s", strings.ReplaceAll(f.Parameter, "_", "-"), f.Detail))
	}
	return usageError{errors.Join(faults...)}
}

// show writes what was asked for: v as JSON, or the table.
func (o *readOptions) show(out io.Writer, v any, t *table) error {
	switch {
	case o.asJSON:
		return writeJSON(out, v)
	case o.asCSV:
		return t.writeCSV(out)
	}
	return t.write(out, terminalWidth(out))
}

func newTechniques() *cobra.Command {
	return read{
		use: "techniques", short: "Show which techniques were seen, and how often", tabular: true,
		parameters: append([]string{"limit"}, filterFlags...), scopes: ttp.ScopeKinds,
		work: func(ctx context.Context, o *readOptions, out io.Writer) error {
			answer, err := o.ask(ctx, "techniques")
			if err != nil {
				return err
			}
			list := answer.Body.([]api.Technique)
			return o.show(out, list, techniqueTable(list, *o.scope[ttp.ByCampaign] != ""))
		},
	}.command()
}

func newPhases() *cobra.Command {
	return read{
		use: "phases", short: "Show what an identity did on which decky, earliest first", tabular: true,
		parameters: append([]string{"limit"}, filterFlags...), scopes: []ttp.ScopeKind{ttp.ByIdentity},
		work: func(ctx context.Context, o *readOptions, out io.Writer) error {
			answer, err := o.ask(ctx, "phases")
			if err != nil {
				return err
			}
			list := answer.Body.([]api.Phase)
			return o.show(out, list, phaseTable(list))
		},
	}.command()
}

func newTags() *cobra.Command {
	return read{
		use: "tags", short: "Show tags with their evidence, latest first", tabular: true,
		parameters: append([]string{"technique", "limit", "after"}, filterFlags...), scopes: ttp.ScopeKinds,
		work: func(ctx context.Context, o *readOptions, out io.Writer) error {
			answer, err := o.ask(ctx, "tags")
			if err != nil {
				return err
			}
			list := answer.Body.([]api.Tag)
			if err := o.show(out, list, tagTable(list)); err != nil || answer.Next == "" || o.asJSON || o.asCSV {
				return err
			}
			_, err = fmt.Fprintf(out, "There are more: --after %s\n", answer.Next)
			return err
		},
	}.command()
}

func techniqueTable(list []api.Technique, campaign bool) *table {
	t := &table{head: []string{"TECHNIQUE", "NAME", "TACTIC", "TAGS", "CONFIDENCE", "FIRST SEEN", "LAST SEEN"}, numbers: map[int]bool{3: true, 4: true}}
	t.spare, t.cut = []string{"PAGE", "FIRST SEEN", "CONFIDENCE", "LAST SEEN"}, []string{"NAME", "TACTIC"}
	if campaign {
		t.head = append(t.head, "IDENTITIES")
		t.numbers[7] = true
	}
	t.head = append(t.head, "PAGE")
	for i := range list {
		r := &list[i]
		row := []string{r.ID(), r.Name(), orText(r.TacticName, r.Tactic), strconv.FormatInt(r.Count, 10), confidence(r.MaxConfidence), stamp(r.FirstSeen), stamp(r.LastSeen)}
		if campaign {
			row = append(row, strconv.FormatInt(*r.Identities, 10))
		}
		t.rows = append(t.rows, append(row, orText(r.MitreURL, "")))
	}
	return t
}

func phaseTable(list []api.Phase) *table {
	t := &table{head: []string{"TIME", "DECKY", "TACTIC", "TAGS", "LAST SEEN"}, numbers: map[int]bool{3: true}, spare: []string{"LAST SEEN"}, cut: []string{"DECKY"}}
	for _, p := range list {
		t.rows = append(t.rows, []string{stamp(p.Time), p.DeckyID, orText(p.TacticName, p.Tactic), strconv.FormatInt(p.Count, 10), stamp(p.LastSeen)})
	}
	return t
}

func tagTable(list []api.Tag) *table {
	t := &table{head: []string{"TIME", "TECHNIQUE", "TACTIC", "CONFIDENCE", "RULE", "DECKY", "ATTACKER", "EVIDENCE"}, numbers: map[int]bool{3: true}}
	t.spare, t.cut = []string{"ATTACKER", "CONFIDENCE", "TACTIC", "RULE", "DECKY"}, []string{"DECKY", "EVIDENCE"}
	for i := range list {
		tag := &list[i]
		t.rows = append(t.rows, []string{
			stamp(tag.CreatedAt), orText(tag.SubTechnique, tag.Technique), orText(tag.TacticName, tag.Tactic), confidence(tag.Confidence),
			fmt.Sprintf("%s v%d", tag.RuleID, tag.RuleVersion), orText(tag.DeckyID, ""), orText(tag.AttackerUUID, ""), api.Excerpt(tag.Evidence, 200),
		})
	}
	return t
}

func orText(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func confidence(c float64) string { return strconv.FormatFloat(c, 'f', 2, 64) }

func stamp(t time.Time) string { return t.Format(time.DateTime) }
