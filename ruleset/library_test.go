package ruleset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/tagger/rule"
)

// shelf is a library over one directory and a clock of its own.
type shelf struct {
	t   *testing.T
	dir string
	library
	at time.Time
}

func newShelf(t *testing.T) *shelf {
	dir := filepath.Join(t.TempDir(), "rules")
	s := &shelf{t: t, dir: dir, at: time.Now().Add(time.Hour)}
	s.library = newLibrary([]Source{{Source: rule.Source{Name: dir, FS: os.DirFS(dir)}, Dir: dir}})
	s.must(os.Mkdir(dir, 0o755))
	return s
}

func (s *shelf) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shelf) write(name string, rules ...string) {
	s.t.Helper()
	var b strings.Builder
	for _, id := range rules {
		fmt.Fprintf(&b, "---\n{title: x, id: %s, version: 1, tags: [attack.t1105], logsource: {category: command}, detection: {s: {line: x}, condition: s}}\n", id)
	}
	s.must(os.WriteFile(s.path(name), []byte(b.String()), 0o644))
}

// look refreshes and returns whether anything changed, and the rules then.
func (s *shelf) look() (bool, []string) {
	changed := s.refresh(s.at, false)
	set, _ := s.compile(rule.Options{})
	var ids []string
	for _, info := range set.Rules() {
		if info.Status == rule.Loaded {
			ids = append(ids, info.ID)
		}
	}
	return changed, ids
}

func (s *shelf) want(what string, changed bool, ids ...string) {
	s.t.Helper()
	gotChanged, got := s.look()
	if gotChanged != changed || !slices.Equal(got, ids) {
		s.t.Errorf("%s: changed %v, rules %q, want %v, %q", what, gotChanged, got, changed, ids)
	}
}

func TestRefresh_takesWhatChanged(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.write("a.yml", "A", "B")
	s.want("at first", true, "A", "B")
	s.want("untouched", false, "A", "B")
	s.must(os.Chtimes(s.path("a.yml"), time.Now(), time.Now()))
	s.want("touched", false, "A", "B")
	s.write("a.yml", "A", "C")
	s.want("written", true, "A", "C")
	s.must(os.Remove(s.path("a.yml")))
	s.want("removed", true)
}

// The clock of a file system ticks: two changes within a tick leave the same
// time and, here, the same size.
func TestRefresh_doesNotTrustATimeThatIsYoung(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	tick := time.Now().Truncate(time.Second)
	write := func(id string) {
		s.write("a.yml", id)
		s.must(os.Chtimes(s.path("a.yml"), tick, tick))
	}
	s.at = tick.Add(settled)
	write("A")
	s.want("at first", true, "A")
	write("B")
	s.want("in the same tick", true, "B")
}

func TestBusy_isWhileAFileIsBeingWritten(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	written := time.Now().Truncate(time.Second)
	s.write("a.yml", "A")
	s.must(os.Chtimes(s.path("a.yml"), written, written))
	for age, want := range map[time.Duration]bool{0: true, fresh - 1: true, fresh: false, time.Hour: false, -time.Hour: false} {
		if got := s.busy(written.Add(age)); got != want {
			t.Errorf("%v after a write: %v, want %v", age, got, want)
		}
	}
}

func TestRefresh_keepsTheGoodVersionOfAFileThatBecomesBad(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.write("a.yml", "A", "B")
	s.write("b.yml", "X")
	s.want("good", true, "A", "B", "X")
	s.write("a.yml", "A", "no id")
	s.want("bad", true, "A", "B", "X")
	set, problems := s.compile(rule.Options{})
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "the version before stays in use") || len(set.Rules()) != 3 {
		t.Errorf("problems %v, %d rules", problems, len(set.Rules()))
	}
	s.write("a.yml", "no id")
	s.want("worse", true, "A", "B", "X")
	s.write("a.yml", "B")
	s.want("mended", true, "B", "X")
	if _, problems := s.compile(rule.Options{}); len(problems) > 0 {
		t.Errorf("mended: %v", problems)
	}
}

func TestRefresh_takesTheGoodRulesOfAFileThatWasAlwaysBad(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.write("a.yml", "A", "no id")
	s.want("bad from the start", true, "A")
	s.write("a.yml", "B", "no id")
	s.want("bad still", true, "B")
}

func TestRefresh_waitsUntilAnEmptyFileIsMeant(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.write("a.yml", "A")
	s.want("at first", true, "A")
	s.write("a.yml")
	s.want("empty since now", false, "A")
	s.at = s.at.Add(vacant - 1)
	s.want("empty for a moment", false, "A")
	s.at = s.at.Add(1)
	s.want("empty for a second", true)
	s.want("empty still", false)
	s.write("a.yml", "A")
	s.want("written again", true, "A")
}

func TestRefresh_keepsRulesWhoseDirectoryIsAway(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.write("a.yml", "A")
	s.want("at first", true, "A")
	s.must(os.Rename(s.dir, s.dir+".away"))
	s.want("away", true, "A")
	if _, problems := s.compile(rule.Options{}); len(problems) != 1 || problems[0].File != s.dir {
		t.Errorf("problems %v", problems)
	}
	s.want("away still", false, "A")
	s.must(os.Rename(s.dir+".away", s.dir))
	s.want("back", true, "A")
	s.must(os.Remove(s.path("a.yml")))
	s.want("back without it", true)
}

func TestRefresh_readsWhatCouldNotBeReadAgain(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.must(os.Symlink("absent", s.path("a.yml")))
	s.want("a link to nothing", true)
	s.want("still", false)
	if _, problems := s.compile(rule.Options{}); len(problems) != 1 {
		t.Errorf("problems %v", problems)
	}
	s.write("a.yml", "A")
	s.want("a link to something", true, "A")
	s.must(os.Remove(s.path("absent")))
	s.want("a link to nothing again", true, "A")
	s.want("still", false, "A")
}

// What looks the same is read again if it is asked for: a copy may have kept
// the times of what it replaced.
func TestRefresh_forcedReadsEverything(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	old := time.Now().Add(-time.Hour)
	write := func(id string) {
		s.write("a.yml", id)
		s.must(os.Chtimes(s.path("a.yml"), old, old))
	}
	write("A")
	s.want("at first", true, "A")
	write("B")
	s.want("looks the same", false, "A")
	if !s.refresh(s.at, true) {
		t.Error("nothing changed")
	}
	s.want("taken", false, "B")
}
