package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/sink"
)

func newDoctor() *cobra.Command {
	var o runOptions
	var asJSON bool
	var s *settings
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that run would use, and say what is missing",
		Long: `Connects to everything that run would use with the same options, and looks at
reach, credentials, rights, streams, the consumer, the schema, the rules and the
clocks. It changes and publishes nothing. Exit 1 if anything is missing.`,
		Example: "  ttp-worker doctor --config /etc/ttp-worker/config.yaml",
	}
	s = newSettings(cmd, func(cmd *cobra.Command) error {
		if err := o.complete(s); err != nil {
			return usageError{err}
		}
		d := &doctor{out: cmd.OutOrStdout()}
		if asJSON {
			d.print = d.asJSON
		} else {
			d.print = d.asText
		}
		return d.examine(cmd.Context(), &o)
	})
	o.flags(s)
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object a line")
	return cmd
}

// doctor prints what it finds and remembers whether all is well.
type doctor struct {
	out   io.Writer
	print func(finding)
	bad   int
}

// finding is one thing that was looked at.
type finding struct {
	What  string `json:"what"`
	OK    bool   `json:"ok"`
	Found string `json:"found,omitempty"`
	Do    string `json:"do,omitempty"` // what the operator can do
}

func (d *doctor) asText(f finding) {
	mark := "ok  "
	if !f.OK {
		mark = "BAD "
	}
	fmt.Fprintf(d.out, "%s %-26s %s\n", mark, f.What, f.Found)
	if f.Do != "" {
		fmt.Fprintf(d.out, "%-31s → %s\n", "", f.Do)
	}
}

func (d *doctor) asJSON(f finding) {
	_ = json.NewEncoder(d.out).Encode(f) // who reads it may have gone
}

// report takes what was found; hint makes what to do of the error.
func (d *doctor) report(what, found string, err error, hint func(error) string) {
	f := finding{What: what, OK: err == nil, Found: found}
	if err != nil {
		d.bad++
		f.Found = err.Error()
		f.Do = hint(err)
	}
	d.print(f)
}

func (d *doctor) examine(ctx context.Context, o *runOptions) error {
	d.rules(o)
	d.bus(ctx, o)
	d.database(ctx, o)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if d.bad > 0 {
		return fmt.Errorf("%d things are not as they should be", d.bad)
	}
	return nil
}

func (d *doctor) rules(o *runOptions) {
	set, problems, err := loadRules(o.rules)
	if err != nil {
		d.report("rules", "", err, func(error) string { return "correct --rules" })
		return
	}
	for _, p := range problems {
		d.report("rule "+cmp.Or(p.Rule, p.File), "", p, func(error) string { return "correct the file; until then the rule does not work" })
	}
	if len(problems) == 0 {
		d.report("rules", fmt.Sprintf("%d load", len(set.Rules())), nil, nil)
	}
}

// bus looks at NATS. An embedded one has nothing to go wrong before it starts,
// and another process may be using its store.
func (d *doctor) bus(ctx context.Context, o *runOptions) {
	if o.embedded != "" {
		return
	}
	options := o.busOptions()
	options.Consumer = o.consumerOptions()
	b, err := bus.Connect(options, zap.NewNop())
	if err != nil {
		d.report("nats", "", err, func(error) string { return "correct the options" })
		return
	}
	defer b.Close()
	b.Check(ctx, func(what, found string, err error) { d.report(what, found, err, bus.Explain) })
}

func (d *doctor) database(ctx context.Context, o *runOptions) {
	if path, ok := strings.CutPrefix(o.dsn(), "sqlite://"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // looking at it would make it
			d.report("database", "not there yet, run makes it", nil, nil)
			return
		}
	}
	db, err := sink.Open(o.dsn(), sink.Options{})
	if err != nil {
		d.report("database", "", err, func(error) string { return "correct --db" })
		return
	}
	defer func() { _ = db.Close() }() // it was only read
	db.Check(ctx, func(what, found string, err error) {
		d.report(what, found, err, func(err error) string { _, hint := sink.Explain(err); return hint })
	})
}
