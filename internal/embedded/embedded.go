// Package embedded runs a NATS server with JetStream inside the process: for
// trying the worker out, for small installations, and for tests. It is one
// server, never part of a cluster.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// MaxPayload is how large a message the server takes, headers included: room
// for a session with every command line an attacker sent.
const MaxPayload = 8 << 20

// readyWithin bounds the wait for a server that has read its store and said
// nothing of an error.
const readyWithin = 10 * time.Second

// Options says how to run the server.
type Options struct {
	// Dir holds the streams. It is made if it does not exist, and one process
	// at a time may use it.
	Dir string

	// Listen is a loopback address for other programs, "127.0.0.1:4222"; with
	// port 0 a free one is taken. Empty means that the server is reached from
	// inside the process only. Nobody has to log in, hence loopback only.
	Listen string

	// Unsynced leaves it to the system when messages reach the disk: faster,
	// and a power cut may lose what was acknowledged last.
	Unsynced bool

	Log *zap.Logger // nil means none
}

// Server is a running server. It is started anew by itself if it could not
// write its streams, because the disk was full, and now can.
type Server struct {
	o          Options // with the port that was taken
	log        *zap.Logger
	complaints *logger
	lock       *os.File

	mu sync.Mutex // guards ns
	ns *server.Server

	down    bool          // it did not start again; only guard looks
	done    chan struct{} // closed by Stop
	guarded chan struct{} // closed by guard when it ends
}

// Start runs a server and returns once it takes connections. The caller must
// Stop it.
func Start(o Options) (*Server, error) {
	so, err := serverOptions(o)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, log: o.Log, lock: lock, done: make(chan struct{}), guarded: make(chan struct{})}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.complaints = &logger{log: s.log}
	if s.ns, err = start(so, s.complaints); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if o.Listen != "" {
		s.o.Listen = strings.TrimPrefix(s.URL(), "nats://")
	}
	go s.guard()
	return s, nil
}

// start runs the server itself, in a directory that is ours.
func start(so *server.Options, complaints *logger) (*server.Server, error) {
	if err := probe(so); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	ns.SetLoggerV2(complaints, false, false, false)
	ns.Start()
	if err := ready(ns, complaints); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("start the embedded NATS server in %s: %w", so.StoreDir, err)
	}
	return ns, nil
}

// ready waits until ns takes connections. That it could not start it says
// only in its log.
func ready(ns *server.Server, complaints *logger) error {
	if err := complaints.fatal(); err != nil {
		return err
	}
	if !ns.ReadyForConnections(readyWithin) {
		return fmt.Errorf("not ready within %s", readyWithin)
	}
	return nil
}

func serverOptions(o Options) (*server.Options, error) {
	if o.Dir == "" {
		return nil, errors.New("start the embedded NATS server: no directory given")
	}
	so := &server.Options{
		ServerName: "ttp-worker",
		DontListen: o.Listen == "",
		JetStream:  true,
		StoreDir:   o.Dir,
		SyncAlways: !o.Unsynced,
		MaxPayload: MaxPayload,
		NoSigs:     true,
	}
	if o.Listen == "" {
		return so, nil
	}
	addr, err := loopback(o.Listen)
	if err != nil {
		return nil, err
	}
	so.Host, so.Port = addr.Addr().String(), int(addr.Port())
	if so.Port == 0 {
		so.Port = server.RANDOM_PORT
	}
	return so, nil
}

// loopback reads an address that only this machine can reach.
func loopback(listen string) (netip.AddrPort, error) {
	text := strings.Replace(listen, "localhost:", "127.0.0.1:", 1)
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return addr, fmt.Errorf("embedded NATS server: %q is no address like 127.0.0.1:4222", listen)
	}
	if !addr.Addr().IsLoopback() {
		return addr, fmt.Errorf("embedded NATS server: %s is not a loopback address; it has no log-in, "+
			"so run a NATS server of its own to be reached from other machines", listen)
	}
	return addr, nil
}

// probe finds out whether the address is free, while there is an error to look
// at: the server has only a line of its log for it.
func probe(so *server.Options) error {
	if so.DontListen || so.Port <= 0 {
		return nil
	}
	addr := net.JoinHostPort(so.Host, fmt.Sprint(so.Port))
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("embedded NATS server: %s is in use; stop what listens there, choose another port "+
			"or use that server with --nats: %w", addr, err)
	}
	if err != nil {
		return fmt.Errorf("embedded NATS server: listen on %s: %w", addr, err)
	}
	return l.Close()
}

// lockDir makes dir and takes it for this process. The lock ends with the
// process, however it ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the embedded NATS server: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of the embedded NATS server: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another process is using it: %w", err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// InProcessConn opens a connection that does not go through the network. It
// has the signature that NATS clients ask for.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server().InProcessConn() }

func (s *Server) server() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ns
}

// URL is where clients connect to, "nats://127.0.0.1:4222"; empty if the
// server does not listen.
func (s *Server) URL() string {
	ns := s.server()
	if ns.Addr() == nil {
		return ""
	}
	return ns.ClientURL()
}

// Stop ends the server, waits until it has ended and gives the directory free.
// Clients should have been closed before.
func (s *Server) Stop() {
	close(s.done)
	<-s.guarded
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	_ = s.lock.Close() // nothing was written to it
}
