package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// suppressed counts tags that were dropped, until they are reported.
type suppressed struct {
	mu     sync.Mutex
	counts map[suppression]int
}

type suppression struct{ ruleID, technique, reason string }

func (s *suppressed) add(ruleID, technique, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[suppression]int)
	}
	s.counts[suppression{ruleID, technique, reason}]++
}

func (s *suppressed) take() map[suppression]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	s.counts = nil
	return counts
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

func (w *Worker) flushSuppressed(ctx context.Context) {
	for s, count := range w.suppressed.take() {
		if err := w.Publisher.Suppressed(ctx, s.ruleID, s.technique, s.reason, count); err != nil {
			w.Log.Debug("dropped tags not reported", zap.Error(err), zap.String("rule_id", s.ruleID), zap.Int("count", count))
		}
	}
}
