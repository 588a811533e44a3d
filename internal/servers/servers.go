package servers

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

// Server is a NATS or MariaDB process that can be ended and started again on
// the same port and the same data.
type Server struct {
	*Process
	Port int
	Dir  string
	Args []string

	binary string
	ready  func() error // nil once it answers
}

// startWithin is how long a server may take to start or to end.
const startWithin = 30 * time.Second

// Addr is where the server listens, host:port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Start runs the server and returns when it answers. Its output goes to a file
// beside its directory.
func (s *Server) Start() (err error) {
	if s.Process, err = Spawn(s.Dir+".log", nil, s.binary, s.Args...); err != nil {
		return err
	}
	return Eventually(startWithin, func() error {
		if s.Ended() {
			return fmt.Errorf("%s has ended, see %s", filepath.Base(s.binary), s.Log)
		}
		return s.ready()
	})
}

// Restart ends the server by sig, waits for the time away and starts it again.
func (s *Server) Restart(sig syscall.Signal, away time.Duration) error {
	if err := s.Signal(sig); err != nil {
		return err
	}
	if _, err := s.Wait(startWithin); err != nil {
		return errors.Join(err, s.Kill())
	}
	<-time.After(away)
	return s.Start()
}

// Build makes a program, out, of a package of this module or of one that it
// depends on.
func Build(ctx context.Context, out, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, text)
	}
	return nil
}

// NATSPackage is the program that [NewNATS] runs.
const NATSPackage = "github.com/nats-io/nats-server/v2"

// NewNATS describes a NATS server with JetStream. more is appended to its
// configuration, in which sync is when messages reach the disk: "always" or a
// duration.
func NewNATS(binary, dir string, port int, sync, more string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%d\nmax_payload: 8MB\njetstream { store_dir: %q, sync_interval: %s }\n%s",
		port, port, filepath.Join(dir, "store"), sync, more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &Server{binary: binary, Dir: dir, Port: port, Args: []string{"-c", conf}}
	s.ready = func() error {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return s, nil
}

// NewMariaDB describes a MariaDB server without accounts: anybody on this host
// may do everything. options are added to its command line.
func NewMariaDB(dir string, port int, options ...string) (*Server, error) {
	return newMariaDB(dir, port, append(options, "--skip-grant-tables"))
}

// NewMariaDBWithAccounts describes a MariaDB server that checks accounts and
// rights. Root may do everything without a password; statements, one a line,
// are run at each start and make the others.
func NewMariaDBWithAccounts(dir string, port int, statements []string, options ...string) (*Server, error) {
	s, err := newMariaDB(dir, port, append(options, "--init-file="+dir+".sql"))
	if err != nil {
		return nil, err
	}
	root := []string{"CREATE USER IF NOT EXISTS root@127.0.0.1;", "GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;"}
	if err := os.WriteFile(dir+".sql", []byte(strings.Join(append(root, statements...), "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	installer, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	args := append([]string{"--no-defaults", "--datadir=" + dir, "--tmpdir=" + scratchOf(dir), "--auth-root-authentication-method=normal", "--skip-test-db"}, asRoot()...)
	if out, err := exec.Command(installer, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the tables of the accounts: %w: %.300s", err, out)
	}
	return s, nil
}

func newMariaDB(dir string, port int, options []string) (*Server, error) {
	binary, err := find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(scratchOf(dir), 0o700)); err != nil {
		return nil, err
	}
	s := &Server{binary: binary, Dir: dir, Port: port}
	s.Args = append([]string{
		"--no-defaults", "--datadir=" + dir, "--tmpdir=" + scratchOf(dir), "--socket=" + filepath.Join(dir, "s"), "--pid-file=" + filepath.Join(dir, "pid"),
		fmt.Sprintf("--port=%d", port), "--bind-address=127.0.0.1", "--skip-networking=0",
		"--character-set-server=utf8mb4", "--skip-name-resolve",
	}, append(options, asRoot()...)...)
	s.ready = func() error { return s.Exec("SELECT 1") }
	return s, nil
}

// scratchOf is where the server of a data directory has its temporary files. It
// must be nobody else's: a server that starts removes what others have there.
func scratchOf(dir string) string { return dir + ".tmp" }

// asRoot is what the programs of MariaDB want to hear from root.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// Open connects to a database of a MariaDB server as user; "" is none.
func (s *Server) Open(user, database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", s.Addr(), user, database
	cfg.MultiStatements, cfg.InterpolateParams, cfg.Logger = true, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Exec runs one statement as root, outside any database.
func (s *Server) Exec(statement string, args ...any) error {
	db, err := s.Open("root", "")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = db.ExecContext(ctx, statement, args...)
	return err
}

// find looks for a program also where Debian keeps those of administrators.
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
