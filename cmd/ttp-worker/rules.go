package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newRules() *cobra.Command {
	root := &cobra.Command{
		Use: "rules", Short: "List and test the rules",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newRulesList(), newRulesTest()} {
		c.Args = noArgs
		root.AddCommand(c)
	}
	return root
}

func newRulesList() *cobra.Command {
	var dirs []string
	cmd := &cobra.Command{Use: "list", Short: "List every rule, and why those that do not work do not"}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		set, problems, err := loadRules(dirs)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "RULE\tVERSION\tSTATUS\tTITLE\tREASON")
		for _, r := range set.Rules() {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", r.ID, r.Version, r.Status, short(printable(r.Title), 60), short(printable(r.Reason), 60))
		}
		for _, p := range problems {
			fmt.Fprintf(w, "%s\t\trefused\t\t%s\n", p.Rule, printable(p.Error()))
		}
		return w.Flush()
	})
	s.texts(&dirs, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
	return cmd
}

func newRulesTest() *cobra.Command {
	var dirs []string
	cmd := &cobra.Command{Use: "test", Short: "Run the tests that stand in the rules"}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		set, problems, err := loadRules(dirs)
		if err != nil {
			return err
		}
		for _, p := range problems {
			fmt.Fprintln(cmd.OutOrStdout(), "refused:", p.Error())
		}
		failures := set.Test()
		for _, f := range failures {
			fmt.Fprintln(cmd.OutOrStdout(), f)
		}
		if len(failures)+len(problems) > 0 {
			return fmt.Errorf("%d tests failed, %d rules were refused", len(failures), len(problems))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d rules, all tests passed\n", len(set.Rules()))
		return nil
	})
	s.texts(&dirs, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
	return cmd
}
