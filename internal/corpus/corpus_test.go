package corpus_test

import (
	"io/fs"
	"slices"
	"testing"

	"ttp-worker/internal/corpus"
)

func TestCorpus_is_what_it_says(t *testing.T) {
	t.Parallel()
	lines := corpus.Lines()
	slices.Sort(lines)
	if n := len(slices.Compact(lines)); n != 2000 {
		t.Errorf("%d distinct lines", n)
	}
	if names, err := fs.Glob(corpus.Sigma(), "*.yml"); len(names) != 122 || err != nil {
		t.Errorf("%d Sigma rules, %v", len(names), err)
	}
	for _, h := range corpus.Hostile() {
		if n := len(h.Text); n < corpus.HostileSize-100 || n > corpus.HostileSize {
			t.Errorf("%s has %d bytes", h.Name, n)
		}
	}
}
