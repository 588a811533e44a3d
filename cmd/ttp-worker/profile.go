//go:build profile

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// init lets the benchmark look inside: SIGUSR1 begins a profile of the
// processor, the next one ends it and writes it to the directory
// $TTP_TEST_PROFILE, with profiles of what was allocated and of what is in use.
func init() {
	dir := os.Getenv("TTP_TEST_PROFILE")
	if dir == "" {
		return
	}
	runtime.MemProfileRate = 64 << 10
	signals := make(chan os.Signal, 1) // the kernel sends, nobody closes
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			if err := profile(dir, signals); err != nil {
				fmt.Fprintln(os.Stderr, "ttp-worker: profile:", err)
			}
		}
	}()
}

func profile(dir string, end <-chan os.Signal) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return errors.Join(err, cpu.Close())
	}
	<-end
	pprof.StopCPUProfile()
	return errors.Join(cpu.Close(), write(dir, "allocs"), write(dir, "heap"))
}

func write(dir, name string) error {
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
