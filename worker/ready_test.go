package worker_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNotReady breaks a part, repairs it, and asks for the cause each time.
func TestNotReady(t *testing.T) {
	away := errors.New("connection refused")
	refusing := func(err error) func(*server) { return func(s *server) { s.refuse = func(string) error { return err } } }
	well := func(s *server) { s.refuse, s.noOutbox, s.noBus, s.noAck = nil, nil, false, false }
	for name, c := range map[string]struct {
		fault  func(s *server)
		events int
		after  time.Duration
		want   string // a cause begins with it; "" for none
	}{
		"a write fails":                       {refusing(away), 1, 0, "database: connection: connection refused (start it)"},
		"a lock is waited for":                {refusing(errLocked), 1, 2 * time.Second, ""},
		"a lock stays":                        {refusing(errLocked), 1, 5 * time.Second, "database: conflict: somebody holds a lock (wait)"},
		"the database is away, nothing to do": {func(s *server) { s.noOutbox = away }, 0, 6 * time.Second, "database: connection: connection refused (start it)"},
		"acknowledgements are not confirmed":  {func(s *server) { s.noAck = true }, 1, 0, "nats: acknowledgements are not confirmed: no answer"},
		"announcements are not taken":         {func(s *server) { s.noBus = true }, 1, 0, "nats: announcements are not taken and wait in the outbox: no stream"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				s := newServer()
				s.run(t, nil)
				synctest.Wait()
				s.change(c.fault)
				for range c.events {
					s.add("known", "e")
				}
				time.Sleep(time.Second/10 + c.after)
				if causes := strings.Join(s.status.NotReady(), "\n"); (causes != "") != (c.want != "") || !strings.HasPrefix(causes, c.want) {
					t.Errorf("causes %q, want %q", causes, c.want)
				}
				s.change(well)
				time.Sleep(20 * time.Second)
				if causes := s.status.NotReady(); len(causes) > 0 {
					t.Errorf("still not ready: %q", causes)
				}
			})
		})
	}
}

func (s *server) change(how func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
}
