package chaos

import (
	"net"
	"sync"
	"time"
)

// proxy passes TCP connections on and can cut, hold and delay them.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	cut   bool
	delay time.Duration // of each piece of data, both ways
	held  chan struct{} // closed when data may flow again; nil: it flows
}

// newProxy listens on a port of its own and passes connections on to target.
func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	go p.accept()
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		go p.serve(in)
	}
}

func (p *proxy) serve(in net.Conn) {
	defer in.Close()
	if p.isCut() {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return // to the client it looks like a server that hangs up
	}
	defer out.Close()
	p.track(in, out)
	defer p.untrack(in, out)
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in) })
	both.Go(func() { p.copy(in, out) })
	both.Wait()
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.linger()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return // io.EOF or a reset, passed on by closing
		}
	}
}

// linger waits as long as data is held or delayed.
func (p *proxy) linger() {
	p.mu.Lock()
	delay, held := p.delay, p.held
	p.mu.Unlock()
	if held != nil {
		<-held
	}
	if delay > 0 {
		<-time.After(delay)
	}
}

func (p *proxy) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

func (p *proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

func (p *proxy) untrack(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// sever cuts every connection and, until heal, each new one.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close() // what was on its way is lost, which is the point
	}
}

// hold lets no data pass until heal; connections stay open.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// slow delays each piece of data until heal.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// heal ends whatever was done to the connections.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.delay = false, 0
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

func (p *proxy) close() {
	p.heal()
	p.sever()
	_ = p.listener.Close()
}
