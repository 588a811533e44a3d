package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"ttp-worker/internal/testdb"
	"ttp-worker/replay"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// commandsFile writes a JSONL file of the bundled commands: one a message, or
// twenty as a session. Attackers and seconds differ, so no tag comes twice.
func commandsFile(b *testing.B, commands int, sessions bool) string {
	b.Helper()
	texts := demoTexts()
	name := filepath.Join(b.TempDir(), "commands.jsonl")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	const perSession = 20
	for i := 0; i < commands; i += perSession {
		at := time.Date(2021, 1, 1, 0, 0, i, 0, time.UTC)
		list := make([]string, perSession)
		for j := range list {
			list[j] = fmt.Sprintf(`{"command_text":%s,"ts":%q,"decky":"SRV","service":"bash"`, ttp.Quote(texts[(i+j)%len(texts)]), at.Add(time.Duration(j)*time.Second).Format("2006-01-02T15:04:05"))
		}
		head := fmt.Sprintf(`"session_id":"S%d","attacker_ip":"198.51.100.%d","decky_id":"d","service":"ssh"`, i, i/perSession%250)
		if sessions {
			fmt.Fprintf(w, `{"v":1,"topic":"attacker.session.ended","payload":{%s,"commands":[%s}]}}`+"\n", head, strings.Join(list, "},"))
			continue
		}
		for _, entry := range list {
			fmt.Fprintf(w, `{"v":1,"topic":"attacker.command","payload":%s,%s}}`+"\n", entry, head)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
	return name
}

// demoTexts are the bundled commands.
func demoTexts() (texts []string) {
	lines := bufio.NewScanner(strings.NewReader(demoCommands))
	for lines.Scan() {
		var line struct{ Input string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err) // the list is part of the program
		}
		texts = append(texts, line.Input)
	}
	return texts
}

func replayOnce(b *testing.B, o replayOptions) {
	b.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	o.rules, o.unknownAttacker, o.logLevel, o.batchSize, o.migrate = []string{"builtin"}, "create", "error", 500, true
	if err := o.run(context.Background(), nil, io.Discard); err != nil {
		b.Fatal(err)
	}
}

// Speed of a dry run on one core, with the built-in rules:
//
//	go test -run '^$' -bench ReplayDryRun ./cmd/ttp-worker
func BenchmarkReplayDryRun(b *testing.B) {
	const commands = 400_000
	for _, sessions := range []bool{false, true} {
		b.Run(fmt.Sprintf("sessions=%t", sessions), func(b *testing.B) {
			name := commandsFile(b, commands, sessions)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			before := processorTime(b)
			for b.Loop() {
				replayOnce(b, replayOptions{from: []string{name}, dryRun: true})
			}
			b.ReportMetric(float64(commands*b.N)/(processorTime(b)-before).Seconds(), "commands/cpu-s")
		})
	}
}

// processorTime is what this process has used of the processors, which on a
// busy machine says more than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Rows a second of a replay, and as a share of what the sink alone takes:
//
//	go test -run '^$' -bench ReplayStore -benchtime 3x ./cmd/ttp-worker
func BenchmarkReplayStore(b *testing.B) {
	const commands = 20_000
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "mariadb": testdb.MySQL, "decnet": testdb.DECNET} {
		b.Run("db="+name, func(b *testing.B) {
			file := commandsFile(b, commands, true)
			var replaying, storing time.Duration
			rows := 0
			for b.Loop() {
				batches, took := recorded(b, replayOptions{from: []string{file}, db: fresh(b)})
				replaying += took
				n, took := sinkAlone(b, batches, fresh(b))
				rows += n
				storing += took
			}
			b.ReportMetric(float64(rows)/replaying.Seconds(), "rows/s")
			b.ReportMetric(storing.Seconds()/replaying.Seconds(), "of_the_sink")
		})
	}
}

// recorder remembers what is stored.
type recorder struct {
	replay.Store
	batches [][]ttp.Tagged
}

// WriteJob implements [replay.Store].
func (r *recorder) WriteJob(ctx context.Context, id, owner string, batch []ttp.Tagged, state func(ttp.Written) string) (ttp.Written, error) {
	r.batches = append(r.batches, batch)
	return r.Store.WriteJob(ctx, id, owner, batch, state)
}

// recorded replays and returns what was stored and how long it took.
func recorded(b *testing.B, o replayOptions) (batches [][]ttp.Tagged, took time.Duration) {
	b.Helper()
	o.rules, o.unknownAttacker, o.batchSize, o.migrate = []string{"builtin"}, "create", 500, true
	h, err := o.open(context.Background(), nil, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	defer h.close()
	r, err := o.replay(context.Background(), h, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	rec := &recorder{Store: r.Store}
	r.Store = rec
	start := time.Now()
	if _, err := r.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
	return rec.batches, time.Since(start)
}

// sinkAlone stores the same batches in an empty database.
func sinkAlone(b *testing.B, batches [][]ttp.Tagged, dsn string) (rows int, took time.Duration) {
	b.Helper()
	target, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer target.Close()
	if err := target.Migrate(context.Background()); err != nil {
		b.Fatal(err)
	}
	var attackers []ttp.Attacker
	known := make(map[string]bool)
	for _, batch := range batches {
		for _, tag := range batch[0].Tags {
			if !known[tag.AttackerUUID] {
				known[tag.AttackerUUID] = true
				attackers = append(attackers, ttp.Attacker{UUID: tag.AttackerUUID, Address: "198.51.100.1"})
			}
		}
	}
	if err := target.CreateAttackers(context.Background(), attackers); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for _, batch := range batches {
		written, err := target.Write(context.Background(), batch)
		if err != nil {
			b.Fatal(err)
		}
		rows += written.Inserted
	}
	return rows, time.Since(start)
}
