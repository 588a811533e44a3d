// Package natstest gives a test a NATS server of its own.
package natstest

import (
	"strings"
	"testing"

	"ttp-worker/internal/embedded"
)

// Server is a running server that the test may stop and start again.
type Server struct {
	t testing.TB
	o embedded.Options
	*embedded.Server
}

// Start runs a server with an empty store on a free port of 127.0.0.1. It ends
// with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, o: embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Unsynced: true}}
	s.Up()
	s.o.Listen = strings.TrimPrefix(s.URL(), "nats://")
	t.Cleanup(s.Down)
	return s
}

// Up starts the server that was stopped: the same address, the same store.
func (s *Server) Up() {
	s.t.Helper()
	if s.Server != nil {
		return
	}
	var err error
	if s.Server, err = embedded.Start(s.o); err != nil {
		s.t.Fatal(err)
	}
}

// Down stops the server; its store stays.
func (s *Server) Down() {
	if s.Server != nil {
		s.Stop()
		s.Server = nil
	}
}
