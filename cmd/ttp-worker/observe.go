package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// observeEvery is how often the server is asked about the consumer.
const observeEvery = 5 * time.Second

// observed are measurements of what is outside the process.
type observed struct {
	pending, unacked, redelivered prometheus.Gauge
}

// observed registers them, and those that are read off l when they are asked for.
func (l *live) observed() *observed {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	o := &observed{
		pending:     gauge("ttp_consumer_pending", "Messages of the stream that no worker has seen yet."),
		unacked:     gauge("ttp_consumer_unacked", "Messages that workers have in hand or have handed back for later."),
		redelivered: gauge("ttp_consumer_redelivered", "Of those the ones that were delivered more than once."),
	}
	read := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	l.registry.MustRegister(o.pending, o.unacked, o.redelivered,
		read("ttp_ready", "1 if the worker can work, else 0; /readyz says why.", func() float64 { return zeroOr(len(l.notReady()) == 0) }),
		read("ttp_lanes_stalled", "Parts of the main loop that have made no step for a minute.", func() float64 {
			return float64(len(l.worker.Pulse.Stalled(stallLimit)))
		}),
		read("ttp_nats_connected", "1 if there is a connection to NATS, else 0.", func() float64 { return zeroOr(l.bus.Connected()) }),
		read("ttp_db_connections_open", "Connections to the database.", func() float64 { return float64(l.db.Pool().Open) }),
		read("ttp_db_connections_in_use", "Connections to the database that are in use.", func() float64 { return float64(l.db.Pool().InUse) }),
		read("ttp_db_connections_max", "Connections to the database at most.", func() float64 { return float64(l.db.Pool().Limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ttp_db_connection_wait_seconds_total", Help: "Time spent waiting for a free connection to the database.",
		}, func() float64 { return l.db.Pool().Waited.Seconds() }))
	return o
}

func zeroOr(one bool) float64 {
	if one {
		return 1
	}
	return 0
}

// observe asks the server about the consumer now and then, until stop is
// called. While there is no answer the last one stands.
func (l *live) observe(ctx context.Context) (stop func()) {
	o := l.observed()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{}) // closed by the goroutine
	go func() {
		defer close(ended)
		ticker := time.NewTicker(observeEvery)
		defer ticker.Stop()
		for {
			if backlog, err := l.bus.Backlog(ctx); err == nil {
				o.pending.Set(float64(backlog.Pending))
				o.unacked.Set(float64(backlog.Unacked))
				o.redelivered.Set(float64(backlog.Redelivered))
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { cancel(); <-ended }
}
