package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports hands out ports of 127.0.0.1 that nobody listens on, each once. They
// are below those that the system gives to outgoing connections, which would
// take one before its server listens. It is safe for concurrent use; the zero
// Ports is ready.
type Ports struct {
	mu    sync.Mutex // guards given
	given map[int]bool
}

const (
	lowestPort  = 16_000
	highestPort = 32_000
)

// Next returns a port that is free now and was not given to anybody else.
func (p *Ports) Next() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = make(map[int]bool)
	}
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if p.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody else's
		}
		_ = l.Close() // nobody has connected
		p.given[port] = true
		return port, nil
	}
	return 0, errors.New("no free port")
}
