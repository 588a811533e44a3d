package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/intake"
	"ttp-worker/logfile"
	"ttp-worker/ttp"
)

type publishOptions struct {
	bus           runOptions // where the bus is
	from          []string
	format, state string
	show          string
	follow        bool
	log           *zap.Logger
}

func newPublish() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Put events from files on the bus, or a sensor's log as it grows",
		Long: `Puts events on the bus: envelopes as JSON, one a line, each with its topic, or the logs that replay
reads, too. With --follow it goes on with what is appended, across the rotation of the file, and
remembers how far it has come.`,
		Example: `  ttp-worker publish --from cowrie.json --follow
  echo '{"topic":"attacker.command","payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:48"}}' |
    ttp-worker publish --from - --show 2s`,
		Args: cobra.ArbitraryArgs, // further files
	}
	var s *settings
	s = newSettings(cmd, func(cmd *cobra.Command) error {
		if args := cmd.Flags().Args(); len(args) > 0 && !s.isGiven("from") {
			o.from = args
		} else {
			o.from = append(o.from, args...)
		}
		if err := o.complete(); err != nil {
			return usageError{err}
		}
		return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
	})
	o.bus.busFlags(s)
	s.texts(&o.from, "from", []string{logfile.Stdin}, "files, - for standard input (repeatable; further arguments are files, too)")
	s.text(&o.format, "format", "", "format of the files: "+strings.Join(logfile.Formats, ", ")+"; empty means that it is recognised", formatName)
	s.flag(&o.follow, "follow", false, "go on with what is appended to the file until stopped")
	s.text(&o.state, "state", "", "file that remembers how far the followed one was published (default .NAME.ttp-place beside it)", nil)
	s.text(&o.show, "show", "0s", "print what is announced meanwhile and for this long after", func(v string) error {
		if d, err := time.ParseDuration(v); err != nil || d < 0 {
			return errors.New("want a duration such as 2s")
		}
		return nil
	})
	return cmd
}

func (o *publishOptions) complete() error {
	if !o.follow {
		return nil
	}
	if len(o.from) != 1 || o.from[0] == logfile.Stdin {
		return errors.New("--follow: want --from with one file")
	}
	if o.state == "" {
		o.state = filepath.Join(filepath.Dir(o.from[0]), "."+filepath.Base(o.from[0])+".ttp-place")
	}
	return nil
}

func (o *publishOptions) run(ctx context.Context, stdin io.Reader, out io.Writer) error {
	o.log = newLog(zap.InfoLevel)
	defer func() { _ = o.log.Sync() }() // a terminal can't be synced
	options := o.bus.busOptions()
	options.Connection.Inbox = "_INBOX" // sensors may not listen where a worker gets its messages
	b, err := bus.Connect(options, zap.NewNop())
	if err != nil {
		return usageError{err}
	}
	defer b.Close()
	if !o.follow {
		if err := b.Reach(ctx); err != nil {
			return hinted(err)
		}
	}
	reader, err := logfile.NewReader(logfile.Options{
		Files: o.from, Stdin: interruptible(ctx, stdin), Format: o.format, Prefix: o.bus.prefix, Follow: o.follow, Complain: fileComplaints(o.log),
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	wait, _ := time.ParseDuration(o.show) // checked with the options
	if wait > 0 {
		stop, err := b.Watch(ctx, "ttp.tagged", func(_ string, data []byte) { fmt.Fprintf(out, "%s\n", data) })
		if err != nil {
			return err
		}
		defer stop()
	}
	p := &publishing{publishOptions: o, to: b, reader: reader}
	if err := p.work(ctx); err != nil {
		return fmt.Errorf("%d events published, then: %w", p.published, err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	fmt.Fprintf(os.Stderr, "%d events published, %d objects were no events\n", p.published, p.ignored+reader.Ignored)
	if bad := reader.Malformed + p.refused; bad > 0 {
		return exitError{exitMalformed, fmt.Errorf("done, but %d malformed or oversized pieces of input were left out", bad)}
	}
	return nil
}

// publishing is a publish under way.
type publishing struct {
	*publishOptions
	to     *bus.Bus
	reader *logfile.Reader
	noted  string // the place as it was noted last

	published, ignored, refused int
}

const (
	publishAtOnce = 500                    // messages
	publishBytes  = 4 << 20                // of these messages
	followEvery   = 250 * time.Millisecond // between looks at a file that is followed
)

// work publishes all there is or, following, until ctx ends.
func (p *publishing) work(ctx context.Context) error {
	if p.follow {
		if err := p.recall(); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		messages, ended := p.gather()
		if ended != nil && !errors.Is(ended, io.EOF) {
			return ended
		}
		if err := p.send(ctx, messages); err != nil {
			if p.follow && ctx.Err() != nil {
				return nil // what is not noted is published again, under the same ids
			}
			return err
		}
		if err := p.note(); err != nil {
			return err
		}
		switch {
		case ended == nil:
		case !p.follow:
			return nil
		default:
			pause(ctx, followEvery)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// gather collects messages until there are enough, or no more for now.
func (p *publishing) gather() (messages []bus.Message, ended error) {
	for size := 0; len(messages) < publishAtOnce && size < publishBytes; {
		rec, err := p.reader.Next()
		if err != nil {
			return messages, err
		}
		if !intake.Handles(rec.Subject) {
			p.ignored++
			continue
		}
		data := rec.Data()
		size += len(data)
		messages = append(messages, bus.Message{Subject: rec.Subject, Data: data, ID: rec.ID()})
	}
	return messages, nil
}

// send publishes messages. One that the bus never takes is left out; a bus
// that is away is waited for when following. What is sent twice for that is
// known to the stream by its id.
func (p *publishing) send(ctx context.Context, messages []bus.Message) error {
	for len(messages) > 0 {
		n, err := p.to.PublishAll(ctx, func(yield func(bus.Message) bool) {
			for _, m := range messages {
				if !yield(m) {
					return
				}
			}
		})
		switch {
		case err == nil:
			p.published += n
			return nil
		case ttp.IsPermanent(err) && n < len(messages): // refused before it was sent; those before it were taken
			p.log.Warn("event left out", zap.Error(err))
			p.published += n
			p.refused++
			messages = messages[n+1:]
		case !p.follow || ctx.Err() != nil:
			return err
		default:
			p.log.Warn("events not published, will be tried again", zap.Error(err), zap.Int("events", len(messages)))
			pause(ctx, time.Second)
		}
	}
	return nil
}

// recall goes to the place that was noted.
func (p *publishing) recall() error {
	text, err := os.ReadFile(p.state)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	var place logfile.Place
	if err := json.Unmarshal(text, &place); err != nil {
		return fmt.Errorf("--state: %s: remove it to publish the whole file again: %w", p.state, err)
	}
	return p.reader.Resume(place)
}

// note remembers what has been published.
func (p *publishing) note() error {
	place, ok := p.reader.Place()
	if !p.follow || !ok {
		return nil
	}
	text, err := json.Marshal(place)
	if err != nil || string(text) == p.noted {
		return err
	}
	temporary := p.state + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	if err := os.Rename(temporary, p.state); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	p.noted = string(text)
	return nil
}
