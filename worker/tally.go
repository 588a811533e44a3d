package worker

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ttp-worker/ttp"
)

// tally is what became of the tags of a batch, by technique.
type tally map[string]outcomes

type outcomes struct{ inserted, duplicate, refused int }

// tallyOf counts the tags that arrived. Those that are neither new nor refused
// were there already.
func tallyOf(arrived []ttp.Tagged, written ttp.Written) tally {
	t := make(tally)
	for i := range arrived {
		t.each(arrived[i].Tags, func(o *outcomes) { o.duplicate++ })
	}
	for i := range written.Fresh {
		t.each(written.Fresh[i].Tags, func(o *outcomes) { o.inserted++; o.duplicate-- })
	}
	for i := range written.Refused {
		t.each([]ttp.Tag{written.Refused[i].Tag}, func(o *outcomes) { o.refused++; o.duplicate-- })
	}
	return t
}

func (t tally) each(tags []ttp.Tag, count func(*outcomes)) {
	for i := range tags {
		technique := techniqueOf(&tags[i].Finding)
		o := t[technique]
		count(&o)
		t[technique] = o
	}
}

// add counts another batch, too.
func (t tally) add(other tally) {
	for technique, o := range other {
		sum := t[technique]
		sum.inserted += o.inserted
		sum.duplicate += o.duplicate
		sum.refused += o.refused
		t[technique] = sum
	}
}

// techniqueOf is the technique as precisely as the rule names it.
func techniqueOf(f *ttp.Finding) string { return cmp.Or(f.SubTechnique, f.Technique) }

// counted notes the tags of a batch that was stored.
func (m *Metrics) counted(t tally) {
	for technique, o := range t {
		label := m.techniques.label(technique)
		m.tags(label, "inserted", o.inserted)
		m.tags(label, "duplicate", o.duplicate)
		m.tags(label, "refused", o.refused)
	}
}

// tags makes no series of what never happened.
func (m *Metrics) tags(technique, outcome string, n int) {
	if n > 0 {
		m.Tags.WithLabelValues(technique, outcome).Add(float64(n))
	}
}

// tagged notes what the taggers said about an event.
func (m *Metrics) tagged(kind ttp.Kind, findings []ttp.Finding, err error) {
	outcome := "untagged"
	if err != nil {
		outcome = "failed"
	}
	for i := range findings {
		f := &findings[i]
		m.fires.of(f.RuleID, m.firesOf).Inc()
		if f.Confidence < ttp.MinConfidence {
			m.tags(m.techniques.label(techniqueOf(f)), "below_floor", 1)
			continue
		}
		outcome = "tagged"
	}
	m.outcomes.of([2]string{KindLabel(kind), outcome}, m.eventsOf).Inc()
}

func (m *Metrics) firesOf(rule string) prometheus.Counter {
	return m.RuleFires.WithLabelValues(m.rules.label(rule))
}

func (m *Metrics) eventsOf(labels [2]string) prometheus.Counter {
	return m.Events.WithLabelValues(labels[0], labels[1])
}

// counters remember the counters that are asked for once an event or more: a
// look-up by label costs as much as matching a rule. They are bounded and safe
// for concurrent use.
type counters[K comparable] struct {
	mu    sync.RWMutex // guards known
	known map[K]prometheus.Counter
}

// of returns the counter of key, which is looked up if it is not remembered.
func (c *counters[K]) of(key K, lookUp func(K) prometheus.Counter) prometheus.Counter {
	c.mu.RLock()
	known, ok := c.known[key]
	c.mu.RUnlock()
	if ok {
		return known
	}
	found := lookUp(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[K]prometheus.Counter)
	}
	if len(c.known) < maxLabels {
		c.known[key] = found
	}
	return found
}

// lagged notes how late a message that is done with is.
func (m *Metrics) lagged(it *item, now time.Time) {
	if at := it.delivery.Meta().At; !at.IsZero() {
		m.MessageLag.Observe(max(0, now.Sub(at)).Seconds())
	}
	if it.message == nil {
		return
	}
	for _, ev := range it.message.Events {
		if !ev.At.IsZero() {
			m.EventLag.Observe(max(0, now.Sub(ev.At)).Seconds())
		}
	}
}

// maxLabels bounds the values of a label that rule files choose. The built-in
// rules have fewer than 300 of either, the catalogue has 900 techniques.
const maxLabels = 2000

// bounded lets so many values of a label through and calls the others other.
// It is safe for concurrent use.
type bounded struct {
	mu   sync.RWMutex // guards seen
	seen map[string]bool
}

func (b *bounded) label(value string) string {
	b.mu.RLock()
	known, full := b.seen[value], len(b.seen) >= maxLabels
	b.mu.RUnlock()
	switch {
	case known:
		return value
	case full:
		return "other"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	b.seen[value] = true
	return value
}

// lagBuckets reach from one pull to a night's outage.
var lagBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}

func newLag(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: lagBuckets})
}
