package worker

import (
	"context"
	"sync"
)

// isolateAfter is how many attempts a batch may fail before its messages are
// tried one by one.
const isolateAfter = 3

// classOther is what Explain calls an error of which nobody knows whether the
// row or the database is to blame. All other classes are the database's.
const classOther = "other"

// maxSuspects is how many messages may be blamed for errors that nobody knows
// while nothing at all can be stored. If there are more, it is the database that
// has a fault nobody knows, and the others wait until something can be stored.
const maxSuspects = 20

// isolate stores the messages of a batch that keeps failing one by one. Those
// that cannot be stored are handed back for later, so that they do not hold up
// the others. If it looks as if the database were to blame, isolate returns
// false and the batch waits.
func (l *lane) isolate(hard context.Context, b *batch, last error) bool {
	whole := &batch{tally: make(tally)}
	var failed []*item
	for _, it := range b.items {
		it.failure = last
		if len(b.items) > 1 {
			it.failure = l.storeAlone(hard, it, whole)
		}
		if it.failure == nil {
			continue
		}
		failed = append(failed, it)
		if !l.suspicious(it.failure) && len(whole.items) == 0 && (len(failed) >= isolateAfter || len(b.items) == 1) {
			return false
		}
	}
	if len(whole.items) == 0 && !l.allSuspicious(failed) {
		return false
	}
	for _, it := range failed {
		blame := l.suspicious(it.failure) && l.suspects.add(it.delivery.Meta().Sequence)
		it.verdict = verdict{action: actRetry, reason: "store-failed", err: it.failure, blame: blame}
	}
	b.fresh, b.tally = whole.fresh, whole.tally
	return true
}

// storeAlone stores one message and adds what came of it to whole.
func (l *lane) storeAlone(ctx context.Context, it *item, whole *batch) error {
	one := &batch{items: []*item{it}}
	if err := l.attempt(ctx, one); err != nil {
		return err
	}
	whole.items = append(whole.items, it)
	whole.fresh = append(whole.fresh, one.fresh...)
	whole.tally.add(one.tally)
	return nil
}

// suspicious reports whether the message itself may be why it was not stored.
func (w *Worker) suspicious(err error) bool {
	class, _ := w.Explain(err)
	return class == classOther
}

func (w *Worker) allSuspicious(items []*item) bool {
	for _, it := range items {
		if !w.suspicious(it.failure) {
			return false
		}
	}
	return true
}

// suspects are the messages that may have been the cause of an error, since
// anything was stored last.
type suspects struct {
	mu        sync.Mutex // guards sequences
	sequences map[uint64]bool
}

// add reports whether the message can be blamed.
func (s *suspects) add(sequence uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sequences == nil {
		s.sequences = make(map[uint64]bool)
	}
	if len(s.sequences) < maxSuspects {
		s.sequences[sequence] = true
	}
	return s.sequences[sequence]
}

func (s *suspects) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sequences)
}
