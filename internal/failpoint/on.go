//go:build failpoint

package failpoint

import (
	"os"
	"sync/atomic"
	"syscall"
)

// Enabled reports whether the program was built with fail-points.
const Enabled = true

var (
	armed order
	hits  atomic.Int64
)

func arm(o order) { armed = o }

// Hit notes that p is reached and does what was ordered for it.
func Hit(p Point) {
	if p != armed.point || hits.Add(1) != armed.nth {
		return
	}
	signal := syscall.SIGKILL
	if armed.action == "stop" {
		signal = syscall.SIGSTOP
	}
	_ = syscall.Kill(os.Getpid(), signal) // to oneself, which is always allowed
}
