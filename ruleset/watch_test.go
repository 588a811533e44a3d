package ruleset

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWatch_isOfEveryDirectoryButHiddenOnes(t *testing.T) {
	t.Parallel()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	real, link := filepath.Join(base, "v1"), filepath.Join(base, "current")
	for _, dir := range []string{"a/b", ".git/objects"} {
		if err := os.MkdirAll(filepath.Join(real, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("v1", link); err != nil {
		t.Fatal(err)
	}
	l, err := New(Options{Build: asGiven})
	if err != nil {
		t.Fatal(err)
	}
	l.o.Sources = []Source{{Dir: link}, {}} // the second is built in
	s := l.watch()
	defer s.close()
	got := s.watcher.WatchList()
	slices.Sort(got)
	if want := []string{real, filepath.Join(real, "a"), filepath.Join(real, "a", "b")}; !slices.Equal(got, want) {
		t.Errorf("watched %q, want %q", got, want)
	}
	if err := os.Mkdir(filepath.Join(real, "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s.add(); !slices.Contains(s.watcher.WatchList(), filepath.Join(real, "c")) {
		t.Error("a new directory is not watched")
	}
}
