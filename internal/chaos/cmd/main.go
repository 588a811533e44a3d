// Command cmd runs the fault tests of package chaos, `make chaos`, or with
// -soak the long run, `make soak`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ttp-worker/internal/chaos"
)

func main() {
	var o chaos.Options
	flag.Uint64Var(&o.Seed, "seed", 0, "repeats a run as far as the machine lets it; 0 takes a new one")
	flag.DurationVar(&o.Duration, "duration", 0, "go on with random faults until it has passed; 0 means each fault once")
	flag.StringVar(&o.Only, "only", "", "regular expression of the faults to inject")
	flag.IntVar(&o.Jobs, "jobs", 3, "faults at once")
	flag.StringVar(&o.Dir, "dir", "", "keep data and logs here")
	soak := flag.Bool("soak", false, "run for -duration, or 10 minutes, under load and small faults, and want nothing to grow")
	flag.Parse()
	run := chaos.Run
	if *soak {
		run = chaos.Soak
	}
	o.Out = os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
