package servers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ttp-worker/internal/servers"
)

// TestNewMariaDB_temporaryFiles: a server that starts empties the directory of
// its temporary files, so that no two may have the same.
func TestNewMariaDB_temporaryFiles(t *testing.T) {
	t.Parallel()
	dir, seen := t.TempDir(), make(map[string]bool)
	for _, name := range []string{"a", "b"} {
		s, err := servers.NewMariaDB(filepath.Join(dir, name), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, arg := range s.Args {
			tmp, ok := strings.CutPrefix(arg, "--tmpdir=")
			if !ok {
				continue
			}
			if info, err := os.Stat(tmp); err != nil || !info.IsDir() || seen[tmp] {
				t.Errorf("%s: %v, in use already: %t", tmp, err, seen[tmp])
			}
			seen[tmp] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("directories for temporary files: %v, want one for each server", seen)
	}
}
