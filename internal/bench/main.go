// Command bench measures the whole worker as a process, between a NATS server
// and a database that are processes, too, and holds it against a bare loop that
// does the least that could be called the same job.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"ttp-worker/internal/servers"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

type options struct {
	events, rounds int
	only           string
	corpus         string
	keep           string
	profiles       string
	scale          scale
}

func main() {
	var o options
	var bare bareOptions
	o.flags(flag.CommandLine)
	bare.flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := o.run
	if bare.nats != "" {
		work = bare.run
	}
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *options) flags(f *flag.FlagSet) {
	f.IntVar(&o.events, "events", 100_000, "messages of a run")
	f.IntVar(&o.rounds, "rounds", 1, "how often everything is run; medians are printed")
	f.StringVar(&o.only, "only", "", "run only the scenarios whose name matches this regular expression")
	f.StringVar(&o.corpus, "corpus", "cmd/ttp-worker/demodata/honeypot-commands.jsonl", "commands: JSON lines with a member input")
	f.StringVar(&o.keep, "dir", "", "directory of servers and logs, kept; empty means a temporary one")
	f.StringVar(&o.profiles, "profiles", "", "directory for profiles of the worker, which is then built with them; empty means none")
	f.BoolVar(&o.scale.wanted, "scale", false, "measure how the cost grows with what is there, instead of the usual scenarios")
	f.IntVar(&o.scale.rows, "rows", 10_000_000, "with -scale: tags in the table")
	f.IntVar(&o.scale.backlog, "backlog", 10_000_000, "with -scale: messages in the stream")
	f.IntVar(&o.scale.attackers, "attackers", 1_000_000, "with -scale: attackers, of one event each")
}

// scenario is one line of the table.
type scenario struct {
	name      string
	contender string // "worker", or "bare"
	db        string // "mariadb", or "sqlite" with the bus inside the worker
	lanes     int
	workers   int
	mix       mix
	rules     int    // as many rules as the built-in pack has, times this
	again     bool   // the same events were there before
	base      string // the scenario that its rate is a share of, "" for none
	events    int    // 0 means as many as are asked for
	rows      int    // tags that are in the table before
	backlog   int    // messages that are in the stream behind those that are measured
}

// scale says how much there is.
type scale struct {
	wanted                   bool
	rows, backlog, attackers int
}

// scenarios are those that are asked for.
func (o *options) scenarios() []scenario {
	if !o.scale.wanted {
		return scenarios()
	}
	little := scenario{name: "little of everything", contender: "worker", db: "mariadb", lanes: 2, workers: 1, mix: usual, rules: 1}
	list := []scenario{little}
	add := func(name string, change func(*scenario)) {
		s := little
		s.name, s.base = name, little.name
		change(&s)
		list = append(list, s)
	}
	add(fmt.Sprintf("%d tags in the table", o.scale.rows), func(s *scenario) { s.rows = o.scale.rows })
	add(fmt.Sprintf("%d messages in the stream", o.scale.backlog), func(s *scenario) { s.backlog = o.scale.backlog })
	add(fmt.Sprintf("%d attackers", o.scale.attackers), func(s *scenario) { s.mix.wide, s.events = o.scale.attackers, o.scale.attackers })
	return list
}

// scenarios are what is run, in this order. Bare loop and worker take turns,
// so that a slow minute of the machine is not one contender's.
func scenarios() []scenario {
	list := []scenario{}
	for _, m := range []mix{real, sparse, usual, dense, sessions} {
		list = append(list,
			scenario{name: "bare loop, " + m.name, contender: "bare", db: "mariadb", mix: m},
			scenario{name: "worker, " + m.name, base: "bare loop, " + m.name, contender: "worker", db: "mariadb", lanes: 2, workers: 1, mix: m, rules: 1})
	}
	for _, lanes := range []int{1, 4} {
		list = append(list, scenario{name: fmt.Sprintf("worker, %s, %d lanes", usual.name, lanes), base: "bare loop, " + usual.name, contender: "worker", db: "mariadb", lanes: lanes, workers: 1, mix: usual, rules: 1})
	}
	list = append(list,
		scenario{name: "two workers, " + usual.name, base: "bare loop, " + usual.name, contender: "worker", db: "mariadb", lanes: 1, workers: 2, mix: usual, rules: 1},
		scenario{name: "worker, duplicates only", contender: "worker", db: "mariadb", lanes: 2, workers: 1, mix: usual, rules: 1, again: true},
	)
	for _, times := range []int{4, 16} {
		list = append(list, scenario{name: fmt.Sprintf("worker, %s, %d× the rules", real.name, times), base: "bare loop, " + real.name, contender: "worker", db: "mariadb", lanes: 2, workers: 1, mix: real, rules: times})
	}
	return append(list, scenario{name: "worker, SQLite embedded, " + real.name, contender: "worker", db: "sqlite", lanes: 2, workers: 1, mix: real, rules: 1})
}

func (o *options) run(ctx context.Context) error {
	dir := o.keep
	if dir == "" {
		temp, err := os.MkdirTemp("", "ttp-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	r := &rig{dir: dir, events: o.events, profiles: o.profiles}
	defer r.close()
	if r.corpus, err = readCorpus(o.corpus); err != nil {
		return err
	}
	if r.tags, err = countTagsOf(ctx, r.corpus); err != nil {
		return err
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	t := newTable(os.Stdout, o.events)
	defer t.print() // what was measured before an error counts
	for round := range o.rounds {
		for _, s := range o.scenarios() {
			if !only.MatchString(s.name) {
				continue
			}
			m, err := r.measure(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w (logs are in %s with -dir)", s.name, err, dir)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-45s %8.0f events/s\n", round+1, s.name, m.rate())
			t.add(s, m)
		}
		for _, timing := range []struct {
			name    string
			measure func(context.Context, *table) error
		}{{"latency", r.latencies}, {"reload", r.reloads}, {"start", r.starts}} {
			if o.scale.wanted || !only.MatchString(timing.name) {
				continue
			}
			if err := timing.measure(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", timing.name, err)
			}
		}
	}
	return nil
}

// build makes the programs and writes the rules.
func (r *rig) build(ctx context.Context) error {
	r.worker, r.natsServer = filepath.Join(r.dir, "ttp-worker"), filepath.Join(r.dir, "nats-server")
	flags := []string{"-trimpath", "-ldflags", "-s -w"}
	if r.profiles != "" {
		flags = []string{"-tags", "profile"}
	}
	if err := servers.Build(ctx, r.worker, "ttp-worker/cmd/ttp-worker", flags...); err != nil {
		return err
	}
	if err := servers.Build(ctx, r.natsServer, servers.NATSPackage); err != nil {
		return err
	}
	for _, n := range []int{4, 16} {
		if err := writeFiller(filepath.Join(r.dir, fmt.Sprintf("rules-%d", n)), n-1); err != nil {
			return err
		}
	}
	return writeMarkers(filepath.Join(r.dir, "rules-marked"))
}

// countTagsOf returns how many tags the built-in rules give each line.
func countTagsOf(ctx context.Context, lines []string) ([]int, error) {
	set, _ := rule.Load(rule.Options{Expand: shell.Expander}, rule.Source{Name: "builtin", FS: builtin.FS})
	counts := make([]int, len(lines))
	for i, line := range lines {
		found, err := set.Tag(ctx, &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Confidence >= ttp.MinConfidence {
				counts[i]++
			}
		}
	}
	return counts, nil
}
