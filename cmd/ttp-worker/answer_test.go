package main

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ttp-worker/api"
	"ttp-worker/bus"
)

// TestProcess_answers asks a running worker in every way there is.
func TestProcess_answers(t *testing.T) {
	listen := freeAddress(t)
	token := strings.Repeat("r", 32)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "run", "--embedded", t.TempDir(), "--nats", "nats://"+listen, "--http-admin-token", "file:"+file)
	b := connect(t, "nats://"+listen)
	request := func(name, body string) (*nats.Msg, error) {
		return b.Conn().Request("ttp-reads."+name, []byte(body), 5*time.Second)
	}
	until(t, "the bus is asked", func() bool { _, err := request("techniques", ""); return err == nil })

	events, err := http.Get("http://" + p.http + api.Root + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	heard := bufio.NewScanner(events.Body)
	heard.Scan() // it is listening
	b.commands(t, 0, 1)
	for heard.Scan() && !strings.Contains(heard.Text(), `"technique_id":"T1003"`) {
		continue
	}
	if !strings.Contains(heard.Text(), `"excerpt":"cat /etc/shadow"`) {
		t.Errorf("heard last: %.300q", heard.Text())
	}
	for _, q := range [][2]string{{"techniques?min_confidence=0.4", `{"min_confidence":0.4}`}, {"tags?limit=1", `{"limit":"1"}`}, {"rules", ""}} {
		name, _, _ := strings.Cut(q[0], "?")
		overHTTP := p.get(api.Root + q[0])
		onBus, err := request(name, q[1])
		if err != nil || strings.TrimSpace(overHTTP) != string(onBus.Data) || len(onBus.Data) < 100 {
			t.Errorf("%s: over HTTP %.200q, on the bus %.200q, %v", q[0], overHTTP, onBus.Data, err)
		}
		if name == "tags" && onBus.Header.Get(bus.NextHeader) == "" {
			t.Error("the first of more tags does not name the next page")
		}
	}
	if m, err := request("techniques", `{"limit":[1]}`); err != nil || m.Header.Get("Nats-Service-Error-Code") != "422" {
		t.Errorf("a list for a number: %v %v", m.Header, err)
	}
	disable(t, p, token)
	until(t, "the rule is shown as disabled", func() bool { return strings.Contains(p.get(api.Root+"rules"), `"state":"disabled"`) })
	p.end(t, syscall.SIGTERM)
}

// disable turns off a rule over HTTP.
func disable(t *testing.T, p *process, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.http+api.Root+"rules/R1001/state", strings.NewReader(`{"state":"disabled"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("disabling a rule: %s", resp.Status)
	}
}

func TestAnswers_areForTheLoopbackOrForATokenOnly(t *testing.T) {
	for _, c := range []struct {
		options answerOptions
		ok      bool
	}{
		{answerOptions{}, true},
		{answerOptions{http: "127.0.0.1:9464"}, true},
		{answerOptions{http: "[::1]:9464"}, true},
		{answerOptions{http: "localhost:9464"}, true},
		{answerOptions{http: ":9464"}, false},
		{answerOptions{http: "0.0.0.0:9464"}, false},
		{answerOptions{http: "192.0.2.1:9464"}, false},
		{answerOptions{http: "0.0.0.0:9464", httpToken: strings.Repeat("x", 32)}, true},
	} {
		if err := c.options.check(); (err == nil) != c.ok {
			t.Errorf("%s with token %q: %v", c.options.http, c.options.httpToken, err)
		}
	}
}

// TestProcess_demoLeavesThePageOpen looks at the page as a visitor does.
func TestProcess_demoLeavesThePageOpen(t *testing.T) {
	p := start(t, "demo", "--keep", "--embedded", t.TempDir())
	until(t, "the demo is tagged", func() bool { return strings.Contains(p.get(api.Root+"techniques"), `"technique_id":"T1059"`) })
	for path, want := range map[string]string{"/": `<script type="module" src="page/page.js">`, "/page/page.js": "import", "/page/page.css": ":root"} {
		if got := p.get(path); !strings.Contains(got, want) {
			t.Errorf("%s has no %q: %.100q", path, want, got)
		}
	}
	p.end(t, syscall.SIGTERM)
}
