package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ttp-worker/intake"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

// store is a database in memory whose failures are scripted.
type store struct {
	job    ttp.Job
	beats  bool // the owner of the job lives
	fails  []error
	tags   map[string]bool
	writes int
}

func (s *store) Job(context.Context, string) (ttp.Job, error) {
	if s.beats {
		s.job.Beat++
	}
	return s.job, nil
}

func (s *store) ClaimJob(_ context.Context, found ttp.Job, owner string, fresh bool) (bool, error) {
	if s.job.Owner != found.Owner || s.job.Beat != found.Beat {
		return false, nil
	}
	s.job.Owner = owner
	if fresh {
		s.job.State = ""
	}
	return true, nil
}

func (s *store) KeepJob(context.Context, string, string) error { return nil }

func (s *store) ReleaseJob(context.Context, string, string) error {
	s.job.Owner = ""
	return nil
}

func (s *store) Stored(_ context.Context, uuids []string) (map[string]bool, error) {
	there := make(map[string]bool)
	for _, uuid := range uuids {
		if s.tags[uuid] {
			there[uuid] = true
		}
	}
	return there, nil
}

func (s *store) WriteJob(_ context.Context, _, owner string, batch []ttp.Tagged, state func(ttp.Written) string) (w ttp.Written, err error) {
	s.writes++
	if len(s.fails) > 0 {
		err, s.fails = s.fails[0], s.fails[1:]
		return w, err
	}
	if owner != s.job.Owner {
		return w, errors.New("not the owner")
	}
	for _, tag := range batch[0].Tags {
		if s.tags[tag.UUID] {
			w.Duplicates++
			continue
		}
		w.Inserted++
		if s.tags == nil {
			s.tags = make(map[string]bool)
		}
		s.tags[tag.UUID] = true
	}
	s.job.State = state(w)
	return w, nil
}

// source hands out one command a part; only every third ends at a place.
type source struct {
	commands, next int
	resumed        string
	fail           error // in the place of the last part
}

func (*source) Name() string { return "test" }
func (*source) Close()       {}
func (s *source) Resume(_ context.Context, place string) (err error) {
	s.resumed = place
	s.next, err = strconv.Atoi(place)
	return err
}

func (s *source) Next(context.Context) (Part, error) {
	if s.next == s.commands {
		return Part{}, io.EOF
	}
	if s.next == s.commands-1 && s.fail != nil {
		return Part{}, s.fail
	}
	s.next++
	text := fmt.Sprintf(`{"payload":{"attacker_uuid":"A","command_text":"c%d","id":"%d"}}`, s.next, s.next)
	m, err := intake.Decode("attacker.command", text)
	return Part{Message: m, Rows: 1}, err
}

func (s *source) Place() string {
	if s.next%3 != 0 && s.next != s.commands {
		return ""
	}
	return strconv.Itoa(s.next)
}

func (s *source) Progress() (done, total int64) { return int64(s.next), int64(s.commands) }

// attackers is a database in which everybody has a row.
type attackers struct{ intake.Database }

func (attackers) AttackersByUUID(_ context.Context, uuids []string) (map[string]ttp.Attacker, error) {
	found := make(map[string]ttp.Attacker)
	for _, uuid := range uuids {
		found[uuid] = ttp.Attacker{UUID: uuid}
	}
	return found, nil
}

// everyCommand finds something in every event, and something below the floor.
var everyCommand = tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
	return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1"}, Confidence: ttp.MinConfidence}, {Claim: &ttp.Claim{RuleID: "R2", Technique: "T2"}, Confidence: 0.29}}, nil
})

func replayOf(s *store, src Source) *Replay {
	return &Replay{
		Sources: []Source{src}, Resolver: intake.NewResolver(attackers{}, false), Tagger: everyCommand, Store: s,
		Job: "job", Rules: "rules", BatchSize: 10,
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		state, err := replayOf(s, &source{commands: 100}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := Counts{Rows: 100, Events: 100, Tags: 100, Inserted: 100, BelowFloor: 100}
		if got := state.Sources[0].Counts; got != want || state.Techniques["T1"] != 100 || len(state.Techniques) != 1 {
			t.Errorf("%+v, %v", got, state.Techniques)
		}
		if s.job.Owner != "" {
			t.Error("the job was not given up")
		}
		// Batches are complete with 10 tags and end where a replay can go on.
		if s.writes != 9 { // eight of 12, one of 4
			t.Errorf("%d batches", s.writes)
		}
	})
}

func TestRun_goesOnWhereItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		broken := errors.New("broken")
		_, err := replayOf(s, &source{commands: 50, fail: broken}).Run(t.Context())
		if !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
		src := &source{commands: 100}
		r := replayOf(s, src)
		r.Resume = true
		state, err := r.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if src.resumed == "" || src.resumed == "0" {
			t.Errorf("resumed at %q", src.resumed)
		}
		if got := state.Sources[0].Counts; len(s.tags) != 100 || got.Inserted != 100 {
			t.Errorf("%d tags, %+v", len(s.tags), got)
		}
	})
}

func TestRun_resumeRefusesOtherRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		if _, err := replayOf(s, &source{commands: 10}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := replayOf(s, &source{commands: 10})
		r.Resume, r.Rules = true, "others"
		if _, err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--resume") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRun_ridesOutADatabaseThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, broken := errors.New("away"), errors.New("broken")
		s := &store{fails: []error{away, away, away}}
		r := replayOf(s, &source{commands: 30})
		r.Retry = func(err error) bool { return errors.Is(err, away) }
		state, err := r.Run(t.Context())
		if err != nil || state.Total().Inserted != 30 {
			t.Errorf("%+v, %v", state.Total(), err)
		}
		s.fails = []error{broken}
		if _, err := r.Run(t.Context()); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		for range 1000 {
			s.fails = append(s.fails, away)
		}
		start := time.Now()
		if _, err := r.Run(t.Context()); !errors.Is(err, away) || time.Since(start) < insistFor || time.Since(start) > 2*insistFor {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestRun_stopsBetweenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		ctx, cancel := context.WithCancel(t.Context())
		r := replayOf(s, &source{commands: 1000})
		r.Rate = 100
		time.AfterFunc(3*time.Second, cancel)
		state, err := r.Run(ctx)
		if !errors.Is(err, ErrStopped) {
			t.Fatalf("error %v", err)
		}
		if n := state.Total().Inserted; n < 200 || n > 400 || n != len(s.tags) {
			t.Errorf("%d tags after 3 s at 100/s, %d stored", n, len(s.tags))
		}
	})
}

func TestRun_stopsAtFullSpeed(t *testing.T) {
	t.Parallel()
	s := &store{}
	ctx, cancel := context.WithCancel(t.Context())
	const commands = 100_000
	r := replayOf(s, &source{commands: commands})
	r.Progress = func(Progress) { cancel() }
	state, err := r.Run(ctx)
	if n := state.Total().Inserted; !errors.Is(err, ErrStopped) || n == 0 || n == commands || n != len(s.tags) {
		t.Errorf("error %v, %d tags, %d stored", err, n, len(s.tags))
	}
}

func TestRun_waitsWhileLiveLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := replayOf(&store{}, &source{commands: 20})
		r.Busy = func() bool { return time.Since(start) < time.Minute }
		if _, err := r.Run(t.Context()); err != nil || time.Since(start) < time.Minute {
			t.Errorf("done after %v, %v", time.Since(start), err)
		}
	})
}

func TestRun_lease(t *testing.T) {
	dead := fmt.Sprintf("%s %d 1 x", machine(), os.Getpid()) // this process began later
	for name, c := range map[string]struct {
		owner string
		beats bool
		want  error
		wait  time.Duration
	}{
		"nobody":                       {},
		"a process here that has died": {owner: dead},
		"a process here that lives":    {owner: thisProcess(), want: ErrBusy},
		"one elsewhere that lives":     {owner: "elsewhere 1 2 x", beats: true, want: ErrBusy, wait: keepEvery},
		"one elsewhere that is silent": {owner: "elsewhere 1 2 x", wait: aliveWithin},
		"one of which nothing is said": {owner: "?", wait: aliveWithin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{job: ttp.Job{ID: "job", Owner: c.owner}, beats: c.beats}
				start := time.Now()
				_, err := replayOf(s, &source{commands: 3}).Run(t.Context())
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if took := time.Since(start); took < c.wait || took > c.wait+2*time.Second {
					t.Errorf("after %v, want %v", took, c.wait)
				}
			})
		})
	}
}

func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		if _, err := replayOf(s, &source{commands: 40}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := s.job
		r := replayOf(s, &source{commands: 100})
		r.DryRun = true
		r.Sources = append(r.Sources, &source{commands: 110})
		state, err := r.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []Counts{
			{Rows: 100, Events: 100, Tags: 100, Inserted: 60, Duplicates: 40, BelowFloor: 100},
			{Rows: 110, Events: 110, Tags: 110, Inserted: 10, Duplicates: 100, BelowFloor: 110},
		} {
			if got := state.Sources[i].Counts; got != want {
				t.Errorf("source %d: %+v, want %+v", i, got, want)
			}
		}
		if len(s.tags) != 40 || s.job != before {
			t.Errorf("it wrote: %d tags, job %+v", len(s.tags), s.job)
		}
	})
}

func TestSeen(t *testing.T) {
	t.Parallel()
	var s seen
	const events, rules = 3 * minSeen, 3
	for round := range 2 {
		for i := range events {
			for rule := range rules {
				f := found{
					event:   &intake.Event{Event: ttp.Event{Kind: ttp.Command, SourceID: strconv.Itoa(i)}},
					finding: ttp.Finding{Claim: &ttp.Claim{RuleID: "R" + strconv.Itoa(rule), RuleVersion: 1, Technique: "T1"}},
				}
				if first := s.add(&f); first != (round == 0) {
					t.Fatalf("round %d, event %d, rule %d: first %t", round, i, rule, first)
				}
			}
		}
	}
	if s.used != events*rules || 4*s.used > 3*len(s.keys) {
		t.Errorf("%d of %d used", s.used, len(s.keys))
	}
}

func TestSeen_tellsTagsApart(t *testing.T) {
	t.Parallel()
	event := func(kind ttp.Kind, id string) *intake.Event {
		return &intake.Event{Event: ttp.Event{Kind: kind, SourceID: id}}
	}
	var s seen
	for i, f := range []found{
		{event(ttp.Command, "a"), ttp.Finding{Claim: &ttp.Claim{RuleID: "R", RuleVersion: 1, Technique: "T1"}}},
		{event(ttp.Session, "a"), ttp.Finding{Claim: &ttp.Claim{RuleID: "R", RuleVersion: 1, Technique: "T1"}}},
		{event(ttp.Command, "b"), ttp.Finding{Claim: &ttp.Claim{RuleID: "R", RuleVersion: 1, Technique: "T1"}}},
		{event(ttp.Command, "a"), ttp.Finding{Claim: &ttp.Claim{RuleID: "RT", RuleVersion: 1, Technique: "1"}}},
		{event(ttp.Command, "a"), ttp.Finding{Claim: &ttp.Claim{RuleID: "R", RuleVersion: 2, Technique: "T1"}}},
		{event(ttp.Command, "a"), ttp.Finding{Claim: &ttp.Claim{RuleID: "R", RuleVersion: 1, Technique: "T1", SubTechnique: "T1.1"}}},
	} {
		if !s.add(&f) {
			t.Errorf("tag %d was taken for another", i)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 5, n, 0, 0, 0, 0, time.UTC) }
	w := Window{Since: day(2), Until: day(4)}
	for at, want := range map[time.Time]bool{{}: true, day(1): false, day(2): true, day(3): true, day(4): false} {
		if w.Has(at) != want {
			t.Errorf("%v: %t", at, !want)
		}
	}
	if !w.May(day(1)) || w.May(day(2).Add(-columnSlack-1)) || !w.May(time.Time{}) || !(Window{}).May(day(1)) {
		t.Error("rows near the beginning are read, those far before it are not")
	}
}
