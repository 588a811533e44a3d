package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"ttp-worker/intake"
)

// maxWaiting bounds the messages that are remembered, about 300 bytes each.
// Those beyond it wait out their delay.
const maxWaiting = 20_000

// wakeEvery is how often the database is asked about the attackers that
// messages wait for.
const wakeEvery = time.Second

// waiting remembers the messages that were handed back because their attacker
// has no row, so that they need not be looked at again and again: their delay
// may grow, and once the row is there they are recalled.
type waiting struct {
	mu       sync.Mutex // guards messages
	messages map[uint64]waiter
}

type waiter struct {
	attacker intake.Key
	recall   func() error
	until    time.Time // when the server delivers it by itself
}

// add remembers a message, unless there are too many.
func (w *waiting) add(sequence uint64, m waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.messages == nil {
		w.messages = make(map[uint64]waiter)
	}
	if len(w.messages) < maxWaiting {
		w.messages[sequence] = m
	}
}

// remove forgets a message, which has come again.
func (w *waiting) remove(sequence uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.messages, sequence)
}

// attackers returns who is waited for, each once, and how many messages wait.
// Messages that must have come again by now, here or elsewhere, are forgotten.
func (w *waiting) attackers(now time.Time) (keys []intake.Key, messages int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[intake.Key]bool)
	for sequence, m := range w.messages {
		if now.After(m.until) {
			delete(w.messages, sequence)
			continue
		}
		if !seen[m.attacker] {
			seen[m.attacker] = true
			keys = append(keys, m.attacker)
		}
	}
	return keys, len(w.messages)
}

// take forgets and returns the messages that wait for one of these.
func (w *waiting) take(appeared map[intake.Key]bool) (list []waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for sequence, m := range w.messages {
		if appeared[m.attacker] {
			list = append(list, m)
			delete(w.messages, sequence)
		}
	}
	return list
}

// wake recalls, until ctx ends, the messages whose attacker has got a row.
func (w *Worker) wake(ctx context.Context) {
	ticker := time.NewTicker(wakeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.wakeOnce(ctx)
		}
	}
}

func (w *Worker) wakeOnce(ctx context.Context) {
	keys, n := w.waiting.attackers(time.Now())
	w.Metrics.Waiting.Set(float64(n))
	if len(keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.BatchTimeout)
	defer cancel()
	appeared, err := w.Resolver.Appeared(ctx, keys)
	if err != nil {
		w.Log.Debug("waiting messages not looked after", zap.Error(err)) // the lanes say that the database is away
		return
	}
	for _, m := range w.waiting.take(appeared) {
		if err := m.recall(); err != nil {
			w.Log.Debug("waiting message not recalled; it comes after its delay", zap.Error(err))
		}
	}
}
