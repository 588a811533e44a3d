package chaos

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestShort is the short form of `make chaos`: real servers, the built worker,
// every step of a batch.
func TestShort(t *testing.T) {
	t.Parallel()
	var table bytes.Buffer
	err := Run(t.Context(), Options{Short: true, Jobs: 4, Out: &table})
	t.Logf("\n%s", table.String())
	if err != nil {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	all := []fault{{name: "a", setup: setup{database: sqlite}, short: true}, {name: "b", setup: setup{database: mariadb}}}
	for only, want := range map[string]int{"": 2, "^a/": 1, "mariadb": 1, "c": 0} {
		if got, err := choose(all, Options{Only: only}); len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d faults, %v; want %d", only, len(got), err, want)
		}
	}
	if got, err := choose(all, Options{Short: true}); err != nil || len(got) != 1 || got[0].name != "a" {
		t.Errorf("short: %v, %v", got, err)
	}
}

// TestVerdict makes sure that the oracle sees each sort of damage.
func TestVerdict(t *testing.T) {
	t.Parallel()
	tag := func(uuid, technique string) object { return object{"uuid": uuid, "technique_id": technique} }
	want := map[string]object{"a": tag("a", "T1"), "b": tag("b", "T2")}
	for name, c := range map[string]struct {
		stored, announced []object
		times             map[string]int
		check             func(verdict) bool
	}{
		"all well": {
			stored: []object{tag("a", "T1"), tag("b", "T2")}, announced: []object{tag("a", "T1"), tag("b", "T2")},
			check: func(v verdict) bool { return len(v.complaints) == 0 },
		},
		"a tag is not stored": {
			stored: []object{tag("a", "T1")}, announced: []object{tag("a", "T1"), tag("b", "T2")},
			check: func(v verdict) bool { return v.lost == 1 },
		},
		"a tag is not announced": {
			stored: []object{tag("a", "T1"), tag("b", "T2")}, announced: []object{tag("a", "T1")},
			check: func(v verdict) bool { return v.lost == 1 },
		},
		"a tag that nobody expects": {
			stored: []object{tag("a", "T1"), tag("b", "T2"), tag("c", "T3")}, announced: []object{tag("a", "T1"), tag("b", "T2")},
			check: func(v verdict) bool { return v.spurious == 1 },
		},
		"a tag is stored otherwise": {
			stored: []object{tag("a", "T9"), tag("b", "T2")}, announced: []object{tag("a", "T1"), tag("b", "T2")},
			check: func(v verdict) bool { return v.corrupt == 1 },
		},
		"a tag is announced otherwise": {
			stored: []object{tag("a", "T1"), tag("b", "T2")}, announced: []object{tag("a", "T1"), tag("b", "T9")},
			check: func(v verdict) bool { return v.corrupt == 1 },
		},
		"a tag is announced twice": {
			stored: []object{tag("a", "T1"), tag("b", "T2")}, announced: []object{tag("a", "T1"), tag("b", "T2")},
			times: map[string]int{"a": 2}, check: func(v verdict) bool { return v.doubled == 1 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := verdict{sent: 1}
			o := newObserver(nil)
			for _, a := range c.announced {
				uuid := a["uuid"].(string)
				o.tags[uuid], o.times[uuid], o.fired[uuid] = a, 1, true
			}
			for uuid, n := range c.times {
				o.times[uuid] = n
			}
			stored := make(map[string]object)
			for _, s := range c.stored {
				stored[s["uuid"].(string)] = s
			}
			v.compare(want, stored, o)
			v.judge()
			if !c.check(v) || name != "all well" && len(v.complaints) == 0 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestVerdict_letters(t *testing.T) {
	t.Parallel()
	sent := []event{{id: "good", data: []byte("1")}, {id: "bad", data: []byte("2"), poison: true}}
	for name, c := range map[string]struct {
		letters    []string
		complaints int
	}{
		"the poison alone":     {[]string{"2"}, 0},
		"nothing":              {nil, 1},
		"the poison twice":     {[]string{"2", "2"}, 1},
		"a good message, too":  {[]string{"1", "2"}, 1},
		"what nobody has sent": {[]string{"2", "3"}, 1},
	} {
		var v verdict
		v.judgeLetters(sent, c.letters)
		if len(v.complaints) != c.complaints {
			t.Errorf("%s: %q", name, v.complaints)
		}
	}
}

// TestAnnounced holds that what counts is when the stream took an announcement,
// the first if there are several, not when it was read.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	start := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		after []time.Duration
		ok    bool
	}{
		"in time, read late": {[]time.Duration{9 * time.Second}, true},
		"late":               {[]time.Duration{11 * time.Second}, false},
		"again, later":       {[]time.Duration{9 * time.Second, 11 * time.Second}, true},
		"never":              {nil, false},
	} {
		w := world{h: new(harness), seen: newObserver(nil)}
		for _, after := range c.after {
			w.seen.note(&jetstream.RawStreamMsg{
				Subject: "ttp.tagged", Data: []byte(`{"payload":{"source_id":"1"}}`), Time: start.Add(after),
			})
		}
		e := event{facts: []fact{{SourceID: "1"}}}
		if err := w.announced(t.Context(), start, 10*time.Second, e); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRun_refusesAnEmptyChoice(t *testing.T) {
	t.Parallel()
	if err := Run(t.Context(), Options{Only: "no such fault"}); err == nil || errors.Is(err, ErrMissed) {
		t.Errorf("%v", err)
	}
}

// TestFaults holds that names are unique: they name directories and databases.
func TestFaults(t *testing.T) {
	t.Parallel()
	var names []string
	for i, f := range faults() {
		names = append(names, worldName(i, f))
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("two faults of one name: %q", names)
	}
}

func TestSoak_seesWhatGrows(t *testing.T) {
	t.Parallel()
	for name, grows := range map[string]bool{"go_goroutines": true, "ttp_outbox_rows": true, "nothing": false} {
		s := soak{out: io.Discard}
		for i := range 60 {
			one := make(sample)
			for _, g := range gauges() {
				one[g.name] = 10
			}
			one[name] += float64(i)
			s.samples = append(s.samples, one)
		}
		var v verdict
		if s.judge(&v); (len(v.complaints) > 0) != grows {
			t.Errorf("%s grows: %q", name, v.complaints)
		}
	}
}
