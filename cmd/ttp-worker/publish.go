package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/ttp"
)

func newPublish() *cobra.Command {
	var o runOptions
	var from string
	var show string
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Put events on the bus: envelopes as JSON, one a line, each with its topic",
		Example: `  echo '{"topic":"attacker.command","payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:48"}}' |
    ttp-worker publish --from - --show 2s`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		in := cmd.InOrStdin()
		if from != "-" {
			f, err := os.Open(from)
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		return o.publish(cmd.Context(), in, show, cmd.OutOrStdout())
	})
	o.busFlags(s)
	s.text(&from, "from", "-", "file of envelopes, - for standard input", nil)
	s.text(&show, "show", "0s", "print what is announced meanwhile and for this long after", func(v string) error {
		if d, err := time.ParseDuration(v); err != nil || d < 0 {
			return errors.New("want a duration such as 2s")
		}
		return nil
	})
	return cmd
}

func (o *runOptions) publish(ctx context.Context, in io.Reader, show string, out io.Writer) error {
	b, err := bus.Connect(o.busOptions(), zap.NewNop())
	if err != nil {
		return usageError{err}
	}
	defer b.Close()
	wait, _ := time.ParseDuration(show) // checked with the options
	if wait > 0 {
		stop, err := b.Watch(ctx, "ttp.tagged", func(_ string, data []byte) { fmt.Fprintf(out, "%s\n", data) })
		if err != nil {
			return err
		}
		defer stop()
	}
	var failed error
	n, err := b.PublishAll(ctx, func(yield func(bus.Message) bool) { failed = envelopes(in, yield) })
	if err := errors.Join(failed, err); err != nil {
		return fmt.Errorf("%d events published, then: %w", n, err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	fmt.Fprintf(os.Stderr, "%d events published\n", n)
	return nil
}

// envelopes hands out the lines of in until one cannot be read.
func envelopes(in io.Reader, yield func(bus.Message) bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		o, err := ttp.ParseObject(lines.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		topic := o.Text("topic")
		if topic == "" {
			return fmt.Errorf("line %d: no topic", n)
		}
		if !yield(bus.Message{Subject: topic, Data: []byte(lines.Text())}) {
			return nil
		}
	}
	return lines.Err()
}
