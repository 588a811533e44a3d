package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

// world is a bus and a database in memory that note what is done to them.
type world struct {
	mu    sync.Mutex // guards what follows
	queue []worker.Delivery
	log   []string
	down  bool // the database
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) count(line string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.log {
		if l == line {
			n++
		}
	}
	return n
}

func (w *world) Fetch(ctx context.Context) ([]worker.Delivery, error) {
	w.mu.Lock()
	batch := w.queue
	w.queue = nil
	w.mu.Unlock()
	if len(batch) > 0 {
		return batch, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}
func (w *world) Held() []worker.Delivery { return nil }
func (w *world) Close() error            { return nil }

func (w *world) Write(_ context.Context, batch []ttp.Tagged) (out ttp.Written, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return out, errors.New("database is away")
	}
	for i, b := range batch {
		if b.SourceID == "poison" {
			out.Refused = append(out.Refused, ttp.Refusal{Arrived: i, Tag: b.Tags[0], Err: errors.New("refused")})
			continue
		}
		w.log = append(w.log, "stored "+b.SourceID)
		out.Fresh = append(out.Fresh, ttp.Announcement{ID: b.SourceID, Outbox: "row of " + b.SourceID, Tagged: b})
	}
	return out, nil
}

func (w *world) Announced(_ context.Context, ids []string) error {
	w.note("forgot %v", ids)
	return nil
}

func (w *world) Unannounced(context.Context, time.Duration, int) ([]ttp.Announcement, error) {
	return nil, nil
}
func (w *world) OutboxStats(context.Context) (int64, time.Duration, error) { return 0, 0, nil }

func (w *world) Publish(_ context.Context, list []ttp.Announcement) (done []string, err error) {
	for _, a := range list {
		w.note("published %s", a.ID)
		done = append(done, a.ID)
	}
	return done, nil
}

func (w *world) DeadLetter(_ context.Context, d worker.Delivery, reason string, _ error) error {
	w.note("dead letter %d %s", d.Meta().Sequence, reason)
	return nil
}
func (w *world) Suppressed(context.Context, string, string, string, int) error { return nil }

// message is one delivery.
type message struct {
	*world
	payload string
	meta    worker.Meta
}

func (m message) Subject() string   { return "attacker.command" }
func (m message) Data() []byte      { return []byte(m.payload) }
func (m message) Meta() worker.Meta { return m.meta }
func (m message) Ack() error        { m.note("acked %d", m.meta.Sequence); return nil }
func (m message) AckSync(context.Context) error {
	return m.Ack()
}

func (m message) Retry(time.Duration) error { m.note("handed back %d", m.meta.Sequence); return nil }

func (m message) Recall() func() error {
	return func() error { m.note("recalled %d", m.meta.Sequence); return nil }
}
func (m message) Reject(string) error { m.note("ended %d", m.meta.Sequence); return nil }
func (m message) InProgress() error   { m.note("in progress %d", m.meta.Sequence); return nil }

// directory knows the attacker "known".
type directory struct{ intake.Database }

func (directory) AttackersByUUID(_ context.Context, uuids []string) (map[string]ttp.Attacker, error) {
	found := map[string]ttp.Attacker{}
	for _, u := range uuids {
		if u == "known" {
			found[u] = ttp.Attacker{UUID: u}
		}
	}
	return found, nil
}

func start(w *world, payloads ...string) (stop func() error) {
	for i, p := range payloads {
		meta := worker.Meta{Stream: "T", Sequence: uint64(i + 1), Deliveries: 1, At: time.Now()}
		w.queue = append(w.queue, message{w, `{"payload":` + p + `}`, meta})
	}
	wk := &worker.Worker{
		Sources: []worker.Source{w}, Sink: w, Publisher: w, Resolver: intake.NewResolver(directory{}, false),
		Tagger: tagger.Func(func(_ context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
			if ev.Payload.Text("command_text") == "boring" {
				return nil, nil
			}
			return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1083"}, Confidence: 0.3}, {Claim: &ttp.Claim{RuleID: "R2", Technique: "T1083"}, Confidence: 0.29}}, nil
		}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- wk.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

func command(attacker, id, text string) string {
	return fmt.Sprintf(`{"attacker_uuid":%q,"source_id":%q,"id":%q,"command_text":%q}`, attacker, id, id, text)
}

func TestRun_endsEveryMessageAsItDeserves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		stop := start(w, command("known", "good", "ls"), command("known", "x", "boring"), command("nobody", "later", "ls"),
			command("", "x", "ls"), "7", command("known", "poison", "ls"))
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"stored good", "published good", "forgot [row of good]", "acked 1", "acked 2", "handed back 3",
			"dead letter 4 no-anchor", "ended 4", "dead letter 5 malformed", "ended 5", "dead letter 6 row-refused", "ended 6",
		} {
			if n := w.count(want); n != 1 {
				t.Errorf("%s: %d times", want, n)
			}
		}
	})
}

func TestRun_waitsForADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{down: true}
		stop := start(w, command("known", "good", "ls"))
		time.Sleep(5 * time.Minute) // of the bubble's clock
		if n := w.count("in progress 1"); n < 29 {
			t.Errorf("the message was kept alive %d times in 5 minutes, want every 10 s", n)
		}
		if w.count("acked 1") != 0 || w.count("dead letter 1 store-failed") != 0 {
			t.Errorf("settled while the database was away: %v", w.log)
		}
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		time.Sleep(20 * time.Second)
		if w.count("stored good") != 1 || w.count("acked 1") != 1 {
			t.Errorf("not taken up again: %v", w.log)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_handsBackWhenStoppedDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{down: true}
		stop := start(w, command("known", "good", "ls"))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if w.count("handed back 1") != 1 || w.count("acked 1") != 0 {
			t.Errorf("%v", w.log)
		}
	})
}
