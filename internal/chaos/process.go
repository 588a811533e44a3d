package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is a child that ends with this program, however that ends.
type process struct {
	name string
	log  string // file of its output
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

// spawn starts binary with its output appended to the file log.
func spawn(name, log string, env []string, binary string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, log: log, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits for the end and returns the exit code, -1 after a signal.
func (p *process) wait(within time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("%s has not ended within %s, see %s", p.name, within, p.log)
	}
}

// kill ends the process at once, a stopped one, too.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := p.wait(10 * time.Second)
	return err
}

// term asks the process to end, and wants it to do so with exit code 0.
func (p *process) term(within time.Duration) error {
	if p.ended() {
		return fmt.Errorf("%s had ended by itself: %s, see %s", p.name, p.cmd.ProcessState, p.log)
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.wait(within)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %s, want exit code 0, see %s", p.name, p.cmd.ProcessState, p.log)
	}
	return err
}

// state is the process's letter in /proc: R, S, T (stopped), Z …
func (p *process) state() byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 'X'
	}
	for i := len(text) - 1; i > 0; i-- {
		if text[i] == ')' && i+2 < len(text) {
			return text[i+2]
		}
	}
	return 'X'
}

// ports hands out ports that are free and that no other scenario was given.
// They are below those that the system gives to outgoing connections, which
// would take one before its server listens.
type ports struct {
	mu    sync.Mutex // guards given
	given map[int]bool
}

const (
	lowestPort  = 16_000
	highestPort = 32_000
)

func (p *ports) next() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort) //nolint:gosec // not a secret
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
