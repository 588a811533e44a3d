package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// suppressed counts tags that were dropped, until they are reported.
type suppressed struct {
	mu     sync.Mutex // guards counts
	counts map[suppression]*dropped
}

type suppression struct{ ruleID, reason string }

// dropped is how many tags of a rule were dropped, and what the first one said.
type dropped struct {
	technique string
	count     int
}

func (s *suppressed) add(ruleID, technique, reason string, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[suppression]*dropped)
	}
	key := suppression{ruleID, reason}
	if s.counts[key] == nil {
		s.counts[key] = &dropped{technique: technique}
	}
	s.counts[key].count += count
}

func (s *suppressed) take() map[suppression]*dropped {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	s.counts = nil
	return counts
}

// Suppress counts a tag that the worker's tagger dropped for a reason of its
// own, one of few words, so that it is measured and reported. It is safe for
// concurrent use while Run runs.
func (w *Worker) Suppress(ruleID, technique, reason string) {
	w.Metrics.tags(w.Metrics.techniques.label(technique), reason, 1)
	w.suppressed.add(ruleID, technique, reason, 1)
}

// suppressedEvery is how often a rule's dropped tags are reported.
const suppressedEvery = time.Minute

func (w *Worker) reportSuppressed(ctx context.Context) {
	ticker := time.NewTicker(suppressedEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.flushSuppressed(ctx)
		}
	}
}

// flushSuppressed reports what was dropped since the last time. What could not
// be reported is counted on.
func (w *Worker) flushSuppressed(ctx context.Context) {
	var err error
	for s, d := range w.suppressed.take() {
		if err == nil {
			err = w.Publisher.Suppressed(ctx, s.ruleID, d.technique, s.reason, d.count)
		}
		if err != nil {
			w.suppressed.add(s.ruleID, d.technique, s.reason, d.count)
		}
	}
	if err != nil {
		w.Log.Debug("dropped tags not reported yet", zap.Error(err))
	}
}
