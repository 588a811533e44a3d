package worker

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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
	since   time.Time
	what    string
	passing bool
}

// patience is how long trouble that mostly passes by itself may last before
// the worker is called not ready.
const patience = 3 * time.Second

// Trouble says that something is wrong, until who says otherwise. Several may
// say the same; it is trouble until all of them have cleared it.
func (s *Status) Trouble(who, what string) { s.note(who, what, false) }

// Hindrance is [Status.Trouble] that mostly passes by itself: the worker is
// not ready once it has lasted for a few seconds.
func (s *Status) Hindrance(who, what string) { s.note(who, what, true) }

func (s *Status) note(who, what string, passing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = make(map[string]trouble)
	}
	since := cmp.Or(s.troubles[who].since, time.Now())
	s.troubles[who] = trouble{since: since, what: what, passing: passing}
}

// Clear says that who is in no trouble any more.
func (s *Status) Clear(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, who)
}

// NotReady returns what is wrong, each thing once and for how long; none means
// ready.
func (s *Status) NotReady() (causes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := make(map[string]time.Duration)
	for _, t := range s.troubles {
		if age := time.Since(t.since); !t.passing || age >= patience {
			longest[t.what] = max(longest[t.what], age)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(longest)) {
		causes = append(causes, what+" (for "+longest[what].Round(time.Second).String()+")")
	}
	return causes
}

// conflict is the class of trouble that mostly passes by itself.
const conflict = "conflict"

// databaseTrouble notes in the status what keeps who from the database.
func (w *Worker) databaseTrouble(who string, err error) (class, hint string) {
	class, hint = w.Explain(err)
	note := w.Status.Trouble
	if class == conflict {
		note = w.Status.Hindrance
	}
	note(who, "database: "+class+": "+oneLine(err)+" ("+hint+")")
	return class, hint
}

// oneLine is the text of an error in at most so many bytes.
func oneLine(err error) string {
	const most = 300
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return text[:min(len(text), most)]
}
