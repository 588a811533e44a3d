package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ttp-worker/internal/testdb"
)

// sandbox is where the commands of the documentation are run: the names that
// they use stand for servers and files of the test.
type sandbox struct {
	dir   string
	names *strings.Replacer
	env   []string
}

// TestDocs_everyCommandWorks runs every block of shell commands in the README
// and the pages for operators. What changes the system is a stand-in of
// testdata/docs; make package-check does these things for real.
func TestDocs_everyCommandWorks(t *testing.T) {
	t.Parallel()
	_, natsOf := deployedNATS(t, nil)
	root := testdb.WithAccounts(t)
	deployedSQL(t, root, "accounts.sql")
	for _, args := range [][]string{{"provision", "--nats", natsOf("admin")}, {"migrate", "--db", accountOf(root, "ttp-admin")}} {
		if _, err := execute(t, args...); err != nil {
			t.Fatal(err)
		}
	}
	deployedSQL(t, root, "rights.sql")
	worker := start(t, "run", "--nats", natsOf("worker"), "--db", accountOf(root, "ttp"), "--migrate=false", "--unknown-attacker=create")

	for _, page := range []string{"install", "configure", "operate", "upgrade", "scale", "decnet", "security", "format", "api", "replay"} {
		t.Run(page, func(t *testing.T) {
			s := newSandbox(t, root, natsOf)
			s.env = append(s.env, "TTP_NATS="+natsOf("admin"), "TTP_HTTP="+worker.http)
			s.names = s.replacing(root, natsOf("admin"), worker.http)
			s.run(t, "docs/"+page+".md")
		})
	}
	t.Run("README", func(t *testing.T) {
		testdb.Exec(t, root.String(), "CREATE USER 'readme'@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON ttp.* TO 'readme'@'%'")
		s := newSandbox(t, root, natsOf)
		addr := "nats://" + freeAddress(t)
		s.env = append(s.env, "TTP_NATS="+addr)
		s.names = s.replacing(root, addr, worker.http, "mysql://ttp:secret@", "mysql://readme:secret@")
		s.run(t, "README.md")
	})
}

// newSandbox makes a copy of what the commands find on an installed system.
func newSandbox(t *testing.T, root *url.URL, natsOf func(string) string) *sandbox {
	t.Helper()
	s := &sandbox{dir: t.TempDir()}
	stands, err := filepath.Abs("testdata/docs")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := product()
	if err != nil {
		t.Fatal(err)
	}
	wrapper := "#!/bin/sh\nexec " + exe + " \"$@\"\n"
	for name, text := range map[string]string{
		"etc/ttp-worker/config.yaml":                 "nats: file:" + s.dir + "/etc/ttp-worker/credentials/nats-worker\ndb: file:" + s.dir + "/etc/ttp-worker/credentials/mysql-dsn\nmigrate: false\n",
		"etc/ttp-worker/credentials/mysql-dsn":       accountOf(root, "ttp"),
		"etc/ttp-worker/credentials/mysql-admin-dsn": accountOf(root, "ttp-admin"),
		"etc/ttp-worker/credentials/nats-worker":     natsOf("worker"),
		"etc/ttp-worker/credentials/nats-admin":      natsOf("admin"),
		"tree/ttp-worker_1_amd64.deb":                "",
		"tree/dist/ttp-worker_1_amd64.deb":           "",
		"tree/cowrie.json.gz":                        cowrieLog(9),
		"var/log/cowrie/cowrie.json":                 cowrieLog(9),
		"var/lib/ttp-worker/.keep":                   "",
		"tree/bin/ttp-worker":                        wrapper,
		"bin/ttp-worker":                             wrapper,
		"bin/mysql":                                  "#!/bin/sh\nTTP_TEST_SQL=" + root.String() + " exec " + exe + "\n",
	} {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", "-r", "../../deploy", filepath.Join(s.dir, "tree")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	repo := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(stands))))
	s.env = append(os.Environ(), "SANDBOX="+s.dir, "REPO="+repo, "PATH="+s.dir+"/bin:"+stands+":"+os.Getenv("PATH"))
	return s
}

// replacing puts what is there in the place of what the pages say.
func (s *sandbox) replacing(root *url.URL, nats, http string, more ...string) *strings.Replacer {
	u, _ := url.Parse(nats) // it was one before
	return strings.NewReplacer(append(more, ":...@", ":"+password+"@", "/etc/ttp-worker", s.dir+"/etc/ttp-worker", " /usr/", " "+s.dir+"/usr/", " /var/", " "+s.dir+"/var/", "sqlite:///var/", "sqlite://"+s.dir+"/var/",
		"127.0.0.1:4222", u.Host, "127.0.0.1:3306", root.Host, "127.0.0.1:9464", http)...)
}

// block finds fenced blocks of shell commands, indented in lists or not.
var block = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

// running finds commands that do not end.
var (
	running   = regexp.MustCompile(`(?m)^ *((?:bin/)?ttp-worker run .*)$`)
	following = regexp.MustCompile(`(?m)^ *(ttp-worker publish --from (\S+)/(\S+) --follow)$`)
)

// run runs the blocks of a page, one after the other, in one shell.
func (s *sandbox) run(t *testing.T, page string) {
	t.Helper()
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	blocks := block.FindAllSubmatch(text, -1)
	for i, b := range blocks {
		fmt.Fprintf(&script, "echo '--- %s, block %d'\n%s", page, i+1, following.ReplaceAllString(running.ReplaceAllString(s.names.Replace(string(b[1])), waiting), noting))
	}
	if strings.Contains(page, "README") && len(blocks) < 4 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir, cmd.Env = filepath.Join(s.dir, "tree"), s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%.6000s", err, out)
	}
	if strings.Contains(string(out), password) {
		t.Errorf("a password is in\n%s", out)
	}
}

// waiting lets a worker run on and waits until it works.
const waiting = `log=$$(mktemp -p "$$SANDBOX")
$1 2>"$$log" &
for i in {1..200}; do grep -q '"msg":"working"' "$$log" && break; sleep 0.1; done
grep -q '"msg":"working"' "$$log" || { cat "$$log"; exit 1; }`

// noting lets a file be followed and waits until its place is noted.
const noting = `$1 &
for i in {1..200}; do test -e $2/.$3.ttp-place && break; sleep 0.1; done
test -e $2/.$3.ttp-place`

// runSQL stands for the mysql program: it runs the statements of its input.
func runSQL(dsn string) int {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = testdb.Run(dsn, statements(string(text))...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return 0
}
