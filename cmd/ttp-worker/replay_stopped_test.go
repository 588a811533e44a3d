package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/internal/testdb"
)

// A replay that is killed again and again, at any time, comes to the same rows
// and counts as one that is left alone, and nothing of it is on the bus.
func TestReplay_killedAtAnyTime(t *testing.T) {
	name := save(t, cowrieLog(800))
	for database, fresh := range databases {
		t.Run(database, func(t *testing.T) {
			server := natstest.Start(t)
			silence(t, server)
			whole := fresh(t)
			args := func(dsn string) []string {
				return []string{"replay", "--from", name, "--db", dsn, "--nats", server.URL(), "--batch-size", "50", "--resume"}
			}
			if _, err := product(); err != nil { // the build is no part of the time
				t.Fatal(err)
			}
			took := timed(t, args(whole))
			idle := timed(t, args(whole)) // it has nothing left to do
			rows := len(tags(t, whole))
			killed := fresh(t)
			for n := 1; !killManyTimes(t, idle, max(took-idle, idle), rows, killed, args(killed)); n++ {
				if n == 5 {
					t.Fatal("never killed in the middle of its work")
				}
				killed = fresh(t)
			}
			out, code := program(t, args(whole)...) // tells the counts of what was done
			resumed, resumedCode := program(t, args(killed)...)
			if code != 0 || resumedCode != 0 {
				t.Fatalf("exit %d and %d:\n%s\n%s", code, resumedCode, out, resumed)
			}
			if diff := cmp.Diff(tags(t, whole), tags(t, killed)); diff != "" {
				t.Errorf("rows differ (-whole +killed):\n%s", diff)
			}
			if summary(out) != summary(resumed) {
				t.Errorf("the summary counts otherwise:\n%s\n%s", summary(out), summary(resumed))
			}
		})
	}
}

func timed(t *testing.T, args []string) time.Duration {
	t.Helper()
	start := time.Now()
	if err := spawn(t, args...).Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// killManyTimes starts a replay, which takes so long to begin and so long to do
// its work, and kills it, twenty times: on average after a twentieth of the
// work. A machine that has become slower since gives it more time. It reports
// whether the replay was killed in the middle of its work; all of that comes to so many rows.
func killManyTimes(t *testing.T, idle, work time.Duration, all int, dsn string, args []string) bool {
	t.Helper()
	const kills = 20
	seed, within := rand.Uint64(), idle+work/kills*2
	t.Logf("seed %d, killed within %v; %v of work", seed, within, work)
	random := rand.New(rand.NewPCG(seed, 0))
	stages := make(map[int]bool) // how many rows there were
	for n := 0; n < kills || len(stages) < 3; n++ {
		if stages[all] && len(stages) < 3 || n == 5*kills {
			t.Logf("killed %d times, with these rows: %v", n+1, slices.Collect(maps.Keys(stages)))
			return false
		}
		cmd := spawn(t, args...)
		<-time.NewTimer(time.Duration(random.Int64N(int64(within)))).C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		rows := 0
		if hasTable(t, dsn, "ttp_tag") {
			rows = len(query(t, dsn, "SELECT uuid FROM ttp_tag"))
		}
		if stages[rows] && rows < all {
			within = min(within+within/8, idle+work)
		}
		stages[rows] = true
	}
	return true
}

func hasTable(t *testing.T, dsn, table string) bool {
	t.Helper()
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		if _, err := os.Stat(path); err != nil {
			return false
		}
		return len(query(t, dsn, "SELECT name FROM sqlite_master WHERE name = '"+table+"'")) == 1
	}
	return len(query(t, dsn, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '"+table+"'")) == 1
}

// summary returns the last line without the time.
func summary(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	line, _, _ := strings.Cut(lines[len(lines)-1], " elapsed_s=")
	return line
}

func TestReplay_secondAtOnceIsRefused(t *testing.T) {
	name, dsn := save(t, cowrieLog(300)), testdb.SQLite(t)
	spawn(t, "replay", "--from", name, "--db", dsn, "--rate", "20")
	until(t, "the first replay works", func() bool {
		return hasTable(t, dsn, "ttp_replay") && len(query(t, dsn, "SELECT id FROM ttp_replay WHERE owner <> ''")) == 1
	})
	if out, code := program(t, "replay", "--from", name, "--db", dsn); code != exitFailed || strings.Contains(out, "rows=1") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := program(t, "replay", "--from", name, "--db", dsn, "--rule", "R1033"); code != 0 {
		t.Errorf("another replay was refused, too: exit %d: %s", code, out)
	}
}

func TestReplay_interrupted(t *testing.T) {
	name, dsn := save(t, cowrieLog(300)), testdb.SQLite(t)
	cmd := spawn(t, "replay", "--from", name, "--db", dsn, "--rate", "500", "--batch-size", "10")
	until(t, "some of it is stored", func() bool {
		return hasTable(t, dsn, "ttp_replay") && len(query(t, dsn, "SELECT 1 FROM ttp_tag LIMIT 1")) == 1
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the code is looked at
	stderr := cmd.Stderr.(*bytes.Buffer).String()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(stderr, "--resume") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if out, code := program(t, "replay", "--from", name, "--db", dsn, "--resume"); code != 0 {
		// Other options are the same replay: they do not say what is replayed.
		t.Errorf("exit %d: %s", code, out)
	}
	whole := testdb.SQLite(t)
	if out, code := program(t, "replay", "--from", name, "--db", whole); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	if diff := cmp.Diff(tags(t, whole), tags(t, dsn)); diff != "" {
		t.Errorf("rows differ (-whole +stopped):\n%s", diff)
	}
}

func TestReplay_interruptedWhileItWaitsForInput(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	dsn := testdb.SQLite(t)
	cmd := spawnReading(t, read, "replay", "--from", "-", "--db", dsn)
	_ = read.Close() // the process has it
	if _, err := write.WriteString(cowrieLog(20)); err != nil {
		t.Fatal(err)
	}
	until(t, "it works", func() bool {
		return hasTable(t, dsn, "ttp_replay") && len(query(t, dsn, "SELECT id FROM ttp_replay WHERE owner <> ''")) == 1
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the code is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit %d", code)
	}
}
