// Command precision scores rules on texts whose meaning is known: the Linux
// tests of Atomic Red Team, statements of real attacks that experts labelled,
// reverse shells, ordinary commands and HTTP parameters. It prints a table and
// the worst of each kind. The data does not come with the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	var o options
	flag.StringVar(&o.data, "data", "../shared/data", "`directory` of the labelled data")
	flag.StringVar(&o.decnet, "decnet", "tagger/rule/testdata/decnet", "`directory` of DECNET rule files")
	flag.StringVar(&o.half, "half", "", "only `a` or b, halves that share no test, no session and no line")
	flag.IntVar(&o.worst, "worst", 10, "how many of the worst of each kind to list")
	flag.StringVar(&o.details, "details", "built-in", "`pack` whose worst are listed")
	flag.Parse()
	if err := o.run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "precision:", err)
		os.Exit(1)
	}
}

type options struct {
	data, decnet, half, details string
	worst                       int
}

func (o *options) run(ctx context.Context, out io.Writer) error {
	if o.half != "" && o.half != "a" && o.half != "b" {
		return fmt.Errorf("-half: %q is neither a nor b", o.half)
	}
	if _, err := os.Stat(o.data); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("nothing is measured: the labelled data is not in %s; say where it is with -data", o.data)
	}
	texts, err := readCorpora(o.data, o.half)
	if err != nil {
		return err
	}
	var scores []*score
	for _, p := range o.packs() {
		t, refused, err := p.load()
		if err != nil {
			return fmt.Errorf("load pack %s: %w", p.name, err)
		}
		s, err := measure(ctx, p.name, t, texts)
		if err != nil {
			return fmt.Errorf("measure pack %s: %w", p.name, err)
		}
		s.refused = refused
		scores = append(scores, s)
	}
	w := &report{out: out}
	w.table(scores)
	for _, s := range scores {
		if s.pack == o.details {
			w.details(s, o.worst)
		}
	}
	return w.err
}
