package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"ttp-worker/internal/testdb"
)

// authority signs certificates of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.cert = template
	a.cert = a.sign(t, "ca", template, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes NAME.pem and NAME.key for somebody at 127.0.0.1.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	return a.issueUntil(t, name, time.Now().Add(time.Hour))
}

func (a *authority) issueUntil(t *testing.T, name string, end time.Time) (cert, key string) {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	a.sign(t, name, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: end,
	}, newKey(t))
	return a.file(name + ".pem"), a.file(name + ".key")
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) sign(t *testing.T, name string, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// mutualTLS makes a NATS server ask for certificates of a.
func (a *authority) mutualTLS(t *testing.T, o *server.Options) {
	t.Helper()
	a.serve(t, o, time.Now().Add(time.Hour))
}

// serve is mutualTLS with a certificate of the server that ends then.
func (a *authority) serve(t *testing.T, o *server.Options, end time.Time) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.issueUntil(t, "nats", end))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	o.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	o.TLS, o.TLSTimeout = true, 5
}

func TestDoctor_mutualTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	_, natsOf := deployedNATS(t, func(o *server.Options) { a.mutualTLS(t, o) })
	serverCert, serverKey := a.issue(t, "mariadb")
	root := testdb.WithAccounts(t, "--ssl-ca="+a.file("ca.pem"), "--ssl-cert="+serverCert, "--ssl-key="+serverKey)
	testdb.Exec(t, root.String(), "CREATE DATABASE ttp", "CREATE USER 'ttp'@'%' IDENTIFIED BY '"+password+"' REQUIRE X509", "GRANT ALL ON ttp.* TO 'ttp'@'%'")
	cert, key := a.issue(t, "worker")
	dsn := accountOf(root, "ttp") + "?ssl-ca=" + a.file("ca.pem")
	mutual := []string{"--nats", natsOf("admin"), "--nats-ca", a.file("ca.pem"), "--nats-cert", cert, "--nats-key", key, "--db", dsn + "&ssl-cert=" + cert + "&ssl-key=" + key}
	for _, command := range []string{"provision", "migrate", "doctor"} {
		args := mutual
		switch command {
		case "provision":
			args = args[:8]
		case "migrate":
			args = args[8:]
		}
		if out, err := execute(t, append([]string{command}, args...)...); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	for name, args := range map[string][]string{
		"no certificates":    {"--nats", natsOf("admin"), "--nats-ca", a.file("ca.pem"), "--db", dsn},
		"unknown authority":  {"--nats", natsOf("admin"), "--db", accountOf(root, "ttp") + "?tls=true"},
		"no TLS to MySQL":    {"--nats", natsOf("admin"), "--nats-ca", a.file("ca.pem"), "--db", accountOf(root, "ttp")},
		"somebody else's CA": {"--nats", natsOf("admin"), "--nats-ca", newAuthority(t).file("ca.pem"), "--db", dsn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := execute(t, append([]string{"doctor"}, args...)...)
			if err == nil || !strings.Contains(out, "BAD  nats") || !strings.Contains(out, "BAD  database") {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(out, password) {
				t.Errorf("the password is in\n%s", out)
			}
		})
	}
}

// TestBadHour_certificates wants the worker, which waits, and doctor to say
// what is wrong with whose certificate.
func TestBadHour_certificates(t *testing.T) {
	t.Parallel()
	over, valid := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		server, client time.Time
		nats, database string // what to say
	}{
		"the servers' have expired": {
			over, valid,
			"certificate has expired .*renew it, or name the authority that signs it with --nats-ca",
			"certificate has expired .*TLS options of --db are right and the certificates valid",
		},
		"ours has expired": {
			valid, over,
			"tls.*renew or correct --nats-cert and --nats-key",
			"TLS options of --db are right and the certificates valid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			_, natsOf := deployedNATS(t, func(o *server.Options) { a.serve(t, o, c.server) })
			serverCert, serverKey := a.issueUntil(t, "mariadb", c.server)
			root := testdb.WithAccounts(t, "--ssl-ca="+a.file("ca.pem"), "--ssl-cert="+serverCert, "--ssl-key="+serverKey)
			testdb.Exec(t, root.String(), "CREATE DATABASE ttp", "CREATE USER 'ttp'@'%' IDENTIFIED BY '"+password+"' REQUIRE X509", "GRANT ALL ON ttp.* TO 'ttp'@'%'")
			cert, key := a.issueUntil(t, "worker", c.client)
			options := []string{
				"--nats", natsOf("admin"), "--nats-ca", a.file("ca.pem"), "--nats-cert", cert, "--nats-key", key,
				"--db", accountOf(root, "ttp") + "?ssl-ca=" + a.file("ca.pem") + "&ssl-cert=" + cert + "&ssl-key=" + key,
			}
			p := startUnready(t, append([]string{"run"}, options...)...)
			for _, want := range []string{c.nats, c.database} {
				until(t, want, func() bool { return regexp.MustCompile(want).MatchString(p.causes(t)) })
			}
			p.noSecrets(t)
			if out, err := execute(t, append([]string{"doctor"}, options...)...); err == nil || strings.Contains(out, password) {
				t.Errorf("doctor: %v\n%s", err, out)
			}
		})
	}
}

// TestReload_rotatedCredentials replaces password and seed while the worker
// runs. The server then refuses the old ones.
func TestReload_rotatedCredentials(t *testing.T) {
	t.Parallel()
	t.Run("NKEY", func(t *testing.T) {
		t.Parallel()
		oldSeed, oldKey := newNKey(t)
		newSeed, newKey := newNKey(t)
		seed := write(t, "seed", oldSeed)
		rotate(t, []*server.NkeyUser{{Nkey: oldKey}}, []*server.NkeyUser{{Nkey: newKey}}, nil, nil,
			[]string{"--nats-nkey", seed}, func() { overwrite(t, seed, newSeed) })
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		file := write(t, "url", "")
		rotate(t, nil, nil, []*server.User{{Username: "w", Password: "old"}}, []*server.User{{Username: "w", Password: password}},
			[]string{"--nats", "file:" + file}, func() {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				overwrite(t, file, strings.Replace(string(text), "w:old@", "w:"+password+"@", 1))
			})
	})
}

func newNKey(t *testing.T) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return string(text), public
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotate runs a worker against a server with the accounts before, puts the
// accounts after in their place and lets replace bring the worker's files up
// to date. Events before and after must be tagged.
func rotate(t *testing.T, nkeysBefore, nkeysAfter []*server.NkeyUser, before, after []*server.User, args []string, replace func()) {
	admin := &server.User{Username: "admin", Password: password}
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Nkeys: nkeysBefore, Users: append(before, admin),
	}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	if file, ok := strings.CutPrefix(args[1], "file:"); ok {
		overwrite(t, file, strings.Replace(ns.ClientURL(), "://", "://w:old@", 1))
	} else {
		args = append(args, "--nats", ns.ClientURL())
	}
	p := start(t, append([]string{"run", "--provision", "--unknown-attacker=create", "--db", testdb.SQLite(t)}, args...)...)
	_, js := clientOf(t, strings.Replace(ns.ClientURL(), "://", "://admin:"+password+"@", 1))
	tagged := func(id, second string, want float64) {
		t.Helper()
		event := strings.NewReplacer("%", id, "22:48", second).Replace(shadow)
		if _, err := js.Publish(t.Context(), "attacker.command", []byte(event)); err != nil {
			t.Fatal(err)
		}
		until(t, "event "+id+" is tagged", func() bool { return p.metric("ttp_announcements_published_total") == want })
	}
	tagged("1", "22:48", 1)

	reloaded := *o
	reloaded.Nkeys, reloaded.Users = nkeysAfter, append(after, admin)
	if err := ns.ReloadOptions(&reloaded); err != nil {
		t.Fatal(err)
	}
	replace()
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	tagged("2", "23:00", 2)
	p.noSecrets(t)
	p.end(t, syscall.SIGTERM)
}
