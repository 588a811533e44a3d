package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"ttp-worker/internal/testdb"
)

// operator is a NATS server that trusts JWTs, and who signs them.
type operator struct {
	ns       *server.Server
	resolver *server.MemAccResolver
	operator nkeys.KeyPair
	account  nkeys.KeyPair
	claims   *jwt.AccountClaims
}

func startOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{resolver: new(server.MemAccResolver)}
	o.operator, o.account = pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount)
	trusted := jwt.NewOperatorClaims(public(t, o.operator))
	if _, err := trusted.Encode(o.operator); err != nil {
		t.Fatal(err)
	}
	system := public(t, pair(t, nkeys.CreateAccount))
	o.store(t, jwt.NewAccountClaims(system))
	o.claims = jwt.NewAccountClaims(public(t, o.account))
	o.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	o.store(t, o.claims)
	o.ns = startNATS(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		TrustedOperators: []*jwt.OperatorClaims{trusted}, SystemAccount: system, AccountResolver: o.resolver,
	})
	if !o.ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return o
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	must(t, err)
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	key, err := k.PublicKey()
	must(t, err)
	return key
}

func (o *operator) store(t *testing.T, claims *jwt.AccountClaims) {
	t.Helper()
	token, err := claims.Encode(o.operator)
	must(t, err)
	must(t, o.resolver.Store(claims.Subject, token))
}

// user makes credentials, the contents of a .creds file, and their public key.
func (o *operator) user(t *testing.T) (creds, key string) {
	t.Helper()
	k := pair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public(t, k))
	token, err := claims.Encode(o.account)
	must(t, err)
	seed, err := k.Seed()
	must(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	must(t, err)
	return string(text), claims.Subject
}

// revoke lets a user in no more and ends its connections.
func (o *operator) revoke(t *testing.T, key string) {
	t.Helper()
	o.claims.Revoke(key)
	o.store(t, o.claims)
	account, err := o.ns.LookupAccount(o.claims.Subject)
	must(t, err)
	o.ns.UpdateAccountClaims(account, o.claims)
}

// flow publishes events that yield tags, one every two milliseconds, which a
// worker keeps up with, until it is stopped.
type flow struct {
	sent int // once it has been stopped
	stop func()
}

func startFlow(t *testing.T, b onBus) *flow {
	t.Helper()
	f := new(flow)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; f.sent++ {
			<-tick.C
			event := fmt.Sprintf(`{"payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","decky_id":"flow%d","ts":%q}}`,
				f.sent, time.Now().UTC().Format(time.RFC3339))
			if _, err := b.Publish(context.WithoutCancel(ctx), "attacker.command", []byte(event)); err != nil {
				t.Errorf("event %d: %v", f.sent, err)
				return
			}
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(f.stop)
	return f
}

// TestRotation_underLoad replaces every credential of a worker that has work
// all the time, by a new one of which the old one is revoked, then lets it read
// everything again, several times. No event is lost, none announced twice.
func TestRotation_underLoad(t *testing.T) {
	t.Parallel()
	const renewed = "an0ther-" + password
	nats, root := startOperator(t), testdb.WithAccounts(t)
	testdb.Exec(t, root.String(), "CREATE DATABASE ttp", "CREATE USER 'ttp'@'%' IDENTIFIED BY '"+password+"'", "GRANT ALL ON ttp.* TO 'ttp'@'%'")
	creds, key := nats.user(t)
	admin, _ := nats.user(t)
	credsFile, dsnFile := write(t, "worker.creds", creds), write(t, "dsn", accountOf(root, "ttp"))
	rules := t.TempDir()
	config := write(t, "config.yaml", "log-level: info\n")
	p := start(t, "run", "--config", config, "--nats", nats.ns.ClientURL(), "--nats-creds", credsFile, "--db", "file:"+dsnFile,
		"--rules", "builtin", "--rules", rules, "--provision", "--unknown-attacker=create", "--batch-size=20", "--ack-wait=2s")
	b := connect(t, nats.ns.ClientURL(), natsgo.UserCredentials(write(t, "admin.creds", admin)))
	events := startFlow(t, b)
	work := func(what string) {
		t.Helper()
		before := p.metric("ttp_announcements_published_total")
		until(t, "it works on "+what, func() bool { return p.metric("ttp_announcements_published_total") > before+100 })
	}
	work("as it was started")

	creds, _ = nats.user(t)
	overwrite(t, credsFile, creds)
	nats.revoke(t, key)
	work("with new credentials of NATS, the old ones revoked")

	changed, err := url.Parse(accountOf(root, "ttp"))
	must(t, err)
	changed.User = url.UserPassword("ttp", renewed)
	overwrite(t, dsnFile, changed.String())
	testdb.Exec(t, root.String(), "ALTER USER 'ttp'@'%' IDENTIFIED BY '"+renewed+"'", "KILL USER ttp")
	work("with the new password of the database, the old one revoked")

	for i := range 5 {
		overwrite(t, filepath.Join(rules, "more.yaml"), fmt.Sprintf(moreRules, i+1))
		overwrite(t, config, "log-level: "+[]string{"debug", "info"}[i%2]+"\n")
		must(t, p.Process.Signal(syscall.SIGHUP))
		until(t, "everything is reloaded", func() bool { return p.metric("ttp_reloads_total") == float64(3*(i+1)) })
		work(fmt.Sprintf("after reload %d", i+1))
	}
	if failed := regexp.MustCompile(`ttp_reloads_total\{outcome="failed"[^}]*\} [1-9].*`).FindString(p.get("/metrics")); failed != "" {
		t.Error(failed)
	}
	events.stop()
	until(t, "everything is acknowledged", func() bool { return b.unsettled(t.Context()) == 0 })
	p.noSecrets(t)
	p.end(t, syscall.SIGTERM)
	db := *root
	db.Path = "/ttp"
	sameTags(t, db.String(), b.announced(t), events.sent)
	if n := testdb.Query(t, db.String(), "SELECT COUNT(DISTINCT source_id) FROM ttp_tag")[0]; n != strconv.Itoa(events.sent) {
		t.Errorf("%s of %d events have tags", n, events.sent)
	}
	if n := testdb.Query(t, db.String(), "SELECT COUNT(DISTINCT rule_version) FROM ttp_tag WHERE rule_id = 'MORE'")[0]; n != "5" {
		t.Errorf("%s of 5 versions of the rule were in use", n)
	}
}

// moreRules is a rule file with the version to be filled in.
const moreRules = `title: One more about the file that the events read
id: MORE
version: %d
logsource: {category: command}
detection:
  file: {line|contains: /etc/shadow}
  condition: file
emit:
  - {technique: T1083, confidence: 0.9}
`
