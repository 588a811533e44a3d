package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/failpoint"
	"ttp-worker/internal/servers"
)

// setup says what a fault needs around it.
type setup struct {
	database string   // "mariadb" or "sqlite"
	ownDB    bool     // a MariaDB server of its own, to be ended
	grants   bool     // with accounts
	embedded bool     // NATS and SQLite inside the worker
	cluster  bool     // three NATS servers, every stream on all of them
	workers  int      // 0 means 1
	actors   int      // attackers with a row; 0 means 20
	disk     int      // MiB that the state of embedded servers has; 0 means that of this machine
	rate     int      // events a second; 0 means 100, none that the fault sends its own
	args     []string // more flags of the worker, winning over those below
}

const none = -1

// ackWait is the consumer's: short, so that its passing takes no patience.
const ackWait = 2 * time.Second

// world is one worker or several, their servers, and who watches them.
type world struct {
	setup
	h   *harness
	dir string

	nats      []*servers.Server
	db        *servers.Server // nil with SQLite
	dbName    string
	natsProxy *proxy
	dbProxy   *proxy // nil with SQLite
	workers   []*worker

	nc    *nats.Conn
	js    jetstream.JetStream
	store *store
	gen   *generator
	prod  *producer
	seen  *observer
}

// worker is one ttp-worker process at a time.
type worker struct {
	*servers.Process
	http string
	args []string
	log  string
}

// newWorld starts everything but the workers.
func (h *harness) newWorld(ctx context.Context, s setup, name string, rng *rand.Rand) (*world, error) {
	w := &world{setup: s, h: h, dir: filepath.Join(h.dir, name)}
	if w.actors == 0 {
		w.actors = 20
	}
	if w.rate == 0 {
		w.rate = 100
	}
	w.gen = newGenerator(rng, fmt.Sprintf("%s%x", name[:1], rng.Uint32()), w.actors)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	return w, errors.Join(w.startNATS(ctx), w.startDatabase(ctx))
}

func (w *world) startNATS(ctx context.Context) error {
	n := 1
	if w.cluster {
		n = 3
	}
	members, err := w.members(n)
	if err != nil {
		return err
	}
	for _, s := range members {
		if w.embedded {
			break // the worker brings it
		}
		if err := s.Start(); err != nil {
			return err
		}
	}
	w.nats = members
	if w.natsProxy, err = newProxy(members[0].Addr()); err != nil {
		return err
	}
	w.nc, err = nats.Connect(w.natsURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return err
	}
	if w.js, err = jetstream.New(w.nc); err != nil {
		return err
	}
	w.prod, w.seen = &producer{js: w.js}, newObserver(w.js)
	if w.cluster {
		return w.makeStreams(ctx)
	}
	return nil
}

// members describes n servers that, if there is more than one, are a cluster.
func (w *world) members(n int) (list []*servers.Server, err error) {
	var clients, routes []int
	for range 2 * n {
		p, err := w.h.ports.Next()
		if err != nil {
			return nil, err
		}
		if len(clients) < n {
			clients = append(clients, p)
		} else {
			routes = append(routes, p)
		}
	}
	for i, p := range clients {
		cluster := ""
		if n > 1 {
			cluster = fmt.Sprintf("cluster { name: c, listen: 127.0.0.1:%d, routes: [nats://127.0.0.1:%d, nats://127.0.0.1:%d, nats://127.0.0.1:%d] }\n",
				routes[i], routes[0], routes[1], routes[2])
		}
		s, err := servers.NewNATS(w.h.bin.nats, filepath.Join(w.dir, fmt.Sprintf("nats%d", i)), p, "2m", cluster)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// natsURL names all servers.
func (w *world) natsURL() (urls string) {
	for _, s := range w.nats {
		if urls != "" {
			urls += ","
		}
		urls += "nats://" + s.Addr()
	}
	return urls
}

// makeStreams makes the streams as an operator of a cluster does.
func (w *world) makeStreams(ctx context.Context) error {
	for name, subjects := range map[string][]string{
		"TELEMETRY": {"attacker.>", "identity.*", "credential.reuse.detected", "email.received", "canary.*.*"},
		"TTP":       {"ttp.tagged", "ttp.rule.>"}, "TTP_DLQ": {"ttp.dlq.>"},
	} {
		cfg := jetstream.StreamConfig{Name: name, Subjects: subjects, Replicas: 3, Duplicates: 2 * time.Minute}
		err := servers.Eventually(startWithin, func() error {
			attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := w.js.CreateOrUpdateStream(attempt, cfg)
			return err
		})
		if err != nil {
			return fmt.Errorf("make stream %s: %w", name, err)
		}
	}
	return nil
}

func (w *world) startDatabase(ctx context.Context) (err error) {
	if w.database == sqlite {
		if err := os.MkdirAll(filepath.Dir(w.sqliteFile()), 0o700); err != nil {
			return err
		}
		if w.disk > 0 {
			if err := mountDisk(filepath.Dir(w.sqliteFile()), w.disk); err != nil {
				return err
			}
		}
		if w.store, err = openSQLite(w.sqliteFile()); err != nil {
			return err
		}
	} else if err = w.startMariaDB(); err != nil {
		return err
	}
	migrate, err := servers.Spawn(filepath.Join(w.dir, "migrate.log"), nil, w.h.bin.worker, "migrate", "--db", w.dsn(false))
	if err != nil {
		return err
	}
	if code, err := migrate.Wait(startWithin); err != nil || code != 0 {
		return errors.Join(err, fmt.Errorf("migrate: exit code %d, see %s", code, migrate.Log))
	}
	return w.store.addActors(ctx, w.gen.actors)
}

func (w *world) sqliteFile() string { return filepath.Join(w.dir, "state", "ttp.db") }

func (w *world) startMariaDB() (err error) {
	w.db = w.h.db
	if w.ownDB {
		port, err := w.h.ports.Next()
		if err != nil {
			return err
		}
		if w.db, err = newMariaDB(filepath.Join(w.dir, "mariadb"), port, w.grants); err != nil {
			return err
		}
		if err := w.db.Start(); err != nil {
			return err
		}
		// Killed before its first clean end, it does not come back: its files
		// were never complete.
		if err := w.db.Restart(syscall.SIGTERM, 0); err != nil {
			return err
		}
	}
	w.dbName = "chaos_" + filepath.Base(w.dir)
	if err := w.db.Exec("CREATE DATABASE `" + w.dbName + "`"); err != nil {
		return err
	}
	if w.dbProxy, err = newProxy(w.db.Addr()); err != nil {
		return err
	}
	db, err := w.db.Open("root", w.dbName)
	w.store = &store{db}
	return err
}

// dsn is what the worker is told; through the proxy, if there is one.
func (w *world) dsn(proxied bool) string {
	if w.db == nil {
		return "sqlite://" + w.sqliteFile()
	}
	user, host := "root", w.db.Addr()
	if w.grants && proxied {
		user = "ttp"
	}
	if proxied {
		host = w.dbProxy.addr()
	}
	u := url.URL{Scheme: "mysql", User: url.User(user), Host: host, Path: "/" + w.dbName}
	return u.String()
}

// startWorkers starts as many as the setup says.
func (w *world) startWorkers() error {
	for range max(w.setup.workers, 1) {
		if err := w.addWorker(""); err != nil {
			return err
		}
	}
	return nil
}

// addWorker starts one more worker, with a fail-point if that is not "".
func (w *world) addWorker(point string) error {
	port, err := w.h.ports.Next()
	if err != nil {
		return err
	}
	k := &worker{http: fmt.Sprintf("127.0.0.1:%d", port), log: filepath.Join(w.dir, fmt.Sprintf("worker%d.log", len(w.workers)))}
	k.args = append([]string{
		"run", "--http", k.http, "--ack-wait", ackWait.String(), "--batch-size", "50", "--batch-wait", "50ms", "--unknown-attacker", "retry",
	}, ruleFlags(w.h.rules)...)
	switch {
	case w.embedded:
		k.args = append(k.args, "--embedded", filepath.Dir(w.sqliteFile()), "--nats", w.nats[0].Addr())
	case w.cluster:
		k.args = append(k.args, "--nats", w.natsURL(), "--db", w.dsn(true))
	default:
		k.args = append(k.args, "--nats", "nats://"+w.natsProxy.addr(), "--db", w.dsn(true), "--provision")
	}
	k.args = append(k.args, w.args...)
	w.workers = append(w.workers, k)
	return w.rerun(k, point)
}

// rerun starts k, which has ended or was never started.
func (w *world) rerun(k *worker, point string) (err error) {
	var env []string
	if point != "" {
		env = []string{failpoint.Variable + "=" + point}
	}
	k.Process, err = servers.Spawn(k.log, env, w.h.bin.worker, k.args...)
	return err
}

// close ends everything at once.
func (w *world) close() error {
	var errs []error
	for _, k := range w.workers {
		if k.Process != nil {
			errs = append(errs, k.Kill())
		}
	}
	for _, s := range w.nats {
		if s.Process != nil {
			errs = append(errs, s.Kill())
		}
	}
	if w.nc != nil {
		w.nc.Close()
	}
	for _, p := range []*proxy{w.natsProxy, w.dbProxy} {
		if p != nil {
			p.close()
		}
	}
	if w.store != nil {
		errs = append(errs, w.store.db.Close())
	}
	if w.ownDB && w.db != nil && w.db.Process != nil {
		errs = append(errs, w.db.Kill())
	}
	if w.disk > 0 {
		errs = append(errs, unmount(filepath.Dir(w.sqliteFile())))
	}
	return errors.Join(errs...)
}
