package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

// server is a bus that keeps its messages until they are ended, and a database
// that refuses some for reasons of its own.
type server struct {
	mu       sync.Mutex // guards what follows
	messages []*kept
	calls    int
	stored   map[string]bool
	outbox   []ttp.Announcement
	known    map[string]bool
	letters  []string
	delays   []time.Duration
	noBus    bool // announcements are not taken
	noDLQ    bool
	noOutbox error // why it cannot be read
	noAck    bool
	tries    int // of dead letters
	refuse   func(sourceID string) error
	status   worker.Status
}

func newServer(sources ...string) *server {
	s := &server{stored: map[string]bool{}, known: map[string]bool{"known": true}}
	for _, id := range sources {
		s.add("known", id)
	}
	return s
}

func (s *server) add(attacker, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := fmt.Sprintf(`{"payload":{"attacker_uuid":%q,"id":%q,"command_text":"ls"}}`, attacker, id)
	s.messages = append(s.messages, &kept{server: s, data: data, at: time.Now(), sequence: uint64(len(s.messages) + 1)})
}

// Fetch waits for messages that are due.
func (s *server) Fetch(ctx context.Context) ([]worker.Delivery, error) {
	for {
		if batch := s.due(); len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *server) due() (batch []worker.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if !m.ended && !m.out && !time.Now().Before(m.due) {
			m.out = true
			m.deliveries++
			batch = append(batch, &handed{m, m.deliveries})
		}
	}
	return batch
}
func (s *server) Held() []worker.Delivery { return nil }
func (s *server) Close() error            { return nil }

// kept is a message in the stream.
type kept struct {
	*server
	data       string
	at, due    time.Time
	sequence   uint64
	deliveries int
	out, ended bool
}

// handed is one delivery of it.
type handed struct {
	*kept
	nth int
}

func (h *handed) Subject() string { return "attacker.command" }
func (h *handed) Data() []byte    { return []byte(h.data) }
func (h *handed) Meta() worker.Meta {
	return worker.Meta{Stream: "T", Sequence: h.sequence, Deliveries: h.nth, At: h.at}
}

func (h *handed) change(how func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	how()
	return nil
}
func (h *handed) Ack() error { return h.change(func() { h.ended = true }) }
func (h *handed) AckSync(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended = !h.noAck; !h.ended {
		h.out, h.due = false, time.Now().Add(10*time.Second) // the ack wait
		return errors.New("no answer")
	}
	return nil
}
func (h *handed) Reject(string) error { return h.Ack() }
func (h *handed) InProgress() error   { return nil }
func (h *handed) Retry(after time.Duration) error {
	return h.change(func() { h.out, h.due, h.delays = false, time.Now().Add(after), append(h.delays, after) })
}

func (h *handed) Recall() func() error {
	return func() error { return h.change(func() { h.due = time.Time{} }) }
}

func (s *server) Write(_ context.Context, batch []ttp.Tagged) (out ttp.Written, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for _, b := range batch {
		if s.refuse != nil {
			if err := s.refuse(b.SourceID); err != nil {
				return ttp.Written{}, err
			}
		}
	}
	for _, b := range batch {
		if s.stored[b.SourceID] {
			continue
		}
		s.stored[b.SourceID] = true
		a := ttp.Announcement{ID: b.SourceID, Outbox: b.SourceID, Tagged: b}
		s.outbox = append(s.outbox, a)
		out.Fresh, out.Inserted = append(out.Fresh, a), out.Inserted+1
	}
	return out, nil
}

func (s *server) Announced(_ context.Context, ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = slicesWithout(s.outbox, ids)
	return nil
}

func slicesWithout(list []ttp.Announcement, ids []string) (left []ttp.Announcement) {
	gone := " " + strings.Join(ids, " ") + " "
	for _, a := range list {
		if !strings.Contains(gone, " "+a.Outbox+" ") {
			left = append(left, a)
		}
	}
	return left
}

func (s *server) Unannounced(context.Context, time.Duration, int) ([]ttp.Announcement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ttp.Announcement(nil), s.outbox...), s.noOutbox
}

func (s *server) OutboxStats(context.Context) (int64, time.Duration, error) {
	return int64(s.waiting()), 0, nil
}

func (s *server) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outbox)
}

func (s *server) Publish(_ context.Context, list []ttp.Announcement) (done []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noBus {
		return nil, errors.New("no stream")
	}
	for _, a := range list {
		done = append(done, a.ID)
	}
	return done, nil
}

func (s *server) DeadLetter(_ context.Context, d worker.Delivery, reason string, _ error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if s.noDLQ {
		return errors.New("no stream")
	}
	s.letters = append(s.letters, fmt.Sprintf("%d %s", d.Meta().Sequence, reason))
	return nil
}
func (s *server) Suppressed(context.Context, string, string, string, int) error { return nil }

// directoryOf knows the attackers that the server knows by then.
type directoryOf struct {
	intake.Database
	s *server
}

func (d directoryOf) AttackersByUUID(_ context.Context, uuids []string) (map[string]ttp.Attacker, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	found := map[string]ttp.Attacker{}
	for _, u := range uuids {
		if d.s.known[u] {
			found[u] = ttp.Attacker{UUID: u}
		}
	}
	return found, nil
}

func (directoryOf) AttackersByAddress(context.Context, []string) (map[string]ttp.Attacker, error) {
	return nil, nil
}

var (
	errOdd    = errors.New("an error of which nobody knows")
	errLocked = errors.New("somebody holds a lock")
)

// run starts a worker on s. The database's errors are of class "other" if they
// are errOdd, else they pass.
func (s *server) run(t *testing.T, log *zap.Logger) {
	t.Helper()
	wk := &worker.Worker{
		Sources: []worker.Source{s}, Sink: s, Publisher: s, Resolver: intake.NewResolver(directoryOf{s: s}, false), Log: log, Status: &s.status,
		Explain: func(err error) (string, string) {
			switch {
			case errors.Is(err, errOdd):
				return "other", ""
			case errors.Is(err, errLocked):
				return "conflict", "wait"
			}
			return "connection", "start it"
		},
		Tagger: tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
			return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1083"}, Confidence: 0.9}}, nil
		}),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- wk.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (s *server) lettersNow() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(s.letters)), ", ")
}

func (s *server) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored[id]
}

// in runs a test on the clock of a bubble.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestPoison(t *testing.T) {
	odd := func(ids ...string) func(string) error {
		return func(id string) error {
			for _, p := range ids {
				if id == p {
					return errOdd
				}
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		sources []string
		poison  []string
		letters string
	}{
		"alone in its batch":          {[]string{"p"}, []string{"p"}, "1 store-failed"},
		"last of a batch":             {[]string{"a", "b", "p"}, []string{"p"}, "3 store-failed"},
		"first of a batch":            {[]string{"p", "a", "b"}, []string{"p"}, "1 store-failed"},
		"more at the head than tries": {[]string{"p", "q", "r", "s", "a"}, []string{"p", "q", "r", "s"}, "1 store-failed, 2 store-failed, 3 store-failed, 4 store-failed"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				s := newServer(c.sources...)
				s.refuse = odd(c.poison...)
				s.run(t, nil)
				time.Sleep(5 * time.Second) // of the bubble's clock
				for _, id := range c.sources {
					if poison := odd(c.poison...)(id) != nil; s.has(id) == poison {
						t.Errorf("%s stored: %v", id, s.has(id))
					}
				}
				time.Sleep(5 * time.Minute)
				if got := s.lettersNow(); got != c.letters {
					t.Errorf("dead letters: %q, want %q", got, c.letters)
				}
			})
		})
	}
}

// TestPoison_isNotAWholeBacklog holds that a fault of the database that nobody
// knows costs at most a few messages, and they are dead letters, not lost.
func TestPoison_isNotAWholeBacklog(t *testing.T) {
	in(t, func(t *testing.T) {
		var all []string
		for i := range 200 {
			all = append(all, fmt.Sprint("m", i))
		}
		s := newServer(all...)
		s.refuse = func(string) error { return errOdd }
		s.run(t, nil)
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		letters := len(s.letters)
		s.refuse = nil
		s.mu.Unlock()
		if letters > 20 {
			t.Errorf("%d of 200 messages are dead letters", letters)
		}
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.stored)+len(s.letters) != 200 {
			t.Errorf("%d stored and %d dead letters of 200", len(s.stored), len(s.letters))
		}
	})
}

func TestConflict_isNoReasonForADeadLetter(t *testing.T) {
	in(t, func(t *testing.T) {
		s := newServer("locked", "free")
		s.refuse = func(id string) error {
			if id == "locked" {
				return errors.New("lock wait")
			}
			return nil
		}
		s.run(t, nil)
		time.Sleep(10 * time.Minute)
		if !s.has("free") || s.lettersNow() != "" {
			t.Errorf("the others stored: %v; dead letters: %q", s.has("free"), s.lettersNow())
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		time.Sleep(30 * time.Second)
		if !s.has("locked") {
			t.Error("not stored when the lock was gone")
		}
	})
}

func TestWaiting(t *testing.T) {
	t.Run("a message is recalled when its attacker appears", func(t *testing.T) {
		in(t, func(t *testing.T) {
			s := newServer()
			s.add("late", "x")
			s.run(t, nil)
			time.Sleep(3 * time.Minute)
			s.mu.Lock()
			s.known["late"] = true
			s.mu.Unlock()
			time.Sleep(2500 * time.Millisecond)
			if !s.has("x") {
				t.Error("not stored within seconds")
			}
		})
	})

	t.Run("its delay grows to half a minute", func(t *testing.T) {
		in(t, func(t *testing.T) {
			s := newServer()
			s.add("late", "x")
			s.run(t, nil)
			time.Sleep(9 * time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			for i, d := range s.delays {
				least, most := 8*time.Second, 36*time.Second
				if i >= 4 {
					least = 24 * time.Second
				}
				if d < least || d > most {
					t.Errorf("delay %d: %s", i, d)
				}
			}
			if len(s.letters) > 0 || len(s.delays) < 15 {
				t.Errorf("%d delays, dead letters %q", len(s.delays), s.letters)
			}
		})
	})

	t.Run("after ten minutes it is a dead letter", func(t *testing.T) {
		in(t, func(t *testing.T) {
			s := newServer()
			s.add("late", "x")
			s.run(t, nil)
			time.Sleep(13 * time.Minute)
			if got := s.lettersNow(); got != "1 unknown-attacker" {
				t.Errorf("dead letters: %q", got)
			}
		})
	})
}

func TestDeadLetters_withoutTheirStreamDoNotHoldUpTheOthers(t *testing.T) {
	in(t, func(t *testing.T) {
		s := newServer()
		for i := range 50 {
			s.add("", fmt.Sprint("n", i)) // nobody's
		}
		s.add("known", "good")
		s.noDLQ = true
		core, lines := observer.New(zap.WarnLevel)
		s.run(t, zap.New(core))
		time.Sleep(time.Second)
		s.mu.Lock()
		tries := s.tries
		s.mu.Unlock()
		if !s.has("good") || tries > 2 {
			t.Errorf("stored: %v, after %d tries of a dead letter", s.has("good"), tries)
		}
		time.Sleep(time.Minute)
		if n := lines.Len(); n > 10 {
			t.Errorf("%d lines logged in a minute", n)
		}
		s.mu.Lock()
		s.noDLQ = false
		s.mu.Unlock()
		time.Sleep(time.Minute)
		if got := strings.Count(s.lettersNow(), "no-anchor"); got != 50 {
			t.Errorf("%d dead letters, want 50", got)
		}
		if n := lines.Len(); n > 20+10 {
			t.Errorf("%d lines logged about 50 dead letters", n)
		}
	})
}

func TestOutbox_isSweptWhenTheBusIsBack(t *testing.T) {
	in(t, func(t *testing.T) {
		s := newServer("a", "b")
		s.noBus = true
		s.run(t, nil)
		time.Sleep(time.Minute)
		if s.waiting() != 2 || !s.has("a") {
			t.Fatalf("%d announcements wait, want 2", s.waiting())
		}
		s.mu.Lock()
		s.noBus = false
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		if s.waiting() != 0 {
			t.Errorf("%d announcements still wait", s.waiting())
		}
	})
}

// TestOutage_endsSoonAfterItsCause holds what docs/delivery.md says: however long
// the database was away, the next attempt is made within 6 s.
func TestOutage_endsSoonAfterItsCause(t *testing.T) {
	for lasting := range 20 {
		in(t, func(t *testing.T) {
			s := newServer("a")
			s.refuse = func(string) error { return errors.New("away") }
			s.run(t, nil)
			time.Sleep(time.Minute + time.Duration(lasting)*700*time.Millisecond)
			s.mu.Lock()
			s.refuse = nil
			s.mu.Unlock()
			time.Sleep(6 * time.Second)
			if !s.has("a") {
				t.Error("not stored")
			}
		})
	}
}
