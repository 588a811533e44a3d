package worker

import (
	"slices"
	"sync"
	"time"
)

// Status collects what keeps the worker from working. It is safe for
// concurrent use; the zero Status is ready.
type Status struct {
	mu       sync.Mutex // guards troubles
	troubles map[string]trouble
}

type trouble struct {
	since time.Time
	what  string
}

// patience is how long trouble may last before the worker is called not ready:
// a restart of the database or the bus is no news.
const patience = 3 * time.Second

// Trouble says that something is wrong with a part.
func (s *Status) Trouble(part, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = make(map[string]trouble)
	}
	t, going := s.troubles[part]
	if !going {
		t.since = time.Now()
	}
	t.what = what
	s.troubles[part] = t
}

// Clear says that a part works.
func (s *Status) Clear(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, part)
}

// NotReady returns what has been wrong for more than a few seconds, a line a
// part; none means ready.
func (s *Status) NotReady() (causes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, t := range s.troubles {
		if age := time.Since(t.since); age >= patience {
			causes = append(causes, part+": "+t.what+" (for "+age.Round(time.Second).String()+")")
		}
	}
	slices.Sort(causes)
	return causes
}
