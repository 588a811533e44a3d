package testdb

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"ttp-worker/internal/servers"
)

// WithAccounts returns the address of root, without a database, on a server as
// [NewServer] starts one.
func WithAccounts(t testing.TB, options ...string) *url.URL {
	t.Helper()
	return Root(NewServer(t, options...))
}

// NewServer starts a MariaDB server of this test's own that checks accounts and
// rights, as the one of [MySQL] does not, and can be ended and started again.
func NewServer(t testing.TB, options ...string) *servers.Server {
	t.Helper()
	s, err := launch(withRoot, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(filepath.Dir(s.Dir)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func withRoot(dir string, port int, options ...string) (*servers.Server, error) {
	return servers.NewMariaDBWithAccounts(dir, port, nil, options...)
}
