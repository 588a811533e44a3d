package worker

import (
	"slices"
	"strconv"
	"sync"
	"time"
)

// Pulse tells whether the main loop moves. Each part of it says so whenever a
// step is done, waiting for a server that is away included: what does not say
// so for long hangs. It is safe for concurrent use; the zero Pulse is ready.
type Pulse struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// Beat says that a part has made a step.
func (p *Pulse) Beat(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = make(map[string]time.Time)
	}
	p.last[part] = time.Now()
}

// End says that a part has ended and no step of it will come.
func (p *Pulse) End(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, part)
}

// Stalled returns the parts without a step for longer than limit, sorted.
func (p *Pulse) Stalled(limit time.Duration) (parts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for part, at := range p.last {
		if time.Since(at) > limit {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	return parts
}

// LaneName is what the lane of the nth source, from 0, is called in [Pulse].
func LaneName(n int) string { return "lane " + strconv.Itoa(n) }

func (l *lane) beat() { l.Pulse.Beat(l.name) }
