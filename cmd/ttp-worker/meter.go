package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"
	"golang.org/x/term"

	"ttp-worker/attack"
	"ttp-worker/replay"
)

// meter shows how far a replay has come: as a bar on a terminal, else as a
// line of the log from time to time.
type meter struct {
	terminal *os.File // nil: none
	log      *zap.Logger
	start    time.Time

	source string
	bar    *progressbar.ProgressBar
	logged time.Time
	begun  int // events when this run began
}

// logProgressEvery is how often progress is logged.
const logProgressEvery = 30 * time.Second

func newMeter(stderr *os.File, log *zap.Logger) *meter {
	m := &meter{log: log, start: time.Now(), logged: time.Now(), begun: -1}
	if term.IsTerminal(int(stderr.Fd())) {
		m.terminal = stderr
	}
	return m
}

// show is told how far the replay has come after each batch.
func (m *meter) show(p replay.Progress) {
	total := p.State.Total()
	if m.begun < 0 {
		m.begun = total.Events
	}
	rate := float64(total.Events-m.begun) / max(time.Since(m.start).Seconds(), 0.001)
	if m.terminal != nil {
		m.draw(p, &total, rate)
		return
	}
	if time.Since(m.logged) < logProgressEvery {
		return
	}
	m.logged = time.Now()
	m.log.Info("replaying", zap.String("source", p.Source), zap.Time("at", p.At), zap.Int("events", total.Events),
		zap.Int("tags", total.Tags), zap.Int("inserted", total.Inserted), zap.Float64("percent", percent(p)), zap.Float64("events_per_s", rate))
}

// draw draws the bar, each source its own.
func (m *meter) draw(p replay.Progress, total *replay.Counts, rate float64) {
	if m.source != p.Source {
		m.end()
		m.source = p.Source
		m.bar = progressbar.NewOptions64(cmp.Or(p.Total, -1), progressbar.OptionSetWriter(m.terminal), progressbar.OptionThrottle(200*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetElapsedTime(true), progressbar.OptionSetWidth(20), progressbar.OptionUseANSICodes(true))
	}
	m.bar.Describe(description(p, total, rate, m.room()))
	_ = m.bar.Set64(p.Done) // a terminal that is gone shows nothing
}

// barWidth is what the bar takes at least of a line: the share that is done, the
// bar itself, the time that it has taken and the time left.
const barWidth = len("100% |") + 10 + len("|  [10h59m59s:10h59m59s]") + 2

// room is how wide the description may be.
func (m *meter) room() int {
	width, _, err := term.GetSize(int(m.terminal.Fd()))
	if err != nil {
		width = 80
	}
	return width - barWidth
}

// description says how far a replay has come, as much of it as there is room for.
func description(p replay.Progress, total *replay.Counts, rate float64, room int) string {
	at := ""
	if !p.At.IsZero() {
		at = " " + p.At.Format(time.DateOnly)
	}
	perSecond := brief(int(rate)) + "/s"
	for _, text := range []string{
		fmt.Sprintf("%s%s  %s events, %s  %s tags, %s new ", p.Source, at, brief(total.Events), perSecond, brief(total.Tags), brief(total.Inserted)),
		fmt.Sprintf("%s  %s  %s tags, %s new ", strings.TrimSpace(at), perSecond, brief(total.Tags), brief(total.Inserted)),
		fmt.Sprintf("%s  %s  %s tags ", strings.TrimSpace(at), perSecond, brief(total.Tags)),
		fmt.Sprintf("%s tags ", brief(total.Tags)),
	} {
		if len(text) <= room {
			return text
		}
	}
	return ""
}

// brief writes a number in four or five characters.
func brief(n int) string {
	switch {
	case n < 10_000:
		return strconv.Itoa(n)
	case n < 1_000_000:
		return fmt.Sprintf("%dk", n/1000)
	case n < 10_000_000:
		return fmt.Sprintf("%.1fM", float64(n/100_000)/10)
	}
	return fmt.Sprintf("%dM", n/1_000_000)
}

func percent(p replay.Progress) float64 {
	if p.Total <= 0 {
		return 0
	}
	return float64(1000*p.Done/p.Total) / 10
}

// end leaves the line of the bar.
func (m *meter) end() {
	if m.bar != nil {
		_ = m.bar.Exit() // as above
		fmt.Fprintln(m.terminal)
		m.bar = nil
	}
}

// mostTechniques is how many techniques are listed.
const mostTechniques = 20

// printState writes what came of a replay: the techniques, what is worth
// knowing of each source, and a line for each that programs read.
func printState(out io.Writer, s *replay.State, dryRun bool, elapsed time.Duration) {
	printTechniques(out, s.Techniques)
	isNew := "new"
	if dryRun {
		isNew = "would be new"
	}
	for _, src := range s.Sources {
		fmt.Fprintf(out, "%s: %d %s, %d already there, %d below the floor", src.Name, src.Inserted, isNew, src.Duplicates, src.BelowFloor)
		for _, more := range []struct {
			n    int
			what string
		}{
			{src.Unknown, "of attackers without a row"},
			{src.Unanchored, "of nobody"},
			{src.Refused, "refused by the database"},
			{src.Failed, "events at which a tagger failed"},
			{src.Malformed, "malformed"},
			{src.Ignored, "no events"},
		} {
			if more.n > 0 {
				fmt.Fprintf(out, ", %d %s", more.n, more.what)
			}
		}
		fmt.Fprintln(out)
	}
	for _, src := range s.Sources {
		fmt.Fprintf(out, "source=%s rows=%d events=%d tags=%d inserted=%d dry_run=%t elapsed_s=%.2f\n",
			src.Name, src.Rows, src.Events, src.Tags, src.Inserted, dryRun, elapsed.Seconds())
	}
}

func printTechniques(out io.Writer, counts map[string]int) {
	ids := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(-cmp.Compare(counts[a], counts[b]), cmp.Compare(a, b))
	})
	if len(ids) == 0 {
		return
	}
	fmt.Fprintf(out, "%-10s %-60s %8s\n", "TECHNIQUE", "NAME", "TAGS")
	for _, id := range ids[:min(len(ids), mostTechniques)] {
		technique, _ := attack.Lookup(id)
		fmt.Fprintf(out, "%-10s %-60s %8d\n", id, short(fullName(technique), 60), counts[id])
	}
	if more := len(ids) - mostTechniques; more > 0 {
		fmt.Fprintf(out, "… and %d techniques more\n", more)
	}
	fmt.Fprintln(out)
}
