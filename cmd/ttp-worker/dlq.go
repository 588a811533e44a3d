package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/api"
	"ttp-worker/bus"
)

// dlqOptions say where the dead letters are and which are meant.
type dlqOptions struct {
	runOptions
	subject, reason, since string
	sequences              []string
	json, all              bool
}

func newDLQ() *cobra.Command {
	root := &cobra.Command{
		Use: "dlq", Short: "List, show and put back the messages that could not be processed",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newDLQList(), newDLQShow(), newDLQRetry()} {
		c.Args = noArgs
		root.AddCommand(c)
	}
	return root
}

func (o *dlqOptions) flags(s *settings) {
	o.busFlags(s)
	s.text(&o.subject, "subject", "", "those of a subject, in which * is one word and > the rest: attacker.*", nil)
	s.text(&o.reason, "reason", "", "those given up for this reason", nil)
	s.text(&o.since, "since", "", "those given up since then: 36h or 7d ago, 2026-05-02T06:22:48Z or 2026-05-02", func(v string) error {
		_, err := sinceWhen(v, time.Now())
		return err
	})
	s.texts(&o.sequences, "sequence", nil, "the one of this number in the list (repeatable)")
}

// sinceWhen reads the flag; the zero time for "".
func sinceWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return api.ParseTime(text, now)
}

// writeLine writes v as JSON in one line.
func writeLine(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func newDLQList() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{Use: "list", Short: "List the dead letters, oldest first"}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		list := &table{head: []string{"NUMBER", "GIVEN UP", "SUBJECT", "REASON", "TRIED", "BYTES", "ERROR"}, numbers: map[int]bool{0: true, 4: true, 5: true}}
		err := o.each(cmd.Context(), func(_ *bus.DLQ, d bus.DeadLetter) error {
			if o.json {
				return writeLine(cmd.OutOrStdout(), letterOf(d))
			}
			list.rows = append(list.rows, []string{
				strconv.FormatUint(d.Number, 10), d.At.Format(time.RFC3339), d.Subject, d.Reason,
				strconv.Itoa(d.Deliveries), strconv.Itoa(d.Size), d.Error,
			})
			return nil
		})
		if err != nil || o.json {
			return err
		}
		return list.write(cmd.OutOrStdout(), terminalWidth(cmd.OutOrStdout()))
	})
	o.flags(s)
	s.flag(&o.json, "json", false, "write JSON, one dead letter a line")
	return cmd
}

func newDLQShow() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{
		Use: "show", Short: "Show dead letters whole, with what was in them",
		Example: "  ttp-worker dlq show --sequence 3",
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		if err := o.needFilter(cmd, false); err != nil {
			return err
		}
		return o.each(cmd.Context(), func(_ *bus.DLQ, d bus.DeadLetter) error {
			full := letterOf(d)
			full.Headers, full.Data = d.Headers, new(string(d.Data))
			if !utf8.Valid(d.Data) {
				full.Data, full.Base64 = nil, d.Data
			}
			if o.json {
				return writeLine(cmd.OutOrStdout(), full)
			}
			full.write(cmd.OutOrStdout(), d.Data)
			return nil
		})
	})
	o.flags(s)
	s.flag(&o.json, "json", false, "write JSON, one dead letter a line")
	return cmd
}

func newDLQRetry() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{
		Use: "retry", Short: "Put dead letters back under their subjects, to be processed again",
		Long: `Puts what was sent back under its subject and removes the dead letter. What was
stored of it before is not stored again. Messages that were cut because they
were too large are left where they are.`,
		Example: "  ttp-worker dlq retry --reason unknown-attacker --since 7d",
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		if err := o.needFilter(cmd, o.all); err != nil {
			return err
		}
		return o.retry(cmd.Context(), cmd.OutOrStdout())
	})
	o.flags(s)
	s.flag(&o.all, "all", false, "every dead letter")
	guardRole(cmd)
	return cmd
}

// needFilter refuses to show or put back everything by mistake.
func (o *dlqOptions) needFilter(cmd *cobra.Command, all bool) error {
	if all || o.subject != "" || o.reason != "" || o.since != "" || len(o.sequences) > 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s: say which: --sequence, --subject, --reason, --since", cmd.CommandPath())}
}

func (o *dlqOptions) retry(ctx context.Context, out io.Writer) error {
	done, failed := 0, 0
	var errs []error
	err := o.each(ctx, func(q *bus.DLQ, d bus.DeadLetter) error {
		if err := q.Requeue(ctx, d.Number); err != nil {
			if failed++; len(errs) < 10 {
				errs = append(errs, err)
			}
			return ctx.Err()
		}
		done++
		return nil
	})
	fmt.Fprintf(out, "retried=%d failed=%d\n", done, failed)
	if err := errors.Join(append(errs, err)...); err != nil {
		return hinted(err)
	}
	return nil
}

// each calls do for every dead letter that is meant, oldest first, and stops
// at its first error. Those that come meanwhile are left out, so that what is
// put back and given up again is not put back for ever.
func (o *dlqOptions) each(ctx context.Context, do func(*bus.DLQ, bus.DeadLetter) error) error {
	wanted, err := o.filter(time.Now())
	if err != nil {
		return usageError{err}
	}
	b, err := bus.Connect(o.busOptions(), zap.NewNop()) //nolint:contextcheck // it does not wait for the server
	if err != nil {
		return usageError{err}
	}
	defer b.Close()
	if err := b.Reach(ctx); err != nil {
		return hinted(err)
	}
	q, err := b.DLQ(ctx)
	if err != nil {
		return hinted(err)
	}
	for d, err := range q.List(ctx, o.subject) {
		switch {
		case err != nil:
			return hinted(err)
		case d.Number > q.Last():
			return nil
		case !wanted(d):
			continue
		}
		if err := do(q, d); err != nil {
			return err
		}
	}
	return nil
}

// filter returns what tells whether a dead letter is meant.
func (o *dlqOptions) filter(now time.Time) (func(bus.DeadLetter) bool, error) {
	since, err := sinceWhen(o.since, now)
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	var numbers []uint64
	for _, text := range o.sequences {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--sequence %q: want a number from the list", text)
		}
		numbers = append(numbers, n)
	}
	return func(d bus.DeadLetter) bool {
		return (o.reason == "" || d.Reason == o.reason) && !d.At.Before(since) &&
			(len(numbers) == 0 || slices.Contains(numbers, d.Number))
	}, nil
}

// letter is a dead letter as it is shown.
type letter struct {
	Number     uint64              `json:"number"`
	At         time.Time           `json:"at"`
	Subject    string              `json:"subject"`
	Reason     string              `json:"reason"`
	Error      string              `json:"error"`
	Stream     string              `json:"stream"`
	Sequence   uint64              `json:"sequence"`
	Deliveries int                 `json:"deliveries"`
	FirstSeen  time.Time           `json:"first_seen,omitzero"`
	Size       int                 `json:"size"`
	Headers    map[string][]string `json:"headers,omitempty"`
	Data       *string             `json:"data,omitempty"`
	Base64     []byte              `json:"data_base64,omitempty"` // instead of data that is no text
}

func letterOf(d bus.DeadLetter) letter {
	return letter{
		Number: d.Number, At: d.At, Subject: d.Subject, Reason: d.Reason, Error: d.Error, Stream: d.Stream,
		Sequence: d.Sequence, Deliveries: d.Deliveries, FirstSeen: d.FirstSeen, Size: d.Size,
	}
}

// write shows the dead letter and what was in it, escaped.
func (l letter) write(out io.Writer, data []byte) {
	fmt.Fprintf(out, "number      %d, given up %s\nsubject     %s\nreason      %s\nerror       %s\n",
		l.Number, l.At.Format(time.RFC3339), visible(l.Subject), visible(l.Reason), cmp.Or(visible(l.Error), "-"))
	fmt.Fprintf(out, "message     %d of %s, first seen %s, delivered %d times, %d bytes\n",
		l.Sequence, visible(l.Stream), l.FirstSeen.Format(time.RFC3339), l.Deliveries, l.Size)
	for name, values := range l.Headers {
		for _, v := range values {
			fmt.Fprintf(out, "header      %s: %s\n", visible(name), visible(v))
		}
	}
	fmt.Fprintf(out, "%s\n\n", visible(string(data)))
}
