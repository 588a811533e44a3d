package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent trades memory for processor time: what lives long is a few MiB, and
// a batch is garbage as soon as it is acknowledged. GOGC and GOMEMLIMIT win.
const gcPercent = 400

func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// softMemory is from where the collector works harder, in bytes: with the 25 MiB
// of the program itself a worker with the built-in rules stays below 128 MiB.
// The servers of embedded mode need more.
const softMemory = 96 << 20

// limitMemory keeps the live worker small, whose host others share. With rules
// that alone need much of it there is more, or the collector would do nothing
// else.
func limitMemory() {
	runtime.GC() // what reading the rules has left
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	debug.SetMemoryLimit(max(softMemory, 4*int64(now.HeapAlloc)))
}
