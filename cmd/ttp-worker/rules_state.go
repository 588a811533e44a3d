package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// stateOptions are what disable, enable and clip are told.
type stateOptions struct {
	db, until, max, reason string
	rules                  []string
	json                   bool
}

func newRulesDisable() *cobra.Command {
	return newRulesState("disable", "Drop the tags of a rule, in every worker within two seconds", ttp.RuleDisabled)
}

func newRulesEnable() *cobra.Command {
	return newRulesState("enable", "Take back what disable or clip did to a rule", ttp.RuleEnabled)
}

func newRulesClip() *cobra.Command {
	return newRulesState("clip", "Cap the confidence of a rule's tags; below 0.3 they are dropped", ttp.RuleClipped)
}

func newRulesState(name, short, state string) *cobra.Command {
	var o stateOptions
	cmd := &cobra.Command{Use: name + " RULE", Short: short, Args: oneArg("the id of a rule")}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		decided, err := o.state(cmd.Flags().Arg(0), state, time.Now())
		if err != nil {
			return usageError{err}
		}
		return o.set(cmd.Context(), decided, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	s.text(&o.db, "db", "", "database: mysql://user:pass@host:port/name or sqlite://PATH", nil)
	s.text(&o.reason, "reason", "", "why, for those who come after", nil)
	if state != ttp.RuleEnabled {
		s.text(&o.until, "until", "", "when the rule turns back by itself: 2h, 7d, 2026-05-02T06:00:00Z or 2026-05-02; empty means never", nil)
	}
	if state == ttp.RuleClipped {
		s.text(&o.max, "max", "", "the highest confidence, from 0 to 1", nil)
	}
	s.texts(&o.rules, "rules", []string{"builtin"}, "directory of rule files, or builtin, to know the rule from (repeatable)")
	s.flag(&o.json, "json", false, "write the state as JSON")
	guardRole(cmd)
	return cmd
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usageError{fmt.Errorf("%s takes one argument, %s", cmd.CommandPath(), what)}
		}
		return nil
	}
}

// state reads the options.
func (o *stateOptions) state(rule, state string, now time.Time) (ttp.RuleState, error) {
	s := ttp.RuleState{RuleID: rule, State: state, Reason: o.reason, SetBy: whoami()}
	if o.db == "" {
		return s, errors.New("--db is required: mysql://user:pass@host:port/name or sqlite://PATH")
	}
	if state == ttp.RuleClipped {
		limit, err := strconv.ParseFloat(o.max, 64)
		if err != nil {
			return s, errors.New("--max is required: a number from 0 to 1")
		}
		s.MaxConfidence = &limit
	}
	var err error
	if s.Until, err = parseUntil(o.until, now); err != nil {
		return s, fmt.Errorf("--until: %w", err)
	}
	return s, s.Check()
}

// parseUntil reads a time to come: a duration from now or a date in UTC.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	until, err := moment(text, now)
	if err == nil && !until.After(now) {
		err = errors.New("it is in the past")
	}
	return until.UTC(), err
}

func moment(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("want a duration such as 90m, 2h or 7d, or a time such as 2026-05-02T06:00:00Z")
}

// whoami is who decided, as far as this machine knows.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// set stores the state. A rule that is not among the known ones may be one of
// the workers' all the same: they may have other directories.
func (o *stateOptions) set(ctx context.Context, s ttp.RuleState, out, complaints io.Writer) error {
	set, _, err := loadRules(o.rules)
	if err != nil {
		return err
	}
	if hint := set.Suggest(s.RuleID); hint != "" {
		fmt.Fprintf(complaints, "ttp-worker: warning: %s\n", hint)
	}
	db, err := openDB(o.db)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nothing is under way
	if s, err = db.SetRuleState(ctx, s); err != nil {
		return explained(err)
	}
	if o.json {
		return writeJSON(out, stateJSON(s))
	}
	_, err = fmt.Fprintf(out, "%s is %s\n", visible(s.RuleID), visible(describeState(s)))
	return err
}

func openDB(dsn string) (*sink.DB, error) {
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		return nil, usageError{fmt.Errorf("--db: %w", err)}
	}
	return db, nil
}

// explained adds to an error of the database what can be done about it.
func explained(err error) error {
	if _, hint := sink.Explain(err); hint != "" && !ttp.IsPermanent(err) {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

// describeState says a state in words: "disabled until 2026-…, by ann: noisy".
func describeState(s ttp.RuleState) string {
	text := s.State
	if s.State == ttp.RuleClipped && s.MaxConfidence != nil {
		text += fmt.Sprintf(" to %v", *s.MaxConfidence)
	}
	if !s.Until.IsZero() {
		text += " until " + s.Until.Format(time.RFC3339)
	}
	if s.SetBy != "" {
		text += ", by " + s.SetBy
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}
