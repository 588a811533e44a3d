package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	root := &cobra.Command{
		Use: "config", Short: "Show and check the configuration of the live worker",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newConfigPrint(), newConfigCheck()} {
		c.Args = noArgs
		root.AddCommand(c)
	}
	return root
}

func newConfigPrint() *cobra.Command {
	var o runOptions
	var s *settings
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every option of run with its value and where that comes from",
		Long: `Prints the options that run would work with as a configuration file, each with
its origin. Passwords are masked; values that stand in files are not shown.`,
		Example: "  ttp-worker config print --config /etc/ttp-worker/config.yaml",
	}
	s = newSettings(cmd, func(cmd *cobra.Command) error { return s.print(cmd.OutOrStdout()) })
	o.flags(s)
	return cmd
}

func newConfigCheck() *cobra.Command {
	var o runOptions
	var s *settings
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the options of run without connecting to anything",
		Long: `Reads the options as run would and the rules they name, and says all that is
wrong with them. It connects to nothing; doctor does.`,
		Example: "  ttp-worker config check --config /etc/ttp-worker/config.yaml",
	}
	s = newSettings(cmd, func(cmd *cobra.Command) error {
		if err := o.check(s); err != nil {
			return usageError{err}
		}
		for _, key := range s.ignored {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: an option of another command, run passes over it\n", key)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
		return nil
	})
	o.flags(s)
	return cmd
}

// print writes the options as a configuration file.
func (s *settings) print(out io.Writer) error {
	for _, o := range s.options {
		values, from := s.effective(o)
		for i := range values {
			values[i] = o.shown(values[i])
		}
		var value any = strings.Join(values, ",")
		if o.many {
			value = values
		}
		text, err := yaml.Parser().Marshal(map[string]any{o.name: value})
		if err != nil {
			return fmt.Errorf("print %s: %w", o.name, err)
		}
		if _, err := fmt.Fprintf(out, "# %s\n%s", from, text); err != nil {
			return err
		}
	}
	return nil
}

// effective returns what an option is set to, as it was written, and where.
func (s *settings) effective(o option) (values []string, from string) {
	if given, ok := s.given[o.name]; ok {
		return append([]string(nil), given.values...), given.where
	}
	if o.many {
		values, _ = s.cmd.Flags().GetStringArray(o.name)
		return append([]string(nil), values...), "default"
	}
	v, _ := s.cmd.Flags().GetString(o.name)
	return []string{v}, "default"
}

// shown is the value without what is secret in it. One that names a file is
// shown as it is: it is no secret where a secret lies.
func (o option) shown(value string) string {
	if _, inFile := secretFile(value); inFile || o.masked == nil {
		return value
	}
	return o.masked(value)
}

const mask = "***"

// maskWhole hides a text that is a secret, and not that there is none.
func maskWhole(text string) string {
	if text == "" {
		return ""
	}
	return mask
}

// maskURLs hides the passwords in URLs with commas between them. A password
// may hold anything, commas and "@" included, so that it hides rather too much.
func maskURLs(list string) string {
	var urls []string
	for part := range strings.SplitSeq(list, ",") {
		if last := len(urls) - 1; last >= 0 && !strings.Contains(part, "://") {
			urls[last] += "," + part
			continue
		}
		urls = append(urls, part)
	}
	for i, u := range urls {
		urls[i] = maskURL(u)
	}
	return strings.Join(urls, ",")
}

func maskURL(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	at := strings.LastIndex(rest, "@")
	if !ok || at < 0 || scheme == "sqlite" {
		return u
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if hasPassword {
		return scheme + "://" + user + ":" + mask + rest[at:]
	}
	if scheme == "mysql" || scheme == "mariadb" {
		return u // a user without a password
	}
	return scheme + "://" + mask + rest[at:] // a token
}
