package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ttp-worker/api"
	"ttp-worker/bus"
	"ttp-worker/intake"
	"ttp-worker/internal/embedded"
	"ttp-worker/ruleset"
	"ttp-worker/sink"
	"ttp-worker/tagger"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
	"ttp-worker/worker"
)

// live is everything that run and demo set up: the bus, the database and the
// worker between them.
type live struct {
	server   *embedded.Server // nil unless embedded
	bus      *bus.Bus
	db       *sink.DB
	worker   *worker.Worker
	rules    *ruleset.Live
	registry *prometheus.Registry
	metrics  *metrics
	feed     *api.Feed // nil without HTTP
	service  *api.Service
	prepared atomic.Bool

	credentials credentials // that the bus was connected with
}

// newLive wires what o describes. Servers that are away are no error.
func newLive(ctx context.Context, o *runOptions, log *zap.Logger) (l *live, err error) {
	l = &live{registry: prometheus.NewRegistry()}
	l.metrics = newMetrics(l.registry)
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	sources, err := ruleSources(o.rules)
	if err != nil {
		return l, err
	}
	if err := l.connect(o, log); err != nil {
		return l, err
	}
	counts, publisher := worker.NewMetrics(l.registry), l.bus.NewPublisher()
	if err := l.loadRules(sources, publisher, counts, log); err != nil {
		return l, err
	}
	l.service = l.newService(log)
	l.worker = &worker.Worker{
		Resolver:  intake.NewResolver(l.db, o.unknownAttacker == "create"),
		Tagger:    l.rules,
		Sink:      l.db,
		Publisher: publisher,
		Log:       log.Named("worker"),
		Metrics:   counts,
		Status:    new(worker.Status),
		Pulse:     new(worker.Pulse),
		Explain:   sink.Explain,
		AckWait:   o.ackWait, UnknownFor: o.unknownFor, MaxDeliveries: o.maxDeliveries,
	}
	for i := range o.lanes {
		l.worker.Sources = append(l.worker.Sources, l.bus.NewSource(bus.Batch{
			Size: o.batchSize, Bytes: o.batchBytes, Wait: o.batchWait,
			Waiting: func() { l.worker.Pulse.Beat(worker.LaneName(i)) },
		}))
	}
	return l, nil
}

// loadRules reads the rules and makes the tagger that follows them.
func (l *live) loadRules(sources []ruleset.Source, publisher *bus.Publisher, metrics *worker.Metrics, log *zap.Logger) (err error) {
	l.rules, err = ruleset.New(ruleset.Options{
		Sources: sources,
		Rules:   ruleOptions(),
		Build: func(set *rule.Set) (tagger.Tagger, error) {
			c, err := newTagger(set, log.Named("tagger"))
			if err != nil {
				return nil, err
			}
			c.Unclaimed = func(kind ttp.Kind) { metrics.Unclaimed.WithLabelValues(worker.KindLabel(kind)).Inc() }
			return c, nil
		},
		States:     l.db,
		Explain:    sink.Explain,
		Notifier:   publisher,
		Suppressed: func(ruleID, technique, reason string) { l.worker.Suppress(ruleID, technique, reason) },
		Loaded:     l.metrics.loaded,
		Log:        log.Named("rules"),
	})
	return err
}

// work runs the worker until ctx ends and it has finished; meanwhile the rules
// are followed.
func (l *live) work(ctx context.Context) error {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var rules sync.WaitGroup
	rules.Go(func() { l.rules.Run(following) })
	err := l.worker.Run(ctx)
	stop()
	rules.Wait()
	return err
}

// connect opens the bus and the database, embedded or elsewhere.
func (l *live) connect(o *runOptions, log *zap.Logger) (err error) {
	options := o.busOptions()
	options.Connection.Renew = o.renewNATS
	if o.embedded != "" {
		if err := os.MkdirAll(o.embedded, 0o700); err != nil {
			return fmt.Errorf("make the directory of the state: %w", err)
		}
		l.server, err = embedded.Start(embedded.Options{Dir: filepath.Join(o.embedded, "nats"), Listen: o.listen, Log: log.Named("nats")})
		if err != nil {
			return err
		}
		log.Named("nats").Info("NATS server started", zap.String("listens", cmp.Or(l.server.URL(), "nowhere")))
		options.Connection, options.Together = bus.Connection{InProcess: l.server}, true
	}
	options.Consumer = o.consumerOptions()
	l.credentials, _ = o.natsCredentials() // what cannot be read is the bus's to say
	l.bus, err = bus.Connect(options, log.Named("bus"))
	if err != nil {
		return usageError{err}
	}
	l.db, err = sink.Open(o.dsn(), sink.Options{Announce: true, Log: log.Named("sink"), Renew: o.renewDB})
	if err != nil {
		return usageError{fmt.Errorf("--db: %w", err)}
	}
	return nil
}

// prepare makes the streams, the consumer and the tables, and waits for
// servers that are away for as long as it takes.
func (l *live) prepare(ctx context.Context, o *runOptions, log *zap.Logger) error {
	defer l.worker.Pulse.End(starting)
	if o.migrate {
		if err := l.insist(ctx, "database", log, l.db.Migrate); err != nil {
			return err
		}
	}
	if err := l.insist(ctx, "database", log, l.rules.LoadStates); err != nil {
		return err
	}
	err := l.insist(ctx, "nats", log, func(ctx context.Context) error {
		if err := l.bus.Reach(ctx); err != nil {
			return err
		}
		if o.provision {
			if err := l.bus.Provision(ctx, o.storage()); err != nil {
				return err
			}
		}
		return l.bus.EnsureConsumer(ctx)
	})
	l.prepared.Store(err == nil)
	return err
}

// starting is what the start is called in the worker's pulse.
const starting = "start"

// insist repeats what a server that is away or not set up yet makes fail. What
// was set up otherwise than this program can use needs the operator.
func (l *live) insist(ctx context.Context, part string, log *zap.Logger, step func(context.Context) error) error {
	const every, logEvery = time.Second, 15
	status := l.worker.Status
	for n := 0; ; n++ {
		l.worker.Pulse.Beat(starting)
		attempt, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := step(attempt)
		cancel()
		if err == nil {
			status.Clear(part)
			return nil
		}
		if errors.As(err, new(*bus.DriftError)) {
			return err
		}
		hint := hintFor(part, err)
		if l.bus.Connected() || part == "database" { // that the bus is not is said anyway, see notReady
			status.Trouble(part, part+": "+withHint(err, hint).Error())
		}
		if n%logEvery == 0 {
			log.Warn("cannot start working yet, will be tried again", zap.String("part", part), zap.Error(err), zap.String("hint", hint))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// hintFor is what the operator can do about an error of a part; "" if the error
// says so itself.
func hintFor(part string, err error) (hint string) {
	if part == "database" {
		_, hint = sink.Explain(err)
		return hint
	}
	return bus.Explain(err)
}

func (l *live) close() {
	if l.bus != nil {
		l.bus.Close()
	}
	if l.server != nil {
		l.server.Stop()
	}
	if l.db != nil {
		_ = l.db.Close() // nothing is under way any more
	}
}
