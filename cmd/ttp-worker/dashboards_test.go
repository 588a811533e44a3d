package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ttp-worker/internal/testdb"
)

// TestDashboards_askForMetricsThatExist holds the alert rules and the dashboard
// against what a worker registers, and the alerts against the runbook.
func TestDashboards_askForMetricsThatExist(t *testing.T) {
	o, _, err := readRun(t, "--db", testdb.SQLite(t), "--nats", "nats://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLive(t.Context(), o, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	l.observed()
	known := described(t, l)
	metric := regexp.MustCompile(`\bttp_[a-z_]+`)
	for _, file := range []string{"../../deploy/prometheus/alerts.yaml", "../../deploy/grafana/ttp-worker.json", "../../docs/operate.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !known[name] && !known[base] && !tables[name] {
				t.Errorf("%s: no metric %s", file, name)
			}
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
	}
}

// tables are named like metrics.
var tables = map[string]bool{"ttp_tag": true, "ttp_outbox": true, "ttp_rule_state": true, "ttp_schema_version": true}

// described returns the names of all metrics, whether or not they have values.
func described(t *testing.T, l *live) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for d := range descriptions(l) {
		name, _, _ := strings.Cut(strings.TrimPrefix(d, `Desc{fqName: "`), `"`)
		names[name] = true
	}
	if len(names) < 20 {
		t.Fatalf("only %d metrics", len(names))
	}
	return names
}

func descriptions(l *live) map[string]bool {
	all := make(map[string]bool)
	ch := make(chan *prometheus.Desc)
	go func() { l.registry.Describe(ch); close(ch) }()
	for d := range ch {
		all[d.String()] = true
	}
	return all
}

// TestAlerts_nameTheRunbook follows the links into docs/operate.md.
func TestAlerts_nameTheRunbook(t *testing.T) {
	alerts, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]bool)
	for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(runbook), -1) {
		headings[strings.ReplaceAll(strings.ToLower(h[1]), " ", "-")] = true
	}
	links := regexp.MustCompile(`runbook: docs/operate.md#(\S+)`).FindAllStringSubmatch(string(alerts), -1)
	if len(links) != strings.Count(string(alerts), "- alert:") {
		t.Errorf("%d links", len(links))
	}
	for _, link := range links {
		if !headings[link[1]] {
			t.Errorf("no section for #%s", link[1])
		}
	}
}
