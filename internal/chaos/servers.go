package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// server is a NATS or MariaDB process that can be ended and started again on
// the same port and the same data.
type server struct {
	*process
	binary string
	dir    string
	port   int
	args   []string
	ready  func() error // nil once it answers
}

const startWithin = 30 * time.Second

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start runs the server and returns when it answers.
func (s *server) start() (err error) {
	name := filepath.Base(s.binary)
	s.process, err = spawn(name, filepath.Join(filepath.Dir(s.dir), filepath.Base(s.dir)+".log"), nil, s.binary, s.args...)
	if err != nil {
		return err
	}
	return eventually(startWithin, func() error {
		if s.ended() {
			return fmt.Errorf("%s has ended, see %s", name, s.log)
		}
		return s.ready()
	})
}

// eventually repeats check until it succeeds.
func eventually(within time.Duration, check func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// newNATS describes a NATS server with JetStream, one of the cluster whose
// routes are given.
func newNATS(binary, dir string, port int, cluster string) (*server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%d\nmax_payload: 8MB\njetstream { store_dir: %q }\n%s",
		port, port, filepath.Join(dir, "store"), cluster)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &server{binary: binary, dir: dir, port: port, args: []string{"-c", conf}}
	s.ready = func() error {
		conn, err := net.DialTimeout("tcp", s.addr(), time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return s, nil
}

// newMariaDB describes a MariaDB server. With grants it has accounts: root,
// who may do everything, and ttp, who may not write where the server is read-only.
func newMariaDB(dir string, port int, grants bool) (*server, error) {
	binary, err := find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &server{binary: binary, dir: dir, port: port}
	s.args = []string{
		"--no-defaults", "--datadir=" + dir, "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"),
		fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--skip-networking=0", "--innodb-buffer-pool-size=64M",
		"--innodb-flush-log-at-trx-commit=1", "--character-set-server=utf8mb4", "--innodb-lock-wait-timeout=2",
		"--max-allowed-packet=16777216", "--skip-name-resolve",
	}
	if os.Geteuid() == 0 {
		s.args = append(s.args, "--user=root")
	}
	s.ready = func() error { return s.query("SELECT 1") }
	if !grants {
		s.args = append(s.args, "--skip-grant-tables")
		return s, nil
	}
	return s, s.install()
}

// install makes the server's own tables, with accounts.
func (s *server) install() error {
	init := filepath.Join(filepath.Dir(s.dir), "accounts.sql")
	accounts := "CREATE USER IF NOT EXISTS root@127.0.0.1;\nGRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\n" +
		"CREATE USER IF NOT EXISTS ttp@127.0.0.1;\nGRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES ON *.* TO ttp@127.0.0.1;\n"
	if err := os.WriteFile(init, []byte(accounts), 0o600); err != nil {
		return err
	}
	s.args = append(s.args, "--init-file="+init)
	args := []string{"--no-defaults", "--datadir=" + s.dir, "--auth-root-authentication-method=normal"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command("mariadb-install-db", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %.300s", err, out)
	}
	return nil
}

// query runs one statement as root, outside any database.
func (s *server) query(statement string, args ...any) error {
	db, err := s.open("root", "")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = db.ExecContext(ctx, statement, args...)
	return err
}

func (s *server) open(user, database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", s.addr(), user, database
	cfg.MultiStatements, cfg.InterpolateParams, cfg.Logger = true, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// restart ends the server by sig, waits for the time away and starts it again.
func (s *server) restart(sig syscall.Signal, away time.Duration) error {
	if err := s.signal(sig); err != nil {
		return err
	}
	if _, err := s.wait(startWithin); err != nil {
		return errors.Join(err, s.kill())
	}
	<-time.After(away)
	return s.start()
}

func find(names ...string) (string, error) {
	for _, name := range names {
		for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
			if found, err := exec.LookPath(path); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("no %s: run make deps, or apt-get install mariadb-server-core", strings.Join(names, " or "))
}
