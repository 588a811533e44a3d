// Command ttp-worker tags honeypot events with MITRE ATT&CK techniques.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ttp-worker/internal/failpoint"
)

// version is set by the linker.
var version = "dev"

// The exit codes. A service that is configured wrongly is not to be started
// again: its code is one that Go does not use itself, as it does 2 for a panic.
const (
	exitFailed    = 1
	exitUsage     = 2
	exitMalformed = 3  // done, but some of the input was left out
	exitConfig    = 78 // of sysexits.h
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// usageError is one for which the caller, not the world, is to blame.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	relaxCollector()
	ctx, stop := untilSignal()
	defer stop()
	if err := failpoint.Setup(); err != nil {
		fmt.Fprintln(os.Stderr, "ttp-worker:", err)
		return exitUsage
	}
	root := newRoot()
	root.SetArgs(args)
	return exitCode(root.ExecuteContext(ctx))
}

// exitCode tells the user of an error and returns the code it is worth.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "ttp-worker:", err)
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(os.Stderr, "Run 'ttp-worker --help' or 'ttp-worker COMMAND --help' for usage.")
		if os.Getenv("NOTIFY_SOCKET") != "" { // systemd waits to hear that it is ready
			return exitConfig
		}
		return exitUsage
	}
	if own, ok := errors.AsType[exitError](err); ok {
		return own.code
	}
	return exitFailed
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM; a
// second one ends the process at once.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // the kernel sends, nobody closes
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, cancel
}

// commands are all subcommands, in the order of the help.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newRun(), newTag(), newDemo(), newReplay(), newPublish(),
		newTechniques(), newPhases(), newTags(), newExport(),
		newRules(), newDLQ(), newMigrate(), newProvision(), newConfig(), newDoctor(), newHealth(),
		newVersion(), newMan(),
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ttp-worker",
		Short:         "Tags honeypot events with MITRE ATT&CK techniques",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	for _, cmd := range commands() {
		if cmd.Args == nil {
			cmd.Args = noArgs
		}
		if masterOnly[cmd.Name()] {
			guardRole(cmd)
		}
		root.AddCommand(cmd)
	}
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0])}
	}
	return nil
}
