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

// softMemory is from where the collector of the live worker works harder, in
// bytes: with the 25 MiB of the program itself it stays at about 128 MiB with the
// built-in rules. The servers of embedded mode need more.
const softMemory = 96 << 20

// makeRoomForRules raises that limit if the rules, which have been read, need
// much of it by themselves, or the collector would do nothing else.
func makeRoomForRules() {
	runtime.GC() // what reading them has left
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	debug.SetMemoryLimit(max(softMemory, 4*int64(now.HeapAlloc)))
}
