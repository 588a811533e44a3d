package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "Print the manual page", Hidden: true,
		Example: "  ttp-worker man >ttp-worker.1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page strings.Builder
			writeMan(&page, cmd.Root())
			_, err := io.WriteString(cmd.OutOrStdout(), page.String())
			return err
		},
	}
}

// writeMan writes all commands as one page in the language of man(7).
func writeMan(w *strings.Builder, root *cobra.Command) {
	fmt.Fprintf(w, ".TH TTP-WORKER 1 \"\" %q \"User Commands\"\n", "ttp-worker "+version)
	fmt.Fprintf(w, ".SH NAME\nttp-worker \\- %s\n", roff(root.Short))
	w.WriteString(".SH SYNOPSIS\n.B ttp-worker\n.I COMMAND\n[\\fIOPTION\\fR]...\n")
	w.WriteString(".SH DESCRIPTION\nReads events of honeypots from NATS JetStream, tags them with MITRE ATT&CK techniques, stores the tags in " +
		"MySQL, MariaDB or SQLite and publishes what is new.\n")
	w.WriteString(".SH COMMANDS\n")
	for _, c := range root.Commands() {
		manCommand(w, c)
	}
	w.WriteString(manTail)
}

// manTail is what holds for all commands.
const manTail = `.SH CONFIGURATION
Every option is a flag, an environment variable named TTP_ and the flag in capitals with underscores, and a key of the
YAML file that \fB\-\-config\fR names. The flag wins over the variable, the variable over the file. A value
\fBfile:\fIPATH\fR stands for what is in the file, and \fBcred:\fINAME\fR for a credential from systemd.
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
Finish what is in hand and end. A second one ends at once; nothing is lost, but it is done again.
.TP
.B SIGHUP
Read the rules, the log level and the credentials again.
.SH EXIT STATUS
0 done, 1 failed, 2 used wrongly; as a systemd service 78 in place of 2.
`

func manCommand(w *strings.Builder, c *cobra.Command) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	if c.HasSubCommands() {
		for _, sub := range c.Commands() {
			manCommand(w, sub)
		}
		return
	}
	fmt.Fprintf(w, ".SS %s\n%s.\n", roff(c.CommandPath()), roff(strings.TrimSuffix(c.Short, ".")))
	if c.Long != "" {
		fmt.Fprintf(w, ".PP\n%s\n", roff(c.Long))
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { manFlag(w, f) })
	if c.Example != "" {
		fmt.Fprintf(w, ".PP\n.EX\n%s\n.EE\n", roff(c.Example))
	}
}

func manFlag(w *strings.Builder, f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	fmt.Fprintf(w, ".TP\n.B \\-\\-%s\n%s", roff(f.Name), roff(f.Usage))
	if f.DefValue != "" && f.DefValue != "[]" {
		fmt.Fprintf(w, " (default %s)", roff(f.DefValue))
	}
	w.WriteString("\n")
}

// roff writes text so that man(7) takes none of it for a command.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
