package main

import (
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/servers"
	"ttp-worker/internal/testdb"
)

// badHour is a worker with exactly the rights that deploy/ gives it, between
// servers that things are taken away from.
type badHour struct {
	ns     *server.Server
	o      *server.Options
	db     *servers.Server
	root   *url.URL
	sqlDB  *sql.DB
	worker *process
	bus    onBus // as the admin
	events int
}

func startBadHour(t *testing.T) *badHour {
	t.Helper()
	h := &badHour{o: natsOptions(t, "nats.conf", nil), db: testdb.NewServer(t)}
	if err := h.db.Restart(syscall.SIGTERM, 0); err != nil { // killed before its first clean end, it does not come back
		t.Fatal(err)
	}
	h.root = testdb.Root(h.db)
	h.startNATS(t)
	t.Cleanup(func() { h.ns.Shutdown(); h.ns.WaitForShutdown() })
	deployedSQL(t, h.root, "accounts.sql")
	for _, args := range [][]string{{"provision", "--nats", h.natsOf("admin"), "--ack-wait=2s"}, {"migrate", "--db", accountOf(h.root, "ttp-admin")}} {
		if _, err := execute(t, args...); err != nil {
			t.Fatalf("%s: %v", args[0], err)
		}
	}
	deployedSQL(t, h.root, "rights.sql")
	h.sqlDB = testdb.Open(t, accountOf(h.root, "ttp-admin"))
	_, js := clientOf(t, h.natsOf("admin"))
	h.bus = onBus{js}
	h.worker = start(t, "run", "--nats", h.natsOf("worker"), "--db", accountOf(h.root, "ttp"), "--migrate=false",
		"--unknown-attacker=create", "--ack-wait=2s")
	return h
}

// startNATS starts the server, the first time on any port.
func (h *badHour) startNATS(t *testing.T) {
	t.Helper()
	ns, err := server.NewServer(h.o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	h.ns, h.o.Port = ns, ns.Addr().(*net.TCPAddr).Port
}

func (h *badHour) natsOf(user string) string {
	return fmt.Sprintf("nats://%s:%s@127.0.0.1:%d", user, password, h.o.Port)
}

// configure puts another configuration in the place of the NATS server's.
func (h *badHour) configure(t *testing.T, replace ...string) {
	t.Helper()
	o := natsOptions(t, "nats.conf", strings.NewReplacer(replace...))
	o.Port, o.StoreDir, o.ConfigFile = h.o.Port, h.o.StoreDir, h.o.ConfigFile
	if err := h.ns.ReloadOptions(o); err != nil {
		t.Fatal(err)
	}
}

func (h *badHour) sql(t *testing.T, statements ...string) {
	t.Helper()
	testdb.Exec(t, h.root.String(), statements...)
}

// stream changes a stream's configuration.
func (h *badHour) stream(t *testing.T, name string, change func(cfg *jetstream.StreamConfig, messages int64)) {
	t.Helper()
	s, err := h.bus.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	change(&cfg, int64(s.CachedInfo().State.Msgs))
	if _, err := h.bus.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// event sends one that yields tags.
func (h *badHour) event(t *testing.T) {
	t.Helper()
	h.bus.commands(t, h.events, h.events+1)
	h.events++
}

// settled reports whether nothing is under way.
func (h *badHour) settled(t *testing.T) bool {
	t.Helper()
	var waiting int
	if err := h.sqlDB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ttp_outbox").Scan(&waiting); err != nil {
		t.Fatal(err)
	}
	return waiting == 0 && h.bus.unsettled(t.Context()) == 0
}

// TestBadHour takes away what the worker needs, one thing after the other. Each
// time it must say on /readyz what is wrong and what to do, and go on by itself
// when the thing is there again. In the end everything is announced once, the
// log says what to do, and no secret was shown.
func TestBadHour(t *testing.T) {
	t.Parallel()
	h := startBadHour(t)
	announcements := func(subjects ...string) func(cfg *jetstream.StreamConfig, _ int64) {
		return func(cfg *jetstream.StreamConfig, _ int64) { cfg.Subjects = subjects }
	}
	for _, c := range []struct {
		name          string
		fault, repair func(t *testing.T)
		quiet         bool // no event comes meanwhile
		cause, cure   string
	}{
		{
			name: "NATS is killed", quiet: true,
			fault:  func(*testing.T) { h.ns.Shutdown(); h.ns.WaitForShutdown() },
			repair: h.startNATS,
			cause:  "nats: not connected: dial tcp", cure: "check that the NATS server runs",
		},
		{
			name: "the database is killed", quiet: true,
			fault:  func(t *testing.T) { must(t, h.db.Kill()) },
			repair: func(t *testing.T) { must(t, h.db.Start()) },
			cause:  "connection refused", cure: "check that the database server runs",
		},
		{
			name:   "a right on a table is taken",
			fault:  func(t *testing.T) { h.sql(t, "REVOKE INSERT ON ttp.ttp_tag FROM 'ttp'@'%'") },
			repair: func(t *testing.T) { h.sql(t, "GRANT INSERT ON ttp.ttp_tag TO 'ttp'@'%'") },
			cause:  "INSERT command denied", cure: "the user needs SELECT, INSERT",
		},
		{
			name: "the password of the database is another one", quiet: true,
			fault:  func(t *testing.T) { h.sql(t, "ALTER USER 'ttp'@'%' IDENTIFIED BY 'other'", "KILL USER ttp") },
			repair: func(t *testing.T) { h.sql(t, "ALTER USER 'ttp'@'%' IDENTIFIED BY '"+password+"'") },
			cause:  "Access denied for user", cure: "check user and password of --db",
		},
		{
			name: "the account of NATS is gone", quiet: true,
			fault:  func(t *testing.T) { h.configure(t, "user: worker", "user: somebody") },
			repair: func(t *testing.T) { h.configure(t) },
			cause:  "nats: not connected: nats: authorization violation", cure: "check --nats-creds, --nats-nkey or the user in --nats",
		},
		{
			name:   "the right to fetch is taken",
			fault:  func(t *testing.T) { h.configure(t, `"$JS.API.CONSUMER.MSG.NEXT.TELEMETRY.ttp-worker"`, "") },
			repair: func(t *testing.T) { h.configure(t) },
			cause:  "$JS.API.CONSUMER.MSG.NEXT.TELEMETRY.ttp-worker", cure: "give the account of --nats this right",
		},
		{
			name:   "the right to announce is taken",
			fault:  func(t *testing.T) { h.configure(t, "\"ttp.tagged\"\n            \"ttp.rule.>\"", "") },
			repair: func(t *testing.T) { h.configure(t) },
			cause:  "wait in the outbox: nats: permissions violation", cure: "ttp-worker doctor",
		},
		{
			name: "the stream of announcements is full",
			fault: func(t *testing.T) {
				h.stream(t, "TTP", func(cfg *jetstream.StreamConfig, messages int64) {
					cfg.MaxMsgs, cfg.Discard = messages, jetstream.DiscardNew
				})
			},
			repair: func(t *testing.T) {
				h.stream(t, "TTP", func(cfg *jetstream.StreamConfig, _ int64) { cfg.MaxMsgs, cfg.Discard = -1, jetstream.DiscardOld })
			},
			cause: "maximum messages exceeded", cure: "the stream is full: raise its limits",
		},
		{
			name:   "the stream of announcements lacks a subject",
			fault:  func(t *testing.T) { h.stream(t, "TTP", announcements("ttp.rule.>")) },
			repair: func(t *testing.T) { h.stream(t, "TTP", announcements("ttp.tagged", "ttp.rule.>")) },
			cause:  "wait in the outbox: publish ttp.tagged: nats: timeout", cure: "ttp-worker doctor",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault(t)
			if !c.quiet {
				h.event(t)
			}
			until(t, "not ready because "+c.cause+": "+c.cure, func() bool {
				_, cause, _ := strings.Cut(h.worker.causes(t), c.cause)
				return strings.Contains(cause, c.cure)
			})
			c.repair(t)
			h.event(t)
			until(t, "everything is dealt with", func() bool { return h.settled(t) })
			until(t, "ready again", func() bool { return h.worker.get("/readyz") != "" })
		})
	}
	h.worker.noSecrets(t)
	for line := range strings.Lines(h.worker.text()) {
		if strings.Contains(line, `"level":"warn"`) && !advice.MatchString(line) {
			t.Errorf("what is there to do? %s", line)
		}
	}
	sameTags(t, accountOf(h.root, "ttp-admin"), h.bus.announced(t), h.events)
}

// advice is how lines of the log say what to do, or that there is nothing to.
var advice = regexp.MustCompile(`"hint":"|ttp-worker doctor|the stream is full: raise|comes again and adds nothing`)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
