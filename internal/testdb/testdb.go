// Package testdb gives tests a database of their own: a private MariaDB server
// per test process, or the server that TTP_TEST_MYSQL_DSN names.
package testdb

import (
	"database/sql"
	_ "embed" // decnet.sql
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// MySQL returns the address of an empty database that is dropped when the test
// ends. A machine without a server fails the test.
func MySQL(t testing.TB) (dsn string) {
	t.Helper()
	base, err := server()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("ttp_test_%d_%d", os.Getpid(), count.Add(1))
	if err := exec1(base, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec1(base, "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	u := *base
	u.Path = "/" + name
	return u.String()
}

var count atomic.Int64

// SQLite returns the address of a database file that does not exist yet.
func SQLite(t testing.TB) (dsn string) {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "ttp.db")
}

// DECNET returns the address of a database with the empty tables of a DECNET
// master, none of which the worker may alter. It is dropped when the test ends.
func DECNET(t testing.TB) (dsn string) {
	t.Helper()
	dsn = MySQL(t)
	MakeDECNET(t, dsn)
	return dsn
}

// MakeDECNET makes the tables of [DECNET] in the empty database at dsn.
func MakeDECNET(t testing.TB, dsn string) {
	t.Helper()
	for table := range strings.SplitSeq(decnet, ";\n") {
		if strings.TrimSpace(table) != "" {
			Exec(t, dsn, table)
		}
	}
}

//go:embed decnet.sql
var decnet string

// Exec runs statements on the database at dsn.
func Exec(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	if err := Run(dsn, statements...); err != nil {
		t.Fatal(err)
	}
}

// Run is [Exec] for a process that is no test.
func Run(dsn string, statements ...string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if err := exec1(u, s); err != nil {
			return fmt.Errorf("%.80s: %w", s, err)
		}
	}
	return nil
}

// Query returns the first column of what a query finds, on MySQL or SQLite.
func Query(t testing.TB, dsn, text string) (values []string) {
	t.Helper()
	path, isFile := strings.CutPrefix(dsn, "sqlite://")
	if !isFile {
		return query(t, Open(t, dsn), text)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return query(t, db, text)
}

func query(t testing.TB, db *sql.DB, text string) (values []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return values
}

func exec1(u *url.URL, statement string) error {
	db, err := open(u)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

// Open opens a MySQL database beside the code that is tested.
func Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := open(u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func config(u *url.URL) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", u.Host, u.User.Username(), strings.TrimPrefix(u.Path, "/")
	cfg.Passwd, _ = u.User.Password()
	cfg.Logger = &mysql.NopLogger{} // what it would log is returned, too
	return cfg
}

func open(u *url.URL) (*sql.DB, error) {
	connector, err := mysql.NewConnector(config(u))
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// server returns the address, without a database, of the server of this process.
var server = sync.OnceValues(func() (*url.URL, error) {
	if dsn := os.Getenv("TTP_TEST_MYSQL_DSN"); dsn != "" {
		return url.Parse(dsn)
	}
	binary, err := find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ttp-testdb-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return start(binary, dir, port)
})

func find(names ...string) (string, error) {
	for _, name := range names {
		for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
			if found, err := exec.LookPath(path); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("no MariaDB or MySQL server for the tests: run apt-get install mariadb-server, " +
		"or name one with TTP_TEST_MYSQL_DSN=mysql://user:pass@host:port/")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start runs a server on an empty directory, without accounts. It ends with
// this process, however that ends.
func start(binary, dir string, port int) (*url.URL, error) {
	if _, err := launch(binary, dir, port, "--skip-grant-tables"); err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: "mysql", User: url.User("root"), Host: fmt.Sprintf("127.0.0.1:%d", port)}
	return u, answering(u, filepath.Join(dir, "server.log"))
}

// launch runs a server on a directory; more are options of its own.
func launch(binary, dir string, port int, more ...string) (*exec.Cmd, error) {
	args := append([]string{
		"--no-defaults", "--datadir=" + dir, "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"), "--tmpdir=" + dir,
		fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--skip-networking=0",
		"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--character-set-server=utf8mb4",
	}, more...)
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

// answering waits until the server answers.
func answering(u *url.URL, logFile string) error {
	deadline := time.Now().Add(30 * time.Second)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		err := exec1(u, "SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the test server does not answer, see %s: %w", logFile, err)
		}
	}
	return nil
}
