package testdb

import (
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// WithAccounts returns the address, without a database, of root on a MariaDB
// server of this test's own that checks accounts and rights, as the one of
// [MySQL] does not. args are further options of the server.
func WithAccounts(t testing.TB, args ...string) *url.URL {
	t.Helper()
	binary, err := find("mariadbd")
	if err != nil {
		t.Fatal(err)
	}
	installer, err := find("mariadb-install-db")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its path may be too long for the server's socket.
	dir, err := os.MkdirTemp("", "ttp-accounts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the system cleans up what is left
	install := exec.Command(installer, "--no-defaults", "--datadir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	if os.Geteuid() == 0 {
		install.Args = append(install.Args, "--user=root")
	}
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("make the tables of the accounts: %v\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "mysql", User: url.User("root"), Host: "127.0.0.1:" + strconv.Itoa(port)}
	server, err := launch(binary, dir, port, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	if err := answering(u, dir+"/server.log"); err != nil {
		t.Fatal(err)
	}
	return u
}
