package main

import (
	"flag"
	"io"
	"slices"
	"testing"

	"ttp-worker/ttp"
)

func parsed(t *testing.T, args ...string) (o options, bare bareOptions) {
	t.Helper()
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.flags(f)
	bare.flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, bare
}

func TestFlags(t *testing.T) {
	t.Parallel()
	o, bare := parsed(t)
	if o.events != 100_000 || o.rounds != 1 || o.scale.wanted || bare.nats != "" {
		t.Errorf("without any: %+v, %+v", o, bare)
	}
	o, _ = parsed(t, "-events", "30000", "-rounds=3", "-only", "^start$", "-profiles", "/p", "-scale", "-rows", "7", "-backlog", "8", "-attackers", "9")
	want := options{events: 30_000, rounds: 3, only: "^start$", corpus: o.corpus, profiles: "/p", scale: scale{true, 7, 8, 9}}
	if o != want {
		t.Errorf("%+v, want %+v", o, want)
	}
	_, bare = parsed(t, "-bare-nats", "nats://a", "-bare-db", "b")
	if want := (bareOptions{"nats://a", "b"}); bare != want {
		t.Errorf("%+v, want %+v", bare, want)
	}
}

// A ratio to what never runs, or runs later, would be left out or be of the
// round before.
func TestScenarios_haveNamesOfTheirOwnAndRunAfterTheirBase(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-scale"}} {
		o, _ := parsed(t, args...)
		var names []string
		for _, s := range o.scenarios() {
			if slices.Contains(names, s.name) {
				t.Errorf("%s: there are two of this name", s.name)
			}
			if s.base != "" && !slices.Contains(names, s.base) {
				t.Errorf("%s: %s has not run before it", s.name, s.base)
			}
			if s.contender == "worker" && (s.lanes < 1 || s.workers < 1) {
				t.Errorf("%s: nobody works", s.name)
			}
			names = append(names, s.name)
		}
		if len(names) < 4 {
			t.Errorf("%v: only %q", args, names)
		}
	}
}

func TestCountTagsOf_countsWhatIsStored(t *testing.T) {
	t.Parallel()
	counts, err := countTagsOf(t.Context(), []string{"", "cat /etc/shadow", "zzz"})
	if err != nil {
		t.Fatal(err)
	}
	if len(counts) != 3 || counts[0] != 0 || counts[1] == 0 || counts[2] != 0 {
		t.Errorf("%v: want tags of the second line alone, from %v on", counts, ttp.MinConfidence)
	}
}
