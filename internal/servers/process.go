// Package servers runs the programs that chaos and benchmarks need: the worker,
// a NATS server built from its module, and a MariaDB of the system, each as a
// process with its own directory and port of 127.0.0.1.
package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child that ends with this program, however that ends.
type Process struct {
	Log string // the file of its output

	name string
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

// Spawn starts binary with its output appended to the file log and env added
// to the environment.
func Spawn(log string, env []string, binary string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Process{Log: log, name: filepath.Base(binary), cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.done)
	}()
	return p, nil
}

// RemoveAtEnd removes dir once this program has ended, however that ends: a
// shell waits for the end of a pipe that only this program holds.
func RemoveAtEnd(dir string) error {
	const script = `cat >/dev/null; i=0; while [ -e "$1" ] && [ $i -lt 100 ]; do rm -rf -- "$1"; sleep 0.1; i=$((i+1)); done`
	waits, held, err := os.Pipe()
	if err != nil {
		return err
	}
	defer waits.Close()
	cmd := exec.Command("/bin/sh", "-c", script, "sh", dir)
	cmd.Stdin = waits
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not reached by an interrupt from the terminal
	if err := cmd.Start(); err != nil {
		return errors.Join(err, held.Close())
	}
	ends.Store(dir, held)
	return cmd.Process.Release()
}

// ends keeps the ends of pipes by directory: the collector would close them.
var ends sync.Map

// Signal sends s; a process that has ended already is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end and returns the exit code, -1 after a signal.
func (p *Process) Wait(within time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("%s has not ended within %s, see %s", p.name, within, p.Log)
	}
}

// Kill ends the process at once, a stopped one, too.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := p.Wait(10 * time.Second)
	return err
}

// Term asks the process to end, and wants it to do so with exit code 0.
func (p *Process) Term(within time.Duration) error {
	if p.Ended() {
		return fmt.Errorf("%s had ended by itself: %s, see %s", p.name, p.cmd.ProcessState, p.Log)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.Wait(within)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %s, want exit code 0, see %s", p.name, p.cmd.ProcessState, p.Log)
	}
	return err
}

// clockTicks is the unit of /proc/PID/stat on every Linux that Go runs on.
const clockTicks = 100

// CPU returns the processor time that the process has used so far.
func (p *Process) CPU() time.Duration {
	fields := p.stat()
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks
}

// State is the process's letter in /proc: R, S, T (stopped), Z; X if it is gone.
func (p *Process) State() byte {
	if fields := p.stat(); len(fields) > 0 {
		return fields[0][0]
	}
	return 'X'
}

// stat returns the fields of /proc/PID/stat behind the name, from the state on.
func (p *Process) stat() []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// PeakMemory is the most resident memory that the process had, in bytes.
func (p *Process) PeakMemory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

// Eventually repeats check until it succeeds.
func Eventually(within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
