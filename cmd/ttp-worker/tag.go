package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

type tagOptions struct {
	format string
	floor  string
	rules  []string
}

func newTag() *cobra.Command {
	var o tagOptions
	cmd := &cobra.Command{
		Use:   "tag",
		Short: "Tag events from standard input, without a bus or a database",
		Long: `Reads events from standard input and writes their tags to standard output, one JSON object a line.

With --format text a line is a shell command; with --format jsonl it is an event:
{"source_kind":"command","source_id":"1","payload":{"command_text":"cat /etc/shadow"}}`,
		Example: `  echo 'cat /etc/shadow' | ttp-worker tag`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	s.text(&o.format, "format", "text", "what a line of input is: text or jsonl", oneOf("text", "jsonl"))
	s.text(&o.floor, "floor", "0.3", "leave out tags with less confidence", func(v string) error {
		if f, err := strconv.ParseFloat(v, 64); err != nil || !(f >= 0 && f <= 1) {
			return errors.New("want a number from 0 to 1")
		}
		return nil
	})
	s.texts(&o.rules, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
	return cmd
}

func oneOf(words ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
		}
		return nil
	}
}

// maxLine is the longest line of input.
const maxLine = 16 << 20

func (o *tagOptions) run(ctx context.Context, in io.Reader, out, complaints io.Writer) error {
	set, problems, err := loadRules(o.rules)
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Fprintln(complaints, "rule refused:", p.Error())
	}
	tagger, err := newTagger(set, zap.NewNop())
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	bad, err := o.lines(ctx, tagger, in, w, complaints)
	if err = errors.Join(err, w.Flush()); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d lines could not be read", bad)
	}
	return nil
}

func (o *tagOptions) lines(ctx context.Context, t tagger.Tagger, in io.Reader, out io.Writer, complaints io.Writer) (bad int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	floor, _ := strconv.ParseFloat(o.floor, 64) // checked with the options
	for n := 0; lines.Scan() && ctx.Err() == nil; n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		ev, err := o.event(lines.Text(), n)
		if err == nil {
			err = writeTags(ctx, t, ev, floor, out)
		}
		if err != nil {
			fmt.Fprintf(complaints, "line %d: %v\n", n+1, err)
			bad++
		}
	}
	return bad, errors.Join(lines.Err(), ctx.Err())
}

// event reads one line of input.
func (o *tagOptions) event(line string, n int) (*ttp.Event, error) {
	if o.format == "text" {
		return &ttp.Event{
			Kind: ttp.Command, SourceID: "stdin#cmd" + strconv.Itoa(n),
			Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}},
		}, nil
	}
	in, err := ttp.ParseObject(line)
	if err != nil {
		return nil, err
	}
	ev := &ttp.Event{
		Kind: ttp.Kind(in.Text("source_kind")), SourceID: in.ID("source_id"), AttackerUUID: in.ID("attacker_uuid"),
		IdentityUUID: in.ID("identity_uuid"), SessionID: in.ID("session_id"), DeckyID: in.ID("decky_id"),
	}
	ev.Payload, _ = in.Object("payload")
	if ev.Kind == "" || ev.Payload == nil && !in.Has("payload") {
		return nil, errors.New("source_kind and payload are required")
	}
	return ev, nil
}

// writeTags writes the tags of an event, in the order of the rules' ids.
func writeTags(ctx context.Context, t tagger.Tagger, ev *ttp.Event, floor float64, out io.Writer) error {
	findings, failed := t.Tag(ctx, ev)
	slices.SortStableFunc(findings, func(a, b ttp.Finding) int { return cmp.Compare(a.RuleID, b.RuleID) })
	for _, f := range findings {
		if f.Confidence < floor {
			continue
		}
		tag := ttp.NewTag(ev, f)
		if _, err := out.Write(append(tag.AppendJSON(nil), '\n')); err != nil {
			return err
		}
	}
	return failed
}
