package main

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"ttp-worker/attack"
	"ttp-worker/bus"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

//go:embed demodata/honeypot-commands.jsonl
var demoCommands string

func newDemo() *cobra.Command {
	var dir string
	var keep bool
	var answers answerOptions
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Tag 3,268 commands of real attackers, everything inside this process",
		Example: `  ttp-worker demo --keep    # and look at http://127.0.0.1:9464/`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		if dir == "" {
			temp, err := os.MkdirTemp("", "ttp-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(temp)
			dir = temp
		}
		if !keep {
			answers.http = ""
		}
		return demo(cmd.Context(), dir, &answers, cmd.OutOrStdout())
	})
	s.flag(&keep, "keep", false, "leave the page open on what was tagged, until Ctrl-C")
	s.text(&answers.http, "http", "127.0.0.1:9464", "address of the page, with --keep", loopbackOnly)
	s.text(&dir, "embedded", "", "directory of the state; empty means a temporary one", nil)
	return cmd
}

// demo runs the whole way of an event on the bundled sessions. With an address
// for the page it goes on until ctx ends.
func demo(ctx context.Context, dir string, answers *answerOptions, out io.Writer) error {
	start := time.Now()
	o := &runOptions{embedded: dir, rules: []string{"builtin"}, unknownAttacker: "create", provision: true, migrate: true, lanes: 2}
	log := newLog(zap.ErrorLevel)
	l, err := newLive(ctx, o, log)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.prepare(ctx, o, zap.NewNop()); err != nil {
		return err
	}
	if answers.http != "" {
		stop, err := l.serve(ctx, answers, log)
		if err != nil {
			return err
		}
		defer stop()
		defer l.answer(ctx, answers, log)()
	}
	board := newScoreboard()
	stopWatching, err := l.bus.Watch(ctx, "ttp.tagged", board.see)
	if err != nil {
		return err
	}
	defer stopWatching()
	sessions := demoSessions()
	if err := publishSessions(ctx, l, sessions); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d sessions with %d commands that attackers typed into a honeypot in 2021 are on the bus.\n\n", len(sessions), board.commands(sessions))
	total, err := workOff(ctx, l, len(sessions), board)
	if err != nil {
		return err
	}
	board.print(out)
	fmt.Fprintf(out, "\nCommands: emansih/investigating-the-sweet-honeypot-part2, © Daniel Quah, CC BY 4.0.\n")
	fmt.Fprintf(out, "events=%d tags=%d inserted=%d published=%d seen=%d elapsed_s=%.2f\n",
		total.events, total.inserted+total.duplicates, total.inserted, total.published, board.seenTags(), time.Since(start).Seconds())
	if answers.http != "" {
		fmt.Fprintf(out, "The page is open at http://%s/ (Ctrl-C ends it).\n", answers.http)
		<-ctx.Done()
	}
	return nil
}

// demoSession is the payload of attacker.session.ended.
type demoSession struct {
	SessionID  string        `json:"session_id"`
	AttackerIP string        `json:"attacker_ip"`
	DeckyID    string        `json:"decky_id"`
	Service    string        `json:"service"`
	EndedAt    string        `json:"ended_at"`
	Commands   []demoCommand `json:"commands"`
}

type demoCommand struct {
	Text string `json:"command_text"`
	TS   string `json:"ts"`
}

// longestSession bounds sessions of attackers whose next one does not begin
// with the word that bots begin with.
const longestSession = 40

// demoSessions cuts the list of commands into sessions. Addresses and times
// are made up, and the same at every run.
func demoSessions() (sessions []demoSession) {
	at := time.Date(2021, 6, 1, 0, 0, 0, 0, time.UTC)
	lines := bufio.NewScanner(strings.NewReader(demoCommands))
	for lines.Scan() {
		var line struct{ Input string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err) // the list is part of the program
		}
		n := len(sessions)
		if n == 0 || line.Input == "enable" || len(sessions[n-1].Commands) >= longestSession {
			sessions = append(sessions, demoSession{
				SessionID: fmt.Sprintf("demo-%04d", n), AttackerIP: fmt.Sprintf("198.51.100.%d", n%60+1), DeckyID: "demo-decky", Service: "ssh",
			})
			n++
		}
		at = at.Add(2 * time.Second)
		s := &sessions[n-1]
		s.Commands = append(s.Commands, demoCommand{line.Input, at.Format("2006-01-02T15:04:05")})
		s.EndedAt = at.Format("2006-01-02T15:04:05")
	}
	return sessions
}

func publishSessions(ctx context.Context, l *live, sessions []demoSession) error {
	var failed error
	_, err := l.bus.PublishAll(ctx, func(yield func(bus.Message) bool) {
		for _, s := range sessions {
			payload, err := json.Marshal(s)
			if err != nil {
				failed = err
				return
			}
			data := ttp.AppendEnvelope(nil, s.SessionID, "attacker.session.ended", time.Now(), payload)
			if !yield(bus.Message{Subject: "attacker.session.ended", Data: data}) {
				return
			}
		}
	})
	return cmp.Or(err, failed)
}

type demoTotal struct{ events, inserted, duplicates, published int }

// workOff lets the worker work until every session is settled.
func workOff(ctx context.Context, l *live, sessions int, board *scoreboard) (demoTotal, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	counting := &counter{Sink: l.worker.Sink, done: stop, messages: sessions}
	l.worker.Sink = counting
	for i, s := range l.worker.Sources {
		l.worker.Sources[i] = &countedSource{Source: s, counter: counting}
	}
	err := l.work(ctx)
	total := counting.total(l)
	if err == nil && counting.left() > 0 {
		err = fmt.Errorf("%d of %d sessions were not settled in time", counting.left(), sessions)
	}
	if err == nil {
		err = board.wait(total.inserted)
	}
	return total, err
}

// scoreboard is what a subscriber of ttp.tagged has seen.
type scoreboard struct {
	mu         sync.Mutex // guards what follows
	tags       int
	techniques map[string]*score
}

type score struct {
	tactic, example string
	count           int
	confidence      float64
}

func newScoreboard() *scoreboard { return &scoreboard{techniques: make(map[string]*score)} }

func (b *scoreboard) commands(sessions []demoSession) (n int) {
	for _, s := range sessions {
		n += len(s.Commands)
	}
	return n
}

func (b *scoreboard) see(_ string, data []byte) {
	env, err := ttp.ParseEnvelope(string(data))
	if err != nil {
		return
	}
	var tagged ttp.Tagged
	if err := tagged.UnmarshalJSON(env.Payload.AppendJSON(nil)); err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tag := range tagged.Tags {
		b.tags++
		id := cmp.Or(tag.SubTechnique, tag.Technique)
		s := b.techniques[id]
		if s == nil {
			s = &score{tactic: tag.Tactic}
			b.techniques[id] = s
		}
		s.count++
		if text := tag.Evidence.Text("match", "command_text"); tag.Confidence > s.confidence || s.example == "" {
			s.confidence, s.example = tag.Confidence, text
		}
	}
}

func (b *scoreboard) seenTags() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tags
}

// wait waits until n tags were seen.
func (b *scoreboard) wait(n int) error {
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for b.seenTags() < n {
		select {
		case <-deadline.C:
			return fmt.Errorf("the subscriber saw %d of %d tags", b.seenTags(), n)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// print writes the techniques, the most frequent first.
func (b *scoreboard) print(out io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(b.techniques), func(x, y string) int {
		return cmp.Or(-cmp.Compare(b.techniques[x].count, b.techniques[y].count), cmp.Compare(x, y))
	})
	if len(ids) == 0 {
		fmt.Fprintln(out, "Nothing new: every tag was stored before.")
		return
	}
	const most = 30
	fmt.Fprintf(out, "%-10s %-42s %-22s %6s  %s\n", "TECHNIQUE", "NAME", "TACTIC", "TAGS", "FOR EXAMPLE")
	for i, id := range ids {
		if i == most {
			fmt.Fprintf(out, "… and %d techniques more\n", len(ids)-most)
			break
		}
		s := b.techniques[id]
		technique, _ := attack.Lookup(id)
		tactic, _ := attack.LookupTactic(s.tactic)
		fmt.Fprintf(out, "%-10s %-42s %-22s %6d  %s\n", id, short(fullName(technique), 42), short(tactic.Name, 22), s.count, short(visible(s.example), 60))
	}
}

// fullName is the name with that of the parent before it.
func fullName(t attack.Technique) string {
	if parent, ok := attack.Lookup(t.Parent); ok {
		return parent.Name + ": " + t.Name
	}
	return t.Name
}

func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// counter counts what the worker stores and settles.
type counter struct {
	worker.Sink
	done func()

	mu                              sync.Mutex // guards what follows
	messages                        int        // still to be settled
	inserted, duplicates, published int
}

// Write counts what the sink stored.
func (c *counter) Write(ctx context.Context, batch []ttp.Tagged) (ttp.Written, error) {
	w, err := c.Sink.Write(ctx, batch)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inserted += w.Inserted
	c.duplicates += w.Duplicates
	for _, a := range w.Fresh {
		c.published += len(a.Tags)
	}
	return w, err
}

func (c *counter) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.messages--; c.messages == 0 {
		c.done()
	}
}

func (c *counter) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages
}

func (c *counter) total(l *live) demoTotal {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := demoTotal{inserted: c.inserted, duplicates: c.duplicates, published: c.published}
	families, err := l.registry.Gather()
	if err != nil {
		return t
	}
	for _, f := range families {
		if f.GetName() != "ttp_events_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			t.events += int(m.GetCounter().GetValue())
		}
	}
	return t
}

// countedSource tells the counter when a message is done with.
type countedSource struct {
	worker.Source
	counter *counter
}

// Fetch wraps what the source returns.
func (s *countedSource) Fetch(ctx context.Context) ([]worker.Delivery, error) {
	list, err := s.Source.Fetch(ctx)
	for i, d := range list {
		list[i] = countedDelivery{d, s.counter}
	}
	return list, err
}

type countedDelivery struct {
	worker.Delivery
	counter *counter
}

// Ack counts the message as settled.
func (d countedDelivery) Ack() error {
	defer d.counter.settled()
	return d.Delivery.Ack()
}

// AckSync counts the message as settled.
func (d countedDelivery) AckSync(ctx context.Context) error {
	defer d.counter.settled()
	return d.Delivery.AckSync(ctx)
}

// Reject counts the message as settled.
func (d countedDelivery) Reject(reason string) error {
	defer d.counter.settled()
	return d.Delivery.Reject(reason)
}
