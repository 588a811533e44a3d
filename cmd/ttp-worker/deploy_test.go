package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/testdb"
)

// The passwords of these tests are recognised wherever they turn up.
const password = "s3cr3t-hunter2"

// deployedNATS runs the server that deploy/nats configures and returns its
// address for an account.
func deployedNATS(t *testing.T, change func(*server.Options)) (ns *server.Server, urlOf func(user string) string) {
	t.Helper()
	o := natsOptions(t, "nats.conf", nil)
	if change != nil {
		change(o)
	}
	ns = startNATS(t, o)
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return ns, func(user string) string {
		u, err := url.Parse(ns.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, password)
		return u.String()
	}
}

// natsOptions reads a configuration of deploy/nats, with passwords of the test
// and on a free port. edit, if not nil, changes its text.
func natsOptions(t *testing.T, config string, edit *strings.Replacer) *server.Options {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{config, "accounts.conf"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/nats", name))
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			text = []byte(edit.Replace(string(text)))
		}
		overwrite(t, filepath.Join(dir, name), string(text))
	}
	var passwords strings.Builder
	for _, user := range []string{"SENSOR", "WORKER", "READER", "ADMIN"} {
		passwords.WriteString(user + "_PASSWORD: \"" + password + "\"\n")
	}
	overwrite(t, filepath.Join(dir, "passwords.conf"), passwords.String())
	o, err := server.ProcessConfigFile(filepath.Join(dir, config))
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.HTTPPort, o.StoreDir, o.SyncAlways, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir(), false, true, true
	return o
}

func startNATS(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns
}

// deployedSQL runs the statements of a file of deploy/mysql as root.
func deployedSQL(t *testing.T, root *url.URL, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy/mysql", file))
	if err != nil {
		t.Fatal(err)
	}
	testdb.Exec(t, root.String(), statements(string(text))...)
}

// statements returns the statements of a file, with the test's password where
// the operator is to put one.
func statements(text string) (list []string) {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	for statement := range strings.SplitSeq(strings.ReplaceAll(strings.Join(lines, ""), "'...'", "'"+password+"'"), ";\n") {
		if strings.TrimSpace(statement) != "" {
			list = append(list, statement)
		}
	}
	return list
}

func accountOf(root *url.URL, user string) string {
	u := *root
	u.User, u.Path = url.UserPassword(user, password), "/ttp"
	return u.String()
}

const shadow = `{"payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","id":"%","ts":"2026-05-02T06:22:48"}}`

// clientOf is a JetStream client of an account, with the usual inbox.
func clientOf(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // not on standard error
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// TestDeploy_leastRights runs the worker under exactly the rights that deploy/
// gives it, takes one away and gives it back.
func TestDeploy_leastRights(t *testing.T) {
	t.Parallel()
	_, natsOf := deployedNATS(t, nil)
	root := testdb.WithAccounts(t)
	deployedSQL(t, root, "accounts.sql")
	for _, args := range [][]string{
		{"provision", "--nats", natsOf("admin")},
		{"migrate", "--db", accountOf(root, "ttp-admin")},
	} {
		if _, err := execute(t, args...); err != nil {
			t.Fatalf("%s: %v", args[0], err)
		}
	}
	deployedSQL(t, root, "rights.sql")

	options := []string{"--nats", natsOf("worker"), "--db", accountOf(root, "ttp"), "--migrate=false", "--unknown-attacker=create"}
	p := start(t, append([]string{"run"}, options...)...)
	reader, _ := clientOf(t, natsOf("reader"))
	announced, err := reader.SubscribeSync("ttp.tagged")
	if err != nil {
		t.Fatal(err)
	}
	_, sensor := clientOf(t, natsOf("sensor"))
	send := func(payload string) {
		t.Helper()
		if _, err := sensor.Publish(t.Context(), "attacker.command", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	send(strings.ReplaceAll(shadow, "%", "1"))
	send("no envelope")
	if _, err := execute(t, "publish", "--nats", natsOf("sensor"), "--from", save(t, everySubject)); err != nil {
		t.Errorf("a sensor may not publish: %v", err)
	}
	if _, err := announced.NextMsg(20 * time.Second); err != nil {
		t.Fatalf("the reader sees no ttp.tagged: %v", err)
	}
	if m, err := reader.Request("ttp-reads.techniques", nil, 20*time.Second); err != nil || !strings.Contains(string(m.Data), "T1003") {
		t.Errorf("the reader's question is not answered: %v", err)
	}
	until(t, "the dead letter is stored", func() bool { return p.metric("ttp_dead_letters_total") == 1 })
	if answer, err := reader.Request("ttp-reads.techniques", nil, 10*time.Second); err != nil || !strings.Contains(string(answer.Data), "T1003") {
		t.Errorf("the worker answers the reader with %v, %v", answer, err)
	}
	if log := p.text(); strings.Contains(strings.ToLower(log), "permissions violation") {
		t.Errorf("the worker lacks rights:\n%s", log)
	}
	doctor := append([]string{"doctor"}, options...)
	if out, err := execute(t, doctor...); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	for user, subject := range map[string]string{"sensor": "ttp.tagged", "worker": "attacker.command", "reader": "ttp.tagged"} {
		_, js := clientOf(t, natsOf(user))
		if _, err := js.Publish(t.Context(), subject, nil); err == nil {
			t.Errorf("%s may publish %s", user, subject)
		}
	}
	_, worker := clientOf(t, natsOf("worker"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := worker.DeleteStream(ctx, "TELEMETRY"); err == nil {
		t.Error("the worker may remove a stream")
	}

	testdb.Exec(t, root.String(), "REVOKE INSERT ON ttp.ttp_tag FROM 'ttp'@'%'")
	send(strings.ReplaceAll(strings.ReplaceAll(shadow, "%", "2"), "22:48", "23:00"))
	until(t, "the worker says which right it lacks", func() bool { return strings.Contains(p.causes(t), "access") })
	if out, err := execute(t, doctor...); err == nil || !strings.Contains(out, "BAD  insert into ttp_tag") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	testdb.Exec(t, root.String(), "GRANT INSERT ON ttp.ttp_tag TO 'ttp'@'%'")
	if _, err := announced.NextMsg(30 * time.Second); err != nil {
		t.Errorf("the event is not taken up again: %v", err)
	}
	p.noSecrets(t)
}

// TestDeploy_leastRightsOnDECNET gives the worker the rights that docs/decnet.md
// names, on the tables of a DECNET master.
func TestDeploy_leastRightsOnDECNET(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/decnet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, grants, _ := strings.Cut(string(page), "```sql\n")
	grants, _, _ = strings.Cut(grants, "```")
	_, natsOf := deployedNATS(t, nil)
	root := testdb.WithAccounts(t)
	decnet := *root
	decnet.Path = "/decnet"
	testdb.Exec(t, root.String(), "CREATE DATABASE decnet", "CREATE USER 'ttp'@'%' IDENTIFIED BY '"+password+"'")
	testdb.MakeDECNET(t, decnet.String())
	for _, args := range [][]string{{"provision", "--nats", natsOf("admin")}, {"migrate", "--db", decnet.String()}} {
		if _, err := execute(t, args...); err != nil {
			t.Fatal(err)
		}
	}
	testdb.Exec(t, root.String(), statements(grants)...)
	worked := decnet
	worked.User = url.UserPassword("ttp", password)
	p := start(t, "run", "--nats", natsOf("worker"), "--db", worked.String(), "--migrate=false")
	_, sensor := clientOf(t, natsOf("sensor"))
	if _, err := sensor.Publish(t.Context(), "attacker.command", []byte(strings.ReplaceAll(shadow, "%", "1"))); err != nil {
		t.Fatal(err)
	}
	until(t, "the event waits for its attacker", func() bool { return p.metric("ttp_messages_total") > 0 })
	testdb.Exec(t, decnet.String(), `INSERT INTO attackers (uuid, ip, first_seen, last_seen, updated_at,
		event_count, service_count, decky_count, bounty_count, credential_count, rotation_count, ipv6_leak_count,
		services, deckies, fingerprints, commands, is_traversal)
		VALUES ('11111111-1111-4111-8111-111111111111', '198.51.100.7', NOW(), NOW(), NOW(), 0, 0, 0, 0, 0, 0, 0, '[]', '[]', '[]', '[]', 0)`)
	until(t, "its tags are announced", func() bool { return p.metric("ttp_announcements_published_total") > 0 })
	if out, err := execute(t, "doctor", "--nats", natsOf("worker"), "--db", worked.String()); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// causes is the body of /readyz, whatever its status.
func (p *process) causes(t *testing.T) string {
	t.Helper()
	_, body, err := httpGet("http://" + p.http + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// noSecrets fails the test if a password is in anything that p shows.
func (p *process) noSecrets(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{"the log": p.text(), "/metrics": p.get("/metrics"), "/readyz": p.causes(t)} {
		if strings.Contains(text, password) {
			t.Errorf("the password is in %s:\n%s", name, text)
		}
	}
}
