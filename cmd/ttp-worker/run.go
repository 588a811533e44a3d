package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ttp-worker/bus"
	"ttp-worker/sink"
)

type runOptions struct {
	nats, stream, ttpStream, dlqStream, consumer, prefix string

	natsCreds, natsNKey, natsCA, natsCert, natsKey string
	natsTLSFirst                                   bool

	db, embedded, listen, unknownAttacker, logLevel, otlp string
	rules                                                 []string

	provision, migrate, allowAgent bool

	answers answerOptions

	lanes, batchSize, batchBytes, maxAckPending, maxDeliveries, replicas int
	batchWait, ackWait, unknownFor                                       time.Duration

	// renewNATS and renewDB read the addresses again where they stand in
	// files; nil where they don't.
	renewNATS, renewDB func() (string, error)
}

// logLevelFlag can change while the worker runs.
const logLevelFlag = "log-level"

var validLevel = oneOf("debug", "info", "warn", "error")

const defaultNATS = "nats://127.0.0.1:4222"

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Tag events from the bus as they come, store and announce the tags",
		Example: `  ttp-worker run --embedded ./state
  ttp-worker run --nats nats://127.0.0.1:4222 --provision --db mysql://ttp:secret@127.0.0.1:3306/ttp`,
	}
	var s *settings
	s = newSettings(cmd, func(cmd *cobra.Command) error {
		if err := o.complete(s); err != nil {
			return usageError{err}
		}
		return o.run(cmd.Context(), s)
	})
	o.flags(s)
	return cmd
}

// flags are the options of the live worker.
func (o *runOptions) flags(s *settings) {
	o.busFlags(s)
	o.consumerFlags(s)
	o.dbFlag(s)
	s.text(&o.embedded, "embedded", "", "run NATS and SQLite inside this process, with their state in this directory", nil)
	s.flag(&o.provision, "provision", false, "create the streams if they are missing (default with --embedded)")
	s.flag(&o.migrate, "migrate", true, "create or update the tables at the start")
	s.flag(&o.allowAgent, "allow-agent", false, "work on a DECNET agent host, too")
	s.texts(&o.rules, "rules", []string{"builtin"}, "directory of rule files, or builtin (repeatable)")
	o.answers.flags(s)
	s.text(&o.unknownAttacker, "unknown-attacker", "retry", "what becomes of events of attackers without a row: retry or create (default create with --embedded)", oneOf("retry", "create"))
	s.duration(&o.unknownFor, "unknown-attacker-for", 10*time.Minute, "how long such an event waits before it becomes a dead letter")
	s.number(&o.lanes, "lanes", 2, 1, "batches worked on at once")
	s.number(&o.batchSize, "batch-size", 500, 1, "messages in a batch at most")
	s.number(&o.batchBytes, "batch-bytes", 96<<10, 1, "bytes in a batch at most")
	s.duration(&o.batchWait, "batch-wait", 250*time.Millisecond, "how long a batch may take to fill")
	s.number(&o.maxDeliveries, "max-deliveries", 10, 1, "deliveries of a message that fails for a reason of its own before it becomes a dead letter")
	s.text(&o.otlp, "otlp", "", "OpenTelemetry collector that gets a trace of each batch, such as http://127.0.0.1:4318; empty means none", httpURL)
	s.text(&o.logLevel, logLevelFlag, "info", "debug, info, warn or error", validLevel)
}

// busFlags are the options that say where the bus is and what is on it.
func (o *runOptions) busFlags(s *settings) {
	s.address(&o.nats, "nats", defaultNATS, "NATS server; with --embedded the loopback address that its server listens on, or none")
	s.file(&o.natsCreds, "nats-creds", "NATS credentials file (.creds)")
	s.file(&o.natsNKey, "nats-nkey", "file with the seed of an NKEY")
	s.file(&o.natsCA, "nats-ca", "PEM file of the authorities that sign the certificate of NATS, instead of the system's")
	s.file(&o.natsCert, "nats-cert", "PEM file of our certificate for NATS")
	s.file(&o.natsKey, "nats-key", "PEM file of its key")
	s.flag(&o.natsTLSFirst, "nats-tls-first", false, "NATS speaks TLS from the first byte")
	s.text(&o.stream, "stream", "TELEMETRY", "stream the events are in", nil)
	s.text(&o.ttpStream, "ttp-stream", "TTP", "stream the announcements go to", nil)
	s.text(&o.dlqStream, "dlq-stream", "TTP_DLQ", "stream the dead letters go to", nil)
	s.text(&o.consumer, "consumer", "ttp-worker", "durable consumer, shared by all workers", nil)
	s.text(&o.prefix, "subject-prefix", "", "before every subject, with its dot, such as decnet.", nil)
}

// consumerFlags are the options of what is set up on the bus.
func (o *runOptions) consumerFlags(s *settings) {
	s.duration(&o.ackWait, "ack-wait", 30*time.Second, "how long the server waits for word of a message before it delivers it again")
	s.number(&o.maxAckPending, "max-ack-pending", 100_000, 1, "messages in hand and handed back for later, over all workers")
	s.number(&o.replicas, "stream-replicas", 1, 1, "servers of a cluster that keep each stream that is created")
}

// storage says how streams that are created keep what they get.
func (o *runOptions) storage() bus.Storage { return bus.Storage{Replicas: o.replicas} }

// busOptions are the options of the bus, without the consumer's.
func (o *runOptions) busOptions() bus.Options {
	return bus.Options{
		Connection: bus.Connection{
			URL: o.nats, CredsFile: o.natsCreds, NKeyFile: o.natsNKey,
			CAFile: o.natsCA, CertFile: o.natsCert, KeyFile: o.natsKey, TLSImmediate: o.natsTLSFirst,
		},
		Prefix: o.prefix, Telemetry: o.stream, TTP: o.ttpStream, DLQ: o.dlqStream,
	}
}

func (o *runOptions) consumerOptions() bus.Consumer {
	return bus.Consumer{Name: o.consumer, AckWait: o.ackWait, MaxAckPending: o.maxAckPending, Version: version}
}

// dsn is where the database is: by default in the directory of embedded mode.
func (o *runOptions) dsn() string {
	if o.db == "" && o.embedded != "" {
		return "sqlite://" + filepath.Join(o.embedded, "ttp.db")
	}
	return o.db
}

// dbFlag says where the database is.
func (o *runOptions) dbFlag(s *settings) {
	s.address(&o.db, "db", "", "database: mysql://user:pass@host:port/name or sqlite://PATH")
}

// check finds out whether run could start with these options, as far as that
// can be told without connecting to anything.
func (o *runOptions) check(s *settings) error {
	if err := o.complete(s); err != nil {
		return err
	}
	var errs []error
	if o.embedded == "" || o.db != "" {
		if db, err := sink.Open(o.db, sink.Options{}); err != nil {
			errs = append(errs, fmt.Errorf("--db: %w", err))
		} else {
			errs = append(errs, db.Close())
		}
	}
	_, problems, err := loadRules(o.rules)
	errs = append(errs, err)
	for _, p := range problems {
		errs = append(errs, &p)
	}
	return errors.Join(append(errs, o.busOptions().Validate())...)
}

// complete settles what depends on other options.
func (o *runOptions) complete(s *settings) error {
	if err := o.answers.check(); err != nil {
		return err
	}
	if o.embedded == "" {
		if o.db == "" {
			return errors.New("--db is required: mysql://user:pass@host:port/name or sqlite://PATH (or try --embedded DIR)")
		}
		return nil
	}
	if !s.isGiven("provision") {
		o.provision = true
	}
	if !s.isGiven("unknown-attacker") {
		o.unknownAttacker = "create"
	}
	if o.nats != "none" && o.nats != "" {
		o.listen = strings.TrimPrefix(o.nats, "nats://")
	}
	return nil
}

// run works until ctx ends. s is read again on SIGHUP.
func (o *runOptions) run(ctx context.Context, s *settings) error {
	level := zap.NewAtomicLevelAt(levelOf(o.logLevel))
	log := newLog(level)
	defer func() { _ = log.Sync() }() // a terminal can't be synced
	o.renewNATS, o.renewDB = s.renewed("nats"), s.renewed("db")
	limited := o.embedded == "" && os.Getenv("GOMEMLIMIT") == ""
	if limited {
		debug.SetMemoryLimit(softMemory)
	}
	l, err := newLive(ctx, o, log)
	if err != nil {
		return err
	}
	defer l.close()
	if o.answers.http != "" {
		stop, err := l.serve(ctx, &o.answers, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	stopTracing, err := l.trace(ctx, o.otlp, log)
	if err != nil {
		return usageError{fmt.Errorf("--otlp: %w", err)}
	}
	defer stopTracing()
	defer l.observe(ctx)()
	defer l.watchdog(log)()
	defer l.reloadOnHangup(ctx, log, reloads(o, s, l, level))()
	notify(log, daemon.SdNotifyReady)
	if err := l.prepare(ctx, o, log); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if limited {
		makeRoomForRules() // not before, it takes a while
	}
	defer l.answer(ctx, &o.answers, log)()
	log.Info("working", zap.String("version", version), zap.Int("lanes", o.lanes), zap.String("stream", o.stream), zap.String("consumer", o.consumer))
	err = l.work(ctx)
	notify(log, daemon.SdNotifyStopping)
	log.Info("stopped")
	return err
}

func levelOf(name string) zapcore.Level {
	level, _ := zapcore.ParseLevel(name) // checked with the options
	return level
}

// serve answers /healthz, /readyz, /metrics and questions until stop is called.
func (l *live) serve(ctx context.Context, o *answerOptions, log *zap.Logger) (stop func(), err error) {
	mux := http.NewServeMux()
	guard := o.guard()
	mux.Handle("/", l.newHandler(o))
	mux.Handle("GET /metrics", guard.Reader(promhttp.HandlerFor(l.registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", l.healthy)
	mux.HandleFunc("GET /readyz", l.ready)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.http)
	if err != nil {
		return nil, usageError{fmt.Errorf("--http: %w", err)}
	}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	ended := make(chan struct{}) // closed when serving ends
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server ended", zap.Error(err))
		}
	}()
	return func() { _ = server.Close(); <-ended }, nil
}

// healthy says whether the main loop moves. Servers that are away do not stop
// it, see ready.
func (l *live) healthy(w http.ResponseWriter, _ *http.Request) {
	stalled := l.worker.Pulse.Stalled(stallLimit)
	if len(stalled) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	http.Error(w, "no progress for "+stallLimit.String()+": "+strings.Join(stalled, ", "), http.StatusServiceUnavailable)
}

// notReady returns what keeps the worker from working, none if nothing does.
func (l *live) notReady() []string {
	causes := l.worker.Status.NotReady()
	if !l.prepared.Load() {
		causes = append(causes, "worker: starting")
	}
	if trouble := l.bus.Trouble(); trouble != "" {
		causes = append(causes, "nats: "+trouble)
	}
	return causes
}

// ready says whether the worker can work and, if not, why.
func (l *live) ready(w http.ResponseWriter, _ *http.Request) {
	causes := l.notReady()
	w.Header().Set("Content-Type", "application/json")
	if len(causes) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(causes) == 0, "causes": causes}) // the client may have gone
}

func newMigrate() *cobra.Command {
	var dsn string
	cmd := &cobra.Command{
		Use:     "migrate",
		Short:   "Create or update the tables",
		Example: `  ttp-worker migrate --db mysql://ttp:secret@127.0.0.1:3306/ttp`,
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		db, err := sink.Open(dsn, sink.Options{})
		if err != nil {
			return usageError{fmt.Errorf("--db: %w", err)}
		}
		defer db.Close()
		if err := db.Migrate(cmd.Context()); err != nil {
			_, hint := sink.Explain(err)
			return fmt.Errorf("%w (%s)", err, hint)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the tables are up to date")
		return nil
	})
	s.address(&dsn, "db", "", "database: mysql://user:pass@host:port/name or sqlite://PATH")
	return cmd
}
