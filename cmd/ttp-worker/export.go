package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"ttp-worker/ttp"
)

func newExport() *cobra.Command {
	root := &cobra.Command{
		Use: "export", Short: "Write what was seen for other programs",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, r := range []read{
		{use: "navigator", short: "Write an ATT&CK Navigator layer", parameters: append([]string{"domain"}, filterFlags...), scopes: ttp.ScopeKinds, work: writeAnswer("navigator")},
		{use: "stix", short: "Write a STIX 2.1 bundle", parameters: filterFlags, scopes: ttp.ScopeKinds, work: writeAnswer("stix")},
	} {
		c := r.command()
		c.Args = noArgs
		root.AddCommand(c)
	}
	return root
}

// writeAnswer writes what is a document already. Without a scope it is of the
// whole fleet.
func writeAnswer(name string) func(ctx context.Context, o *readOptions, out io.Writer) error {
	return func(ctx context.Context, o *readOptions, out io.Writer) error {
		o.all = o.all || !o.scoped()
		answer, err := o.ask(ctx, name)
		if err != nil {
			return err
		}
		return writeJSON(out, answer.Body)
	}
}
