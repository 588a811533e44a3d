package ruleset_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ttp-worker/ruleset"
	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

func TestMain(m *testing.M) {
	// The database lives as long as the tests.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("ttp-worker/internal/servers.Spawn.func1"))
}

// text is a rule that matches a command line with the word in it.
func text(id, word string, version int) string {
	return fmt.Sprintf("---\n{title: x, id: %s, version: %d, tags: [attack.t1105], logsource: {category: command}, detection: {s: {line|contains: %s}, condition: s}}\n", id, version, word)
}

// bulletin takes what is published.
type bulletin chan string // NotifyOnce sends, tests receive, nobody closes

func (b bulletin) NotifyOnce(_ context.Context, _, topic string, payload ttp.Object) error {
	word := strings.TrimPrefix(topic, "ttp.rule.")
	for _, name := range []string{"deleted", "auto_revert"} {
		if payload.Has(name) {
			word += " " + name
		}
	}
	if v, ok := payload.Get("state"); ok {
		s, _ := v.Text()
		word += " " + s
	}
	b <- word
	return nil
}

// next waits for news.
func (b bulletin) next(t *testing.T) string {
	t.Helper()
	select {
	case word := <-b:
		return word
	case <-time.After(20 * time.Second):
		t.Fatal("no news")
		return ""
	}
}

// until returns all news up to one that is wanted.
func (b bulletin) until(t *testing.T, last string) (list []string) {
	t.Helper()
	for {
		word := b.next(t)
		if word == last {
			return list
		}
		list = append(list, word)
	}
}

func dirSource(dir string) []ruleset.Source {
	return []ruleset.Source{{Source: rule.Source{Name: dir, FS: os.DirFS(dir)}, Dir: dir}}
}

func asIs(set *rule.Set) (tagger.Tagger, error) { return set, nil }

// follow runs a tagger over the rules until the test ends.
func follow(t *testing.T, o ruleset.Options) (*ruleset.Live, bulletin) {
	t.Helper()
	told := make(bulletin, 1000)
	o.Notifier = told
	if o.Build == nil {
		o.Build = asIs
	}
	live, err := ruleset.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if o.States != nil {
		if err := live.LoadStates(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { live.Run(ctx) })
	t.Cleanup(func() { cancel(); run.Wait() })
	return live, told
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// tags returns the rules that fire on a line, with their versions.
func tags(t *testing.T, live tagger.Tagger, line string) (ids []string) {
	t.Helper()
	findings, err := live.Tag(t.Context(), &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		ids = append(ids, fmt.Sprintf("%s.%d", f.RuleID, f.RuleVersion))
	}
	return ids
}

// TestChanges makes each change to a directory in which a.yml has the rule A
// and b.yml the rule B, both firing on "alpha beta".
func TestChanges_areInUseAndToldOnceEach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		told   []string
		fires  []string
	}{
		"written in place": {
			func(t *testing.T, dir string) { write(t, dir, "a.yml", text("A", "alpha", 2)) },
			[]string{"reloaded.A"},
			[]string{"A.2", "B.1"},
		},
		"written beside and renamed": {
			func(t *testing.T, dir string) {
				write(t, dir, ".a.yml.tmp", text("A", "alpha", 2))
				rename(t, dir, ".a.yml.tmp", "a.yml")
			},
			[]string{"reloaded.A"},
			[]string{"A.2", "B.1"},
		},
		"moved to a backup and written anew, with a swap file": {
			func(t *testing.T, dir string) {
				write(t, dir, ".a.yml.swp", "b0VIM")
				write(t, dir, "4913", "")
				remove(t, dir, "4913")
				rename(t, dir, "a.yml", "a.yml~")
				write(t, dir, "a.yml", text("A", "alpha", 2))
				remove(t, dir, "a.yml~")
				remove(t, dir, ".a.yml.swp")
			},
			[]string{"reloaded.A"},
			[]string{"A.2", "B.1"},
		},
		"added, in a new directory": {
			func(t *testing.T, dir string) { write(t, dir, "deep/er/c.yaml", text("C", "beta", 1)) },
			[]string{"reloaded.C"},
			[]string{"A.1", "B.1", "C.1"},
		},
		"deleted": {
			func(t *testing.T, dir string) { remove(t, dir, "a.yml") },
			[]string{"reloaded.A deleted"},
			[]string{"B.1"},
		},
		"renamed, which is no change": {
			func(t *testing.T, dir string) { rename(t, dir, "a.yml", "z.yml") },
			nil,
			[]string{"A.1", "B.1"},
		},
		"renamed to what is no rule file": {
			func(t *testing.T, dir string) { rename(t, dir, "a.yml", "a.yml.off") },
			[]string{"reloaded.A deleted"},
			[]string{"B.1"},
		},
		"its id changed": {
			func(t *testing.T, dir string) { write(t, dir, "a.yml", text("A2", "alpha", 1)) },
			[]string{"reloaded.A deleted", "reloaded.A2"},
			[]string{"A2.1", "B.1"},
		},
		"its comments changed, which is no change": {
			func(t *testing.T, dir string) { write(t, dir, "a.yml", "# why\n"+text("A", "alpha", 1)) },
			nil,
			[]string{"A.1", "B.1"},
		},
		"spoiled while another changed": {
			func(t *testing.T, dir string) {
				write(t, dir, "a.yml", text("A", "alpha", 2)+"---\n{")
				write(t, dir, "b.yml", text("B", "beta", 2))
			},
			[]string{"reloaded.B"},
			[]string{"A.1", "B.2"},
		},
		"spoiled and mended": {
			func(t *testing.T, dir string) {
				write(t, dir, "a.yml", "{id: A, detection: x}")
				write(t, dir, "a.yml", text("A", "alpha", 3))
			},
			[]string{"reloaded.A"},
			[]string{"A.3", "B.1"},
		},
		"new and spoiled": {
			func(t *testing.T, dir string) { write(t, dir, "c.yml", text("C", "beta", 1)+text("C", "beta", 2)) },
			[]string{"reloaded.C"},
			[]string{"A.1", "B.1", "C.1"},
		},
		"one of two with the same id deleted": {
			func(t *testing.T, dir string) {
				write(t, dir, "c.yml", text("B", "beta", 7))
				remove(t, dir, "b.yml")
			},
			[]string{"reloaded.B"},
			[]string{"A.1", "B.7"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "a.yml", text("A", "alpha", 1))
			write(t, dir, "b.yml", text("B", "beta", 1))
			live, told := follow(t, ruleset.Options{Sources: dirSource(dir)})
			c.change(t, dir)
			write(t, dir, "last.yml", text("Z", "omega", 1)) // all before it has been seen when this is told
			got := told.until(t, "reloaded.Z")
			if err := live.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "last.yml", text("Z", "omega", 2))
			got = append(got, told.until(t, "reloaded.Z")...)
			slices.Sort(got)
			if diff := cmp.Diff(c.told, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.fires, tags(t, live, "alpha beta")); diff != "" {
				t.Errorf("fires (-want +got):\n%s", diff)
			}
		})
	}
}

// A config map is a directory of links through one link that is replaced.
func TestChanges_ofAMountedConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "..1/a.yml", text("A", "alpha", 1))
	link("..1", "..data")
	link("..data/a.yml", "a.yml")
	live, told := follow(t, ruleset.Options{Sources: dirSource(dir)})
	write(t, dir, "..2/a.yml", text("A", "alpha", 2))
	link("..2", "..data_tmp")
	rename(t, dir, "..data_tmp", "..data")
	if word := told.next(t); word != "reloaded.A" {
		t.Errorf("told %s", word)
	}
	if got := tags(t, live, "alpha"); !slices.Equal(got, []string{"A.2"}) {
		t.Errorf("fires %q", got)
	}
}

// twice is a tagger that asks its rules two times and waits in between.
type twice struct {
	*rule.Set
	between func()
}

func (t twice) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	first, _ := t.Set.Tag(ctx, ev)
	t.between()
	second, err := t.Set.Tag(ctx, ev)
	return append(first, second...), err
}

func TestTag_finishesOnTheRulesThatItBeganWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yml", text("A", "alpha", 1))
	begun, finish := make(chan struct{}), make(chan struct{})
	between := func() { close(begun); <-finish }
	live, told := follow(t, ruleset.Options{Sources: dirSource(dir), Build: func(set *rule.Set) (tagger.Tagger, error) {
		built := twice{set, between}
		between = func() {} // of the sets that follow
		return built, nil
	}})
	inFlight := make(chan []string, 1)
	go func() { inFlight <- tags(t, live, "alpha") }()
	<-begun
	write(t, dir, "a.yml", text("A", "alpha", 2))
	if word := told.next(t); word != "reloaded.A" {
		t.Errorf("told %s", word)
	}
	if got := tags(t, live, "alpha"); !slices.Equal(got, []string{"A.2", "A.2"}) {
		t.Errorf("a new event: %q", got)
	}
	close(finish)
	if got := <-inFlight; !slices.Equal(got, []string{"A.1", "A.1"}) {
		t.Errorf("the event in flight: %q", got)
	}
}

func TestReload_keepsTheRulesIfTheyCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yml", text("A", "alpha", 1))
	var refuse error
	live, err := ruleset.New(ruleset.Options{Sources: dirSource(dir), Build: func(set *rule.Set) (tagger.Tagger, error) { return set, refuse }})
	if err != nil {
		t.Fatal(err)
	}
	refuse = errors.New("no")
	write(t, dir, "a.yml", text("A", "alpha", 2))
	if err := live.Reload(t.Context()); !errors.Is(err, refuse) {
		t.Errorf("got %v", err)
	}
	if got := tags(t, live, "alpha"); !slices.Equal(got, []string{"A.1"}) {
		t.Errorf("fires %q", got)
	}
	refuse = nil // the same files, and now they can be used
	if err := live.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if got := tags(t, live, "alpha"); !slices.Equal(got, []string{"A.2"}) {
		t.Errorf("fires %q", got)
	}
}

func TestLoaded_countsRulesAndFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yml", text("A", "alpha", 1)+text("B", "beta", 1))
	var counts []int
	live, err := ruleset.New(ruleset.Options{
		Sources: dirSource(dir), Build: asIs, Loaded: func(working, faults int) { counts = append(counts, working, faults) },
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.yml", "{")
	write(t, dir, "b.yml", text("C", "gamma", 1))
	if err := live.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []int{2, 0, 3, 1}; !slices.Equal(counts, want) {
		t.Errorf("told %v, want %v", counts, want)
	}
}

// patchy is a bus that refuses every other message for a while and one for good.
type patchy struct {
	bulletin
	calls int
}

func (p *patchy) NotifyOnce(ctx context.Context, id, topic string, payload ttp.Object) error {
	p.calls++
	switch {
	case topic == "ttp.rule.reloaded.A":
		return ttp.Permanent(errors.New("never"))
	case p.calls%2 == 0:
		return errors.New("away")
	}
	return p.bulletin.NotifyOnce(ctx, id, topic, payload)
}

func TestNews_areRepeatedUntilTheyArePublished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bus := &patchy{bulletin: make(bulletin, 10)}
	live, err := ruleset.New(ruleset.Options{Sources: dirSource(dir), Build: asIs, Notifier: bus})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "all.yml", text("A", "alpha", 1)+text("B", "beta", 1)+text("C", "gamma", 1))
	if err := live.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { live.Run(ctx) })
	defer func() { cancel(); run.Wait() }()
	if first, second := bus.next(t), bus.next(t); first != "reloaded.B" || second != "reloaded.C" {
		t.Errorf("told %s, %s", first, second)
	}
}
