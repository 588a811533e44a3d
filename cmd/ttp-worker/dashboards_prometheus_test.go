//go:build prometheus

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ttp-worker/internal/servers"
)

// promServer is a Prometheus that scrapes a worker as deploy/prometheus says.
type promServer struct{ url string }

func startPrometheus(t *testing.T, worker string) *promServer {
	t.Helper()
	scrape, err := os.ReadFile("../../deploy/prometheus/scrape.yaml")
	must(t, err)
	alerts, err := filepath.Abs("../../deploy/prometheus/alerts.yaml")
	must(t, err)
	dir, listen := t.TempDir(), freeAddress(t)
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n%s",
		alerts, strings.ReplaceAll(string(scrape), "127.0.0.1:9464", worker))
	overwrite(t, filepath.Join(dir, "prometheus.yml"), config)
	p, err := servers.Spawn(filepath.Join(dir, "log"), nil, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen)
	must(t, err)
	t.Cleanup(func() { must(t, p.Kill()) })
	return &promServer{url: "http://" + listen}
}

// ask reads an answer of the API into v and reports whether there was one.
func (p *promServer) ask(t *testing.T, path string, v any) bool {
	t.Helper()
	status, body, err := httpGet(p.url + path)
	if err != nil || status != http.StatusOK {
		return false
	}
	return json.Unmarshal([]byte(body), &struct {
		Data any `json:"data"`
	}{v}) == nil
}

// values returns what an expression comes to now, series by series.
func (p *promServer) values(t *testing.T, expr string) (values []string) {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if !p.ask(t, "/api/v1/query?query="+url.QueryEscape(expr), &data) {
		return nil
	}
	for _, series := range data.Result {
		values = append(values, fmt.Sprint(series.Value[1]))
	}
	return values
}

// panel is one picture of the dashboard; rows have none of their own.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel
}

func panels(t *testing.T) (list []panel) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/ttp-worker.json")
	must(t, err)
	var board struct{ Panels []panel }
	must(t, json.Unmarshal(text, &board))
	for _, p := range board.Panels {
		list = append(append(list, p), p.Panels...)
	}
	return list
}

// TestDashboard_onPrometheus draws every panel of the dashboard from a worker
// that has work, and lets Prometheus evaluate the alert rules.
func TestDashboard_onPrometheus(t *testing.T) {
	addr := freeAddress(t)
	worker := start(t, "run", "--embedded", t.TempDir(), "--nats", "nats://"+addr)
	p := startPrometheus(t, worker.http)
	b := connect(t, "nats://"+addr)
	until(t, "it is scraped", func() bool { return len(p.values(t, `up{job="ttp-worker"} == 1`)) == 1 })
	startFlow(t, b)
	if _, err := b.Publish(t.Context(), "attacker.command", []byte("no envelope")); err != nil {
		t.Fatal(err)
	}
	drawn := 0
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$instance", ".+", "$__rate_interval", "10s").Replace(target.Expr)
			until(t, panel.Title+": "+expr, func() bool {
				values := p.values(t, expr)
				return len(values) > 0 && !strings.Contains(strings.Join(values, " "), "NaN")
			})
			drawn++
		}
	}
	if drawn < 30 {
		t.Errorf("only %d expressions", drawn)
	}
	until(t, "the alert of a dead letter", func() bool { return len(p.values(t, `ALERTS{alertname="TTPDeadLetters",alertstate="firing"}`)) == 1 })
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if !p.ask(t, "/api/v1/rules", &rules) || len(rules.Groups) == 0 {
		t.Fatal("no alert rules")
	}
	for _, rule := range rules.Groups[0].Rules {
		if rule.Health != "ok" {
			t.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
		}
	}
	if others := p.values(t, `ALERTS{alertname!="TTPDeadLetters",alertstate="firing"}`); len(others) > 0 {
		t.Errorf("%d alerts without a reason", len(others))
	}
}
