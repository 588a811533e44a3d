package embedded

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// guardEvery is how often the server is asked how it is.
const guardEvery = time.Second

// guard starts the server anew when it has stopped writing: it takes a stream
// out of service after the first error of the disk, even a full one, until it
// is restarted. guard ends with s.done.
func (s *Server) guard() {
	defer close(s.guarded)
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
			if !s.healthy() && s.hasRoom() {
				s.restart()
			}
		}
	}
}

// healthy asks the server itself, by the handler of its /healthz.
func (s *Server) healthy() bool {
	s.complaints.quiet.Store(true) // it also logs the answer, each time
	defer s.complaints.quiet.Store(false)
	r, err := http.NewRequest(http.MethodGet, "/healthz", http.NoBody) //nolint:noctx // it never leaves the process
	if err != nil {
		return true
	}
	var answer status
	s.server().HandleHealthz(&answer, r)
	return answer < http.StatusInternalServerError
}

// status is a response of which only the status counts, 0 standing for 200.
type status int

func (s *status) Header() http.Header         { return http.Header{} }
func (s *status) Write(p []byte) (int, error) { return len(p), nil }
func (s *status) WriteHeader(code int)        { *s = status(code) }

// hasRoom reports whether a file can be written beside the streams.
func (s *Server) hasRoom() bool {
	name := filepath.Join(s.o.Dir, "room")
	err := os.WriteFile(name, make([]byte, 1<<20), 0o600)
	return errors.Join(err, os.Remove(name)) == nil
}

func (s *Server) restart() {
	s.log.Warn("the embedded NATS server cannot write its streams, it is started anew")
	old := s.server()
	old.Shutdown()
	old.WaitForShutdown()
	so, err := serverOptions(s.o)
	if err == nil {
		ns, startErr := start(so, s.complaints)
		if err = startErr; err == nil {
			s.mu.Lock()
			s.ns = ns
			s.mu.Unlock()
			return
		}
	}
	s.log.Error("the embedded NATS server did not start again, it will be tried on", zap.Error(err))
}
