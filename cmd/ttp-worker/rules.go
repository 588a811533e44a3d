package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

func newRules() *cobra.Command {
	root := &cobra.Command{
		Use: "rules", Short: "List, check, test and operate the rules",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{
		newRulesList(), newRulesShow(), newRulesLint(), newRulesTest(), newRulesExplain(), newRulesCoverage(),
		newRulesDisable(), newRulesEnable(), newRulesClip(),
	} {
		if c.Args == nil {
			c.Args = noArgs
		}
		root.AddCommand(c)
	}
	return root
}

// catalogueOptions are what list and show are told.
type catalogueOptions struct {
	rules []string
	db    string
	json  bool
}

func (o *catalogueOptions) flags(s *settings) {
	rulesFlag(s, &o.rules)
	s.text(&o.db, "db", "", "database to read the states of the rules from; empty means none", nil)
	s.flag(&o.json, "json", false, "write JSON")
}

func rulesFlag(s *settings, target *[]string) {
	s.texts(target, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
}

func newRulesList() *cobra.Command {
	var o catalogueOptions
	cmd := &cobra.Command{Use: "list", Short: "List every rule, and why those that do not work do not"}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		cards, err := o.cards(cmd.Context())
		if err != nil {
			return err
		}
		if o.json {
			return writeJSON(cmd.OutOrStdout(), cards)
		}
		return listTable(cards).write(cmd.OutOrStdout(), terminalWidth(cmd.OutOrStdout()))
	})
	o.flags(s)
	return cmd
}

func newRulesShow() *cobra.Command {
	var o catalogueOptions
	cmd := &cobra.Command{Use: "show RULE", Short: "Show everything that is known of a rule", Args: oneArg("the id of a rule")}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		cards, err := o.cards(cmd.Context())
		if err != nil {
			return err
		}
		id := cmd.Flags().Arg(0)
		found := cards[:0:0]
		var ids []string
		for _, c := range cards {
			ids = append(ids, c.ID)
			if c.ID == id {
				found = append(found, c)
			}
		}
		switch {
		case len(found) == 0:
			return fmt.Errorf("there is no rule %q%s", id, rule.Suggest(id, ids))
		case o.json:
			return writeJSON(cmd.OutOrStdout(), found)
		}
		for _, c := range found {
			c.write(cmd.OutOrStdout())
		}
		return nil
	})
	o.flags(s)
	return cmd
}

// card is a rule as it is shown.
type card struct {
	ID             string     `json:"rule_id"`
	Version        int        `json:"rule_version"`
	Title          string     `json:"title"`
	Description    string     `json:"description,omitempty"`
	Status         string     `json:"status"`
	Reason         string     `json:"reason,omitempty"`
	File           string     `json:"file"`
	Format         string     `json:"format,omitempty"`
	Kinds          []ttp.Kind `json:"source_kinds,omitempty"`
	Emits          []cardEmit `json:"emits,omitempty"`
	Level          string     `json:"level,omitempty"`
	Author         string     `json:"author,omitempty"`
	License        string     `json:"license,omitempty"`
	References     []string   `json:"references,omitempty"`
	FalsePositives []string   `json:"falsepositives,omitempty"`
	AttackRelease  string     `json:"attack_release,omitempty"`
	State          *cardState `json:"state,omitempty"`
}

type cardEmit struct {
	Tactic       string  `json:"tactic"`
	Technique    string  `json:"technique_id"`
	SubTechnique string  `json:"sub_technique_id,omitempty"`
	Confidence   float64 `json:"confidence"`
}

// cardState is a state as it is shown.
type cardState struct {
	RuleID        string   `json:"rule_id"`
	State         string   `json:"state"`
	ConfidenceMax *float64 `json:"confidence_max,omitempty"`
	ExpiresAt     string   `json:"expires_at,omitempty"`
	Reason        string   `json:"reason,omitempty"`
	SetBy         string   `json:"set_by,omitempty"`
	SetAt         string   `json:"set_at,omitempty"`

	text string
}

func stateJSON(s ttp.RuleState) *cardState {
	c := &cardState{RuleID: s.RuleID, State: s.State, ConfidenceMax: s.MaxConfidence, Reason: s.Reason, SetBy: s.SetBy, text: describeState(s)}
	if !s.Until.IsZero() {
		c.ExpiresAt = s.Until.Format(time.RFC3339)
	}
	if !s.SetAt.IsZero() {
		c.SetAt = s.SetAt.Format(time.RFC3339)
	}
	return c
}

// cards returns every rule that was read, by id, with its state.
func (o *catalogueOptions) cards(ctx context.Context) ([]card, error) {
	set, problems, err := loadRules(o.rules)
	if err != nil {
		return nil, err
	}
	states, err := o.states(ctx)
	if err != nil {
		return nil, err
	}
	var cards []card
	for _, info := range set.Rules() {
		cards = append(cards, newCard(info, states[info.ID]))
	}
	for _, p := range problems {
		if p.Rule == "" { // a rule with a name is in the set, refused
			cards = append(cards, card{Status: string(rule.Refused), Reason: p.Err.Error(), File: p.File})
		}
	}
	return cards, nil
}

func (o *catalogueOptions) states(ctx context.Context) (map[string]*cardState, error) {
	if o.db == "" {
		return nil, nil
	}
	db, err := openDB(o.db)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }() // nothing is under way
	list, err := db.RuleStates(ctx)
	if err != nil {
		return nil, explained(err)
	}
	states := make(map[string]*cardState)
	for _, s := range list {
		if !s.Expired(time.Now()) {
			states[s.RuleID] = stateJSON(s)
		}
	}
	return states, nil
}

func newCard(i rule.Info, state *cardState) card {
	c := card{
		ID: i.ID, Version: i.Version, Title: i.Title, Description: i.Description, Status: string(i.Status), Reason: i.Reason,
		File: i.File, Format: string(i.Format), Kinds: i.Kinds, Level: i.Level, Author: i.Author, License: i.License,
		References: i.References, FalsePositives: i.FalsePositives, AttackRelease: i.AttackRelease, State: state,
	}
	for _, e := range i.Emits {
		c.Emits = append(c.Emits, cardEmit(e))
	}
	return c
}

// condition is what is of note about the rule: why it does not work, or its state.
func (c *card) condition() string {
	if c.State != nil && c.State.State != ttp.RuleEnabled {
		return c.State.text
	}
	return c.Reason
}

func listTable(cards []card) *table {
	t := &table{head: []string{"RULE", "VERSION", "STATUS", "TITLE", "NOTE"}}
	for _, c := range cards {
		note := c.condition()
		if c.ID == "" {
			note = c.File + ": " + note
		}
		status := c.Status
		if c.State != nil && c.State.State != ttp.RuleEnabled && status == string(rule.Loaded) {
			status = c.State.State
		}
		t.rows = append(t.rows, []string{c.ID, strconv.Itoa(c.Version), status, short(c.Title, 60), note})
	}
	return t
}

// write writes the card as text.
func (c *card) write(out io.Writer) {
	line := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(out, "%-15s  %s\n", name, visible(v))
				name = ""
			}
		}
	}
	line("rule", fmt.Sprintf("%s, version %d", c.ID, c.Version))
	line("title", c.Title)
	line("description", strings.Join(strings.Fields(c.Description), " "))
	line("status", strings.TrimSuffix(c.Status+": "+c.Reason, ": "))
	if c.State != nil {
		line("state", c.State.text)
	}
	line("file", c.File)
	line("format", c.Format)
	for i, kind := range c.Kinds {
		line([]string{"events", ""}[min(i, 1)], string(kind))
	}
	for i, e := range c.Emits {
		line([]string{"reports", ""}[min(i, 1)], describeEmit(e))
	}
	line("level", c.Level)
	line("author", c.Author)
	line("license", c.License)
	line("references", c.References...)
	line("false positives", c.FalsePositives...)
	line("ATT&CK", c.AttackRelease)
}

func describeEmit(e cardEmit) string {
	return fmt.Sprintf("%s %s, confidence %v", e.Tactic, cmp.Or(e.SubTechnique, e.Technique), e.Confidence)
}
