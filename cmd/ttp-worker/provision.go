package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/bus"
)

func newProvision() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Create the streams and the consumer, and change nothing that is there but for subjects that are missing",
		Long: `Does what run --provision does at its start, and ends. It is for an account that
may set up JetStream, so that the account of the worker need not.`,
		Example: "  ttp-worker provision --nats nats://admin:secret@127.0.0.1:4222",
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error { return o.provisionOnce(cmd.Context()) })
	o.busFlags(s)
	o.consumerFlags(s)
	return cmd
}

func (o *runOptions) provisionOnce(ctx context.Context) error {
	options := o.busOptions()
	options.Consumer = o.consumerOptions()
	b, err := bus.Connect(options, newLog(zap.WarnLevel))
	if err != nil {
		return usageError{err}
	}
	defer b.Close()
	if err := b.Reach(ctx); err != nil {
		return hinted(err)
	}
	if err := b.Provision(ctx, o.storage()); err != nil {
		return hinted(err)
	}
	if err := b.EnsureConsumer(ctx); err != nil {
		return hinted(err)
	}
	fmt.Fprintln(os.Stderr, "the streams and the consumer are there")
	return nil
}

// hinted adds to an error of the bus what the operator can do about it.
func hinted(err error) error { return withHint(err, bus.Explain(err)) }

func withHint(err error, hint string) error {
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}
