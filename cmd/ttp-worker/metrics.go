package main

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are those of the process around the worker.
type metrics struct {
	reloads    *prometheus.CounterVec // by what and outcome: ok, failed
	lastReload *prometheus.GaugeVec   // by what: when it last succeeded, in seconds since 1970
	rules      prometheus.Gauge       // that work
	ruleFaults prometheus.Gauge       // in their files
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ttp_reloads_total", Help: "Reloads on SIGHUP, by what was read again and how that ended.",
		}, []string{"what", "outcome"}),
		lastReload: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ttp_reload_success_timestamp_seconds", Help: "When the last reload that succeeded did.",
		}, []string{"what"}),
	}
	m.rules = prometheus.NewGauge(prometheus.GaugeOpts{Name: "ttp_rules", Help: "Rules that work."})
	m.ruleFaults = prometheus.NewGauge(prometheus.GaugeOpts{Name: "ttp_rule_faults", Help: "Faults in rule files; see the log or rules lint."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ttp_build_info", Help: "Always 1; its labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision(), "go": runtime.Version()},
	})
	build.Set(1)
	for _, what := range []string{reloadRules, reloadLevel, reloadCredentials} { // an alert sees no increase of what was not there
		m.reloads.WithLabelValues(what, "ok")
		m.reloads.WithLabelValues(what, "failed")
	}
	reg.MustRegister(m.reloads, m.lastReload, m.rules, m.ruleFaults, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) loaded(rules, faults int) {
	m.rules.Set(float64(rules))
	m.ruleFaults.Set(float64(faults))
}

func (m *metrics) reloaded(what string, err error) {
	if err != nil {
		m.reloads.WithLabelValues(what, "failed").Inc()
		return
	}
	m.reloads.WithLabelValues(what, "ok").Inc()
	m.lastReload.WithLabelValues(what).SetToCurrentTime()
}

// commit is the revision of the sources, set by the linker.
var commit string

// revision is the commit the program was built from, "unknown" outside of git.
func revision() string {
	if commit != "" {
		return commit
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
