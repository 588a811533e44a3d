package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/intake"
	"ttp-worker/logfile"
	"ttp-worker/replay"
	"ttp-worker/ruleset"
	"ttp-worker/sink"
	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

var (
	_ replay.Store    = (*sink.DB)(nil)
	_ replay.Database = (*sink.DB)(nil)
)

type replayOptions struct {
	bus runOptions // where the bus is

	sources, from, rules, ruleIDs []string
	fromStream, format            string
	sinceDays, since, until       string
	db, unknownAttacker, logLevel string
	rate                          string

	dryRun, resume, migrate, noLiveWorker bool
	batchSize                             int

	window    replay.Window
	perSecond float64
	useBus    bool
}

func newReplay() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Run history through the rules and store what is new; publishes nothing",
		Long: `Runs history through the rules and stores the tags that are not there yet. Nothing is published.

History is the database of a DECNET master (--source), files (--from: envelopes, Cowrie, OpenCanary,
Canarytokens and Thinkst webhooks, plain, .gz or .zst), or a stream (--from-stream).`,
		Example: `  ttp-worker replay --source all --since-days 30 --db mysql://ttp:secret@127.0.0.1:3306/decnet
  ttp-worker replay --from cowrie.json* --db sqlite://ttp.db
  ttp-worker replay --from cowrie.json.gz --dry-run`,
		Args: cobra.ArbitraryArgs, // further files
	}
	var s *settings
	s = newSettings(cmd, func(cmd *cobra.Command) error {
		o.from = append(o.from, cmd.Flags().Args()...)
		if err := o.complete(s); err != nil {
			return usageError{err}
		}
		return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
	})
	o.flags(s)
	return cmd
}

func (o *replayOptions) flags(s *settings) {
	s.texts(&o.sources, "source", nil, "history in the database: command, canary, all (these two), logs, credentials (repeatable)")
	s.texts(&o.from, "from", nil, "files, - for standard input (repeatable; further arguments are files, too)")
	s.text(&o.format, "format", "", "format of the files: "+strings.Join(logfile.Formats, ", ")+"; empty means that it is recognised", formatName)
	s.text(&o.fromStream, "from-stream", "", "stream whose history is replayed", nil)
	s.flag(&o.noLiveWorker, "no-live-worker", false, "no consumer of the stream is a live worker's, whatever its name: replay all that the stream has")
	s.text(&o.sinceDays, "since-days", "", "leave out what is older than so many days", wholeDays)
	s.text(&o.since, "since", "", "leave out what is older: 2026-05-02 or 2026-05-02T06:22:48Z", pointInTime)
	s.text(&o.until, "until", "", "leave out what is as old or younger", pointInTime)
	s.address(&o.db, "db", "", "database: mysql://user:pass@host:port/name or sqlite://PATH")
	s.texts(&o.rules, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
	s.texts(&o.ruleIDs, "rule", nil, "only this rule (repeatable)")
	s.text(&o.unknownAttacker, "unknown-attacker", "", "what becomes of tags of attackers without a row: retry (left out and counted) or create (default create with --from, else retry)", oneOf("", "retry", "create"))
	s.flag(&o.dryRun, "dry-run", false, "write nothing, tell what would be new")
	s.flag(&o.resume, "resume", false, "go on where the same replay stopped")
	s.flag(&o.migrate, "migrate", true, "create or update the tables at the start (not with --dry-run)")
	s.number(&o.batchSize, "batch-size", 500, 1, "tags in a transaction, about")
	s.text(&o.rate, "rate", "", "events a second at most, such as 500 or 500/s; empty means no limit", nil)
	s.text(&o.logLevel, logLevelFlag, "info", "debug, info, warn or error", validLevel)
	o.bus.busFlags(s)
}

func formatName(v string) error {
	if v == "" {
		return nil
	}
	return oneOf(logfile.Formats...)(v)
}

func wholeDays(v string) error {
	if n, err := strconv.Atoi(v); v != "" && (err != nil || n < 1 || n > 36500) {
		return errors.New("want a number of days, 1 or more")
	}
	return nil
}

func pointInTime(v string) error {
	if _, err := readTime(v); err != nil {
		return errors.New("want a time such as 2026-05-02 or 2026-05-02T06:22:48Z")
	}
	return nil
}

// readTime reads a day or a time, UTC if it has no zone; "" is the zero time.
func readTime(v string) (at time.Time, err error) {
	if v == "" {
		return at, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if at, err = time.Parse(layout, v); err == nil {
			return at.UTC(), nil
		}
	}
	return at, err
}

// complete settles what depends on other options.
func (o *replayOptions) complete(s *settings) error {
	given := 0
	for _, n := range []int{len(o.sources), len(o.from), len(o.fromStream)} {
		if n > 0 {
			given++
		}
	}
	var errs []error
	if given != 1 {
		errs = append(errs, errors.New("one of --source, --from and --from-stream is required, and no two of them"))
	}
	if o.sinceDays != "" && o.since != "" {
		errs = append(errs, errors.New("--since-days and --since exclude each other"))
	}
	if o.dryRun && o.resume {
		errs = append(errs, errors.New("--resume: a dry run notes no place to go on from"))
	}
	if o.db == "" && !(o.dryRun && len(o.sources) == 0) {
		errs = append(errs, errors.New("--db is required: mysql://user:pass@host:port/name or sqlite://PATH (or try --from FILE --dry-run)"))
	}
	if o.unknownAttacker == "" {
		o.unknownAttacker = "retry"
		if len(o.from) > 0 {
			o.unknownAttacker = "create"
		}
	}
	if o.rate != "" {
		n, err := strconv.ParseFloat(strings.TrimSuffix(o.rate, "/s"), 64)
		if err != nil || !(n > 0) {
			errs = append(errs, errors.New("--rate: want a number of events a second"))
		}
		o.perSecond = n
	}
	o.useBus = o.fromStream != "" || s.isGiven("nats") || o.bus.nats != defaultNATS
	return errors.Join(append(errs, o.completeSources(), o.completeWindow())...)
}

// completeSources spells "all" out and sees to it that each is named once.
func (o *replayOptions) completeSources() error {
	var names []string
	for _, name := range strings.Split(strings.Join(o.sources, ","), ",") {
		switch {
		case name == "all":
			names = append(names, "command", "canary")
		case slices.Contains(replay.DatabaseSources, name):
			names = append(names, name)
		case name != "":
			return fmt.Errorf("--source: %q is not one of command, canary, all, logs, credentials", name)
		}
	}
	o.sources = nil
	for _, name := range replay.DatabaseSources {
		if slices.Contains(names, name) {
			o.sources = append(o.sources, name)
		}
	}
	return nil
}

func (o *replayOptions) completeWindow() error {
	o.window.Since, _ = readTime(o.since) // checked with the options
	o.window.Until, _ = readTime(o.until)
	if days, err := strconv.Atoi(o.sinceDays); err == nil {
		o.window.Since = time.Now().UTC().AddDate(0, 0, -days)
	}
	if !o.window.Until.IsZero() && !o.window.Since.Before(o.window.Until) {
		return errors.New("--until: it is not after the beginning")
	}
	return nil
}

// memoryLimit is what the garbage collector aims at, so that the process stays
// below 256 MiB whatever it reads.
const memoryLimit = 200 << 20

func (o *replayOptions) run(ctx context.Context, stdin io.Reader, out io.Writer) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	log := newLog(levelOf(o.logLevel))
	defer func() { _ = log.Sync() }() // a terminal can't be synced
	history, err := o.open(ctx, stdin, log)
	if err != nil {
		return err
	}
	defer history.close()
	r, err := o.replay(ctx, history, log)
	if err != nil {
		return err
	}
	meter := newMeter(os.Stderr, log)
	r.Progress = meter.show
	start := time.Now()
	state, err := r.Run(ctx)
	meter.end()
	printState(out, state, o.dryRun, time.Since(start))
	return o.outcome(state, err)
}

// outcome turns what happened into what the user is told and the exit code.
func (o *replayOptions) outcome(state *replay.State, err error) error {
	total := state.Total()
	switch {
	case errors.Is(err, replay.ErrStopped) && o.dryRun:
		return err
	case errors.Is(err, replay.ErrStopped):
		return fmt.Errorf("%w; to go on: %s --resume", err, commandLine())
	case err != nil:
		if class, hint := sink.Explain(err); class != "other" {
			return fmt.Errorf("%w (%s)", err, hint)
		}
		return err
	case total.Malformed+total.Failed+total.Refused > 0:
		return exitError{exitMalformed, fmt.Errorf("done, but left out: %d malformed pieces of input, %d events at which a tagger failed, %d tags that the database refused",
			total.Malformed, total.Failed, total.Refused)}
	}
	return nil
}

// commandLine is how the program was called, for a shell. What a DSN holds may
// be secret.
func commandLine() string {
	args := slices.Clone(os.Args)
	args[0] = filepath.Base(args[0])
	args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "--resume") })
	for i, a := range args {
		scheme, rest, isDSN := strings.Cut(a, "mysql://")
		if _, place, ok := strings.Cut(rest, "@"); isDSN && ok {
			args[i] = scheme + "mysql://…@" + place
		}
		args[i] = shellQuoted(args[i])
	}
	return strings.Join(args, " ")
}

func shellQuoted(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool { return r <= ' ' || strings.ContainsRune("'\"$`\\*?[]{}&;()<>|!#~", r) }) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// replay wires what the options describe.
func (o *replayOptions) replay(ctx context.Context, h *history, log *zap.Logger) (*replay.Replay, error) {
	rules, err := o.loadRules(ctx, h, log)
	if err != nil {
		return nil, err
	}
	set := rules.Rules()
	chosen, err := onlyRules(rules, set, o.ruleIDs)
	if err != nil {
		return nil, usageError{err}
	}
	r := &replay.Replay{
		Sources: h.sources, Tagger: chosen,
		Job: o.job(), Rules: digest(set), Resume: o.resume, DryRun: o.dryRun,
		BatchSize: o.batchSize, Rate: o.perSecond, Retry: mayPass, Log: log.Named("replay"),
	}
	var db intake.Database = noDatabase{}
	if h.db != nil {
		r.Store, db = h.db, h.db
	}
	if o.dryRun {
		db = readOnly{db}
	}
	r.Resolver = intake.NewResolver(db, o.unknownAttacker == "create")
	r.Busy = o.busy(ctx, h.bus, log)
	return r, nil
}

// loadRules returns the tagger, with the rules and the states that operators
// have given them as they are now: they do not change during a replay.
func (o *replayOptions) loadRules(ctx context.Context, h *history, log *zap.Logger) (*ruleset.Live, error) {
	sources, err := ruleSources(o.rules)
	if err != nil {
		return nil, err
	}
	options := ruleset.Options{
		Sources: sources, Rules: ruleOptions(), Log: log.Named("rules"),
		Build: func(set *rule.Set) (tagger.Tagger, error) { return newTagger(set, log.Named("tagger")) },
	}
	if h.db == nil {
		return ruleset.New(options)
	}
	options.States = frozenStates{h.db}
	rules, err := ruleset.New(options)
	if err != nil {
		return nil, err
	}
	if err := rules.LoadStates(ctx); err != nil {
		_, hint := sink.Explain(err)
		return nil, fmt.Errorf("%w (%s)", err, hint)
	}
	return rules, nil
}

// frozenStates leaves it to the live worker to remove what has expired.
type frozenStates struct{ ruleset.States }

// DropExpiredRuleState does nothing.
func (frozenStates) DropExpiredRuleState(context.Context, string) error { return nil }

// mayPass reports whether a database error may be over in a while.
func mayPass(err error) bool {
	class, _ := sink.Explain(err)
	return class == "connection" || class == "conflict"
}

// onlyRules returns a tagger that says only what the rules called ids say; all
// it says if there are none.
func onlyRules(all tagger.Tagger, set *rule.Set, ids []string) (tagger.Tagger, error) {
	if len(ids) == 0 {
		return all, nil
	}
	for _, id := range ids {
		if !slices.ContainsFunc(set.Rules(), func(r rule.Info) bool { return r.ID == id }) {
			return nil, fmt.Errorf("--rule: there is no rule %q", id)
		}
	}
	return tagger.Func(func(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
		findings, err := all.Tag(ctx, ev)
		return slices.DeleteFunc(findings, func(f ttp.Finding) bool { return !slices.Contains(ids, f.RuleID) }), err
	}), nil
}

// digest names a set of rules.
func digest(set *rule.Set) string {
	h := sha256.New()
	for _, r := range set.Rules() {
		fmt.Fprintln(h, r.ID, r.Version, r.Status)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// job names what the options replay, so that the same is known again.
func (o *replayOptions) job() string {
	files := make([]string, len(o.from))
	for i, name := range o.from {
		files[i] = name
		if abs, err := filepath.Abs(name); err == nil && name != logfile.Stdin {
			files[i] = abs
		}
	}
	text, _ := json.Marshal([]any{o.sources, files, o.fromStream, o.format, o.bus.prefix, o.sinceDays, o.since, o.until, o.rules, o.ruleIDs}) // of strings
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
