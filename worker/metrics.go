package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ttp-worker/ttp"
)

// Metrics are the worker's counters. Labels have few values whatever
// attackers send.
type Metrics struct {
	Events        *prometheus.CounterVec // by kind and outcome: tagged, untagged, failed
	Tags          *prometheus.CounterVec // by technique and outcome: inserted, duplicate, refused, below_floor, disabled, clipped
	RuleFires     *prometheus.CounterVec // by rule: what rules said, before the floor
	Messages      *prometheus.CounterVec // by outcome: acked, retried, dead_lettered
	DeadLetters   *prometheus.CounterVec // by reason
	Unclaimed     *prometheus.CounterVec // by kind: events no tagger claims
	Published     prometheus.Counter     // announcements taken by the bus
	Redelivered   prometheus.Counter     // messages that had been delivered before
	StoreFailures prometheus.Counter     // attempts to store a batch that failed
	Waiting       prometheus.Gauge       // messages remembered until their attacker has a row
	OutboxRows    prometheus.Gauge
	OutboxAge     prometheus.Gauge // seconds, of the oldest
	BatchMessages prometheus.Histogram
	StageSeconds  *prometheus.HistogramVec // by stage: enrich, tag, anchor, write, publish, settle
	MessageLag    prometheus.Histogram     // seconds from the stream's time of a message to its end
	EventLag      prometheus.Histogram     // seconds from the sensor's time of an event to its end

	techniques, rules bounded
	fires             counters[string]
	outcomes          counters[[2]string] // of events
}

// NewMetrics makes the metrics and registers them with reg, if that is not nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		Events:        counter("ttp_events_total", "Events the taggers looked at, by what they said.", "kind", "outcome"),
		Tags:          counter("ttp_tags_total", "Tags by what became of them.", "technique", "outcome"),
		RuleFires:     counter("ttp_rule_fires_total", "Findings of each rule, those below the floor included.", "rule"),
		Messages:      counter("ttp_messages_total", "Messages by how they ended.", "outcome"),
		DeadLetters:   counter("ttp_dead_letters_total", "Messages that could not be processed.", "reason"),
		Unclaimed:     counter("ttp_events_unclaimed_total", "Events of a kind that no tagger claims.", "kind"),
		Published:     plain("ttp_announcements_published_total", "Announcements taken by the bus."),
		Redelivered:   plain("ttp_messages_redelivered_total", "Messages that had been delivered before."),
		StoreFailures: plain("ttp_store_failures_total", "Attempts to store a batch that failed and were repeated."),
		Waiting:       gauge("ttp_messages_waiting", "Messages that wait for the row of their attacker, as far as this worker knows."),
		OutboxRows:    gauge("ttp_outbox_rows", "Announcements stored and not yet published."),
		OutboxAge:     gauge("ttp_outbox_oldest_seconds", "Age of the oldest announcement not yet published."),
		BatchMessages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ttp_batch_messages", Help: "Messages in a batch.", Buckets: []float64{1, 5, 25, 100, 250, 500, 1000},
		}),
		StageSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ttp_stage_seconds", Help: "Time a batch spends in each stage.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"stage"}),
		MessageLag: newLag("ttp_message_lag_seconds", "Time from when the stream took a message to when it was done with."),
		EventLag:   newLag("ttp_event_lag_seconds", "Time from when the sensor saw an event to when it was done with."),
	}
	for _, reason := range reasons {
		m.DeadLetters.WithLabelValues(reason)
	}
	for _, outcome := range []string{"acked", "retried", "dead_lettered"} {
		m.Messages.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m.Events, m.Tags, m.RuleFires, m.MessageLag, m.EventLag, m.Messages, m.DeadLetters, m.Unclaimed, m.Published, m.Redelivered,
			m.StoreFailures, m.Waiting, m.OutboxRows, m.OutboxAge, m.BatchMessages, m.StageSeconds)
	}
	return m
}

// reasons are those of dead letters. Their counters are there from the start: of
// one that begins with 1, Prometheus sees no increase.
var reasons = []string{"malformed", "malformed-entries", "tagger-failed", "no-anchor", "row-refused", "unknown-attacker", "store-failed"}

// stage notes how long a stage took that began at start, and returns the end.
func (m *Metrics) stage(name string, start time.Time) time.Time {
	now := time.Now()
	m.StageSeconds.WithLabelValues(name).Observe(now.Sub(start).Seconds())
	return now
}

// KindLabel is the kind as a metric's label: producers write kinds, and a
// broken one must not make a series of each.
func KindLabel(kind ttp.Kind) string {
	if kind.Known() {
		return string(kind)
	}
	return "other"
}
