package embedded

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

const (
	// guardEvery is how often the server is asked how it is.
	guardEvery = time.Second

	// badAnswers is how many times in a row it must say that a stream is out
	// of service before that is believed.
	badAnswers = 3
)

// guard starts the server anew when it has stopped writing: it takes a stream
// out of service after the first error of the disk, even a full one, until it
// is restarted. A server that is merely slow is left alone. guard ends with
// s.done.
func (s *Server) guard() {
	defer close(s.guarded)
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for bad := 0; ; {
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		if !s.outOfService() {
			bad = 0
			continue
		}
		if bad++; bad >= badAnswers && s.hasRoom() && s.restart() {
			bad = 0
		}
	}
}

// outOfService reports whether the server has had an error and says that a
// stream does not work, or has not come back from a restart.
func (s *Server) outOfService() bool {
	return s.down || s.complaints.failed.Load() && s.health() == http.StatusServiceUnavailable
}

// health asks the server itself, by the handler of its /healthz.
func (s *Server) health() int {
	s.complaints.quiet.Store(true) // it also logs the answer, each time
	defer s.complaints.quiet.Store(false)
	r, err := http.NewRequest(http.MethodGet, "/healthz", http.NoBody) //nolint:noctx // it never leaves the process
	if err != nil {
		return http.StatusOK
	}
	var answer status
	s.server().HandleHealthz(&answer, r)
	return int(answer)
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

// restart reports whether the server is there again.
func (s *Server) restart() bool {
	s.log.Warn("the embedded NATS server could not write its streams, it is started anew")
	old := s.server()
	old.Shutdown()
	old.WaitForShutdown()
	s.complaints.failed.Store(false)
	so, err := serverOptions(s.o)
	if err == nil {
		ns, failed := start(so, s.complaints)
		if err = failed; err == nil {
			s.mu.Lock()
			s.ns = ns
			s.mu.Unlock()
		}
	}
	if s.down = err != nil; s.down {
		s.log.Error("the embedded NATS server did not start again, it will be tried on", zap.Error(err))
	}
	return !s.down
}
