// Package chaos proves what docs/delivery.md says: it runs the built worker
// against real NATS and MariaDB servers and SQLite, makes things go wrong at
// random and in every known place, and then holds every stored row and every
// announcement against what was sent.
package chaos

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"ttp-worker/internal/servers"
)

// Options say what to run.
type Options struct {
	Seed     uint64        // of everything that is random; 0 takes one from the clock
	Duration time.Duration // faults are drawn at random until it has passed; 0: each fault once
	Only     string        // regular expression of the names of faults; empty means all
	Short    bool          // only the faults of the short form; an event may take three times as long, as others use the machine
	Jobs     int           // faults at once; 0 means 3
	Dir      string        // for servers' data and logs; empty means a temporary one, kept if something failed
	Out      io.Writer     // the table
}

// ErrMissed says that a requirement was not met; the table says which.
var ErrMissed = errors.New("a requirement was not met")

// startWithin is how long a program may take to start, or to end.
const startWithin = 30 * time.Second

// binaries are the programs under test.
type binaries struct {
	worker string // with fail-points
	nats   string
}

// harness is what all faults of a run share.
type harness struct {
	dir   string
	bin   binaries
	rules []string // of the workers
	ports servers.Ports
	db    *servers.Server // MariaDB for the faults that leave it alone
	slack int             // how many times longer than the limit an event may take

	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

// allowed returns how long something may take for which there is that limit.
func (h *harness) allowed(limit time.Duration) time.Duration { return limit * time.Duration(h.slack) }

func (h *harness) draw() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.Uint64()
}

func (h *harness) float() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.Float64()
}

// between draws a number from least to most.
func (h *harness) between(least, most int) int {
	return least + int(h.draw()%uint64(most-least+1))
}

// Run injects the faults and prints a line for each. It returns [ErrMissed] if
// any did damage, and another error if the run itself could not be done.
func Run(ctx context.Context, o Options) (err error) {
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Jobs == 0 {
		o.Jobs = 3
	}
	chosen, err := choose(faults(), o)
	if err != nil {
		return err
	}
	h, clean, err := newHarness(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = clean(err) }()
	fmt.Fprintf(o.Out, "seed %d, %d faults\n%s", o.Seed, len(chosen), heading)
	missed := h.all(ctx, o, chosen)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if missed > 0 {
		return fmt.Errorf("%w: %d faults did damage; seed %d, logs in %s", ErrMissed, missed, o.Seed, h.dir)
	}
	return nil
}

func choose(all []fault, o Options) (chosen []fault, err error) {
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return nil, fmt.Errorf("choose faults: %w", err)
	}
	for _, f := range all {
		if (f.short || !o.Short) && only.MatchString(f.name+"/"+f.database) {
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no fault matches %q", o.Only)
	}
	return chosen, nil
}

//go:embed rules/chaos.yaml
var ruleFiles embed.FS

// newHarness builds the programs and starts what is shared. clean ends it and
// removes the directory unless err says that somebody will want to look.
func newHarness(ctx context.Context, o Options) (h *harness, clean func(error) error, err error) {
	h = &harness{dir: o.Dir, slack: 1, rng: rand.New(rand.NewPCG(o.Seed, 0))} //nolint:gosec // to be repeatable
	if o.Short {
		h.slack = 3
	}
	if h.dir == "" {
		if h.dir, err = os.MkdirTemp("", "ttp-chaos-"); err != nil {
			return nil, nil, err
		}
	}
	clean = func(failed error) error {
		if h.db != nil && h.db.Process != nil {
			failed = errors.Join(failed, h.db.Kill())
		}
		if failed == nil && o.Dir == "" {
			return os.RemoveAll(h.dir)
		}
		return failed
	}
	if err = h.prepare(ctx); err != nil {
		return nil, nil, clean(err)
	}
	return h, clean, nil
}

func (h *harness) prepare(ctx context.Context) (err error) {
	rules := filepath.Join(h.dir, "rules")
	if err := os.MkdirAll(rules, 0o700); err != nil {
		return err
	}
	text, err := fs.ReadFile(ruleFiles, "rules/chaos.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(rules, "chaos.yaml"), text, 0o600); err != nil {
		return err
	}
	h.rules = []string{"builtin", rules}
	if err := h.build(ctx); err != nil {
		return err
	}
	port, err := h.ports.Next()
	if err != nil {
		return err
	}
	if h.db, err = newMariaDB(filepath.Join(h.dir, "mariadb"), port, false); err != nil {
		return err
	}
	return h.db.Start()
}

// build makes the programs from the module that this one is part of.
func (h *harness) build(ctx context.Context) error {
	h.bin = binaries{filepath.Join(h.dir, "ttp-worker"), filepath.Join(h.dir, "nats-server")}
	return errors.Join(
		servers.Build(ctx, h.bin.worker, "ttp-worker/cmd/ttp-worker", "-tags", "failpoint"),
		servers.Build(ctx, h.bin.nats, servers.NATSPackage))
}

// newMariaDB describes a server. With grants it has accounts: root, who may do
// everything, and ttp, who may not write where the server is read-only.
func newMariaDB(dir string, port int, grants bool) (*servers.Server, error) {
	options := []string{
		"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=1", "--innodb-lock-wait-timeout=2", "--max-allowed-packet=16777216",
	}
	if !grants {
		return servers.NewMariaDB(dir, port, options...)
	}
	return servers.NewMariaDBWithAccounts(dir, port, []string{
		"CREATE USER IF NOT EXISTS ttp@127.0.0.1;",
		"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES ON *.* TO ttp@127.0.0.1;",
	}, options...)
}

// all runs the faults, some at a time, and returns how many did damage.
func (h *harness) all(ctx context.Context, o Options, chosen []fault) (missed int) {
	var mu sync.Mutex // guards missed and the output
	var running sync.WaitGroup
	slots := make(chan struct{}, o.Jobs) // a job takes a place in it and frees it
	end := time.Now().Add(o.Duration)
	for n := 0; ctx.Err() == nil && (n < len(chosen) || time.Now().Before(end)); n++ {
		f := chosen[n%len(chosen)]
		if n >= len(chosen) {
			f = chosen[h.draw()%uint64(len(chosen))]
		}
		seed := h.draw()
		slots <- struct{}{}
		running.Go(func() {
			v := h.try(ctx, f, worldName(n, f), rand.New(rand.NewPCG(seed, 0))) //nolint:gosec // to be repeatable
			mu.Lock()
			defer mu.Unlock()
			v.print(o.Out)
			if len(v.complaints) > 0 {
				missed++
			}
			<-slots
		})
	}
	running.Wait()
	return missed
}
