// Package testdb gives tests a database of their own: a private MariaDB server
// per test process, or the server that TTP_TEST_MYSQL_DSN names.
package testdb

import (
	"database/sql"
	_ "embed" // decnet.sql
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"ttp-worker/internal/servers"
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

// Kept returns the address of the database "ttp" on a MariaDB server of the
// test's own, with 1 GiB of memory, whose data stay in dir. It is made if it is
// not there. options are added to the server's command line.
func Kept(t testing.TB, dir string, options ...string) (dsn string) {
	t.Helper()
	port, err := ports.Next()
	if err != nil {
		t.Fatal(err)
	}
	// The socket is not in dir, whose path may be too long for it.
	socket := filepath.Join(os.TempDir(), fmt.Sprintf("ttp-kept-%d.sock", port))
	options = append(options, "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--socket="+socket)
	server, err := servers.NewMariaDB(dir, port, options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Term(time.Minute); err != nil { // writes what is in memory
			t.Error(err)
		}
	})
	u := Root(server)
	if err := exec1(u, "CREATE DATABASE IF NOT EXISTS ttp"); err != nil {
		t.Fatal(err)
	}
	u.Path = "/ttp"
	return u.String()
}

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
	s, err := launch(servers.NewMariaDB, "--innodb-flush-log-at-trx-commit=2")
	if err != nil {
		return nil, fmt.Errorf("%w, or name a server with TTP_TEST_MYSQL_DSN=mysql://user:pass@host:port/", err)
	}
	return Root(s), nil
})

var ports servers.Ports

// launch starts a server in a directory of its own. Both end with this process,
// however that ends.
func launch(describe func(dir string, port int, options ...string) (*servers.Server, error), options ...string) (*servers.Server, error) {
	// Not t.TempDir: its path may be too long for the server's socket.
	dir, err := os.MkdirTemp("", "ttp-testdb-")
	if err != nil {
		return nil, err
	}
	if err := servers.RemoveAtEnd(dir); err != nil {
		return nil, err
	}
	port, err := ports.Next()
	if err != nil {
		return nil, err
	}
	s, err := describe(filepath.Join(dir, "data"), port, append(options, "--innodb-buffer-pool-size=64M")...)
	if err != nil {
		return nil, err
	}
	return s, s.Start()
}

// Root is the address of root on a server, without a database.
func Root(s *servers.Server) *url.URL {
	return &url.URL{Scheme: "mysql", User: url.User("root"), Host: s.Addr()}
}
