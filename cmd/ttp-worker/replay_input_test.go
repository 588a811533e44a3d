package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ttp-worker/ttp"
)

var replaySize = flag.Int64("replay.size", 1<<30, "bytes of input for BenchmarkReplayStdin")

// replayInputs are what a replay may be given much of: each function returns a
// line, in which @@@@@@@@ stands for a number that is not repeated.
var replayInputs = map[string]struct {
	events int // in a line
	line   func(i int, commands []string) string
}{
	"commands": {1, func(i int, commands []string) string {
		return fmt.Sprintf(`{"v":1,"topic":"attacker.command","payload":{"command_text":%s,"ts":"2021-01-01T00:00:%02d","attacker_ip":"198.51.100.%d","decky_id":"d@@@@@@@@","service":"ssh"}}`,
			ttp.Quote(commands[i%len(commands)]), i%60, i/20%250)
	}},
	"sessions": {21, func(i int, commands []string) string {
		return oneSession(i, commands, 20)
	}},
	"long-sessions": {15_001, func(i int, commands []string) string {
		return oneSession(i, commands, 15_000)
	}},
	// None of them ends: each is a session of its own.
	"endless-sessions": {2, func(i int, commands []string) string {
		return fmt.Sprintf(`{"eventid":"cowrie.command.input","session":"@@@@@@@@%d","src_ip":"198.51.100.%d","sensor":"c","timestamp":"2021-01-01T00:00:%02d.000000Z","input":%s}`,
			i, i%250, i%60, ttp.Quote(commands[i%len(commands)]))
	}},
	"long-lists": {0, func(int, []string) string {
		return "[" + strings.Repeat("1,", 4<<20-8) + `"@@@@@@@@"]`
	}},
	"many-members": {0, func(int, []string) string {
		return `{"x@@@@@@@@":0` + strings.Repeat(`,"":0`, 8<<20/5-8) + `}`
	}},
}

func oneSession(i int, commands []string, n int) string {
	list := make([]string, n)
	for j := range list {
		list[j] = fmt.Sprintf(`{"command_text":%s,"ts":"2021-01-01T00:%02d:%02d"}`, ttp.Quote(commands[(i*n+j)%len(commands)]), j/60%60, j%60)
	}
	return fmt.Sprintf(`{"v":1,"topic":"attacker.session.ended","payload":{"session_id":"s@@@@@@@@%d","attacker_ip":"198.51.100.%d","decky_id":"d@@@@@@@@","commands":[%s]}}`,
		i, i%250, strings.Join(list, ","))
}

// endless repeats lines with other numbers until there are as many bytes.
type endless struct {
	block  []byte
	places []int // of the numbers
	round  int
	rest   []byte // of the block, to be read
	left   int64
	lines  int // of a block
}

const numberMark = "@@@@@@@@"

func newEndless(size int64, line func(i int, commands []string) string) *endless {
	e := &endless{left: size}
	commands := demoTexts()
	for e.lines = 0; e.lines < len(commands) && len(e.block) < 8<<20; e.lines++ {
		e.block = append(append(e.block, line(e.lines, commands)...), '\n')
	}
	for at := 0; ; {
		i := bytes.Index(e.block[at:], []byte(numberMark))
		if i < 0 {
			return e
		}
		at += i
		e.places = append(e.places, at)
		at += len(numberMark)
	}
}

// Read implements [io.Reader]. The last block is read to its end.
func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		if e.left <= 0 {
			return 0, io.EOF
		}
		e.round++
		number := fmt.Appendf(nil, "%08d", e.round)
		for _, place := range e.places {
			copy(e.block[place:], number)
		}
		e.rest = e.block
		e.left -= int64(len(e.block))
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// A dry run of any amount of input, which comes through a pipe; more than 256
// MiB of memory is a failure:
//
//	make bench-replay SIZE=10G
func BenchmarkReplayStdin(b *testing.B) {
	exe, err := product()
	if err != nil {
		b.Fatal(err)
	}
	for name, input := range replayInputs {
		b.Run("input="+name, func(b *testing.B) {
			events := 0
			var cpu, peak float64
			for b.Loop() {
				in := newEndless(*replaySize, input.line)
				cmd := exec.Command(exe, "replay", "--from", "-", "--dry-run", "--log-level", "error")
				cmd.Stdin = in
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != exitMalformed {
					b.Fatalf("%v: %s", err, stderr.String())
				}
				events += in.round * in.lines * input.events
				used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
				cpu += float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
				peak = max(peak, float64(used.Maxrss)/1024)
			}
			b.SetBytes(*replaySize)
			b.ReportMetric(float64(events)/cpu, "events/cpu-s")
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(peak, "MiB-peak")
			if peak > 256 {
				b.Errorf("%.0f MiB of memory", peak)
			}
		})
	}
}
