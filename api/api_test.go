package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ttp-worker/api"
	"ttp-worker/internal/testdb"
	"ttp-worker/navigator"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

const (
	identity = "11111111-1111-4111-8111-111111111111"
	attacker = "22222222-2222-4222-8222-222222222222"
	campaign = "33333333-3333-4333-8333-333333333333"
	hostile  = "<script>alert(1)</script>]]>\u202e'\"\x00\x1b[2J"
)

// storage is a database with a few tags: current, revoked, of ICS, unknown.
func storage(t *testing.T) *sink.DB {
	t.Helper()
	db, err := sink.Open(testdb.SQLite(t), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	steps := []error{
		db.Migrate(t.Context()),
		db.CreateIdentities(t.Context(), []string{identity}),
		db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: "198.51.100.7", IdentityUUID: identity}}),
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	ev := &ttp.Event{Kind: ttp.Command, SourceID: "1", AttackerUUID: attacker, SessionID: "s/1", DeckyID: "web"}
	var tags []ttp.Tag
	for i, f := range []ttp.Finding{
		{Claim: &ttp.Claim{Tactic: "TA0002", Technique: "T1059", SubTechnique: "T1059.004"}},
		{Claim: &ttp.Claim{Tactic: "TA0007", Technique: "T1083"}},
		{Claim: &ttp.Claim{Tactic: "TA0005", Technique: "T1562", SubTechnique: "T1562.001"}},
		{Claim: &ttp.Claim{Tactic: "TA0104", Technique: "T0807"}},
		{Claim: &ttp.Claim{Tactic: "TA0007", Technique: "T9999"}},
	} {
		f.RuleID, f.RuleVersion, f.AttackRelease, f.Confidence = fmt.Sprintf("R%d", i), 1, "v19.2", 0.85
		f.Evidence = ttp.Object{{Name: "command_text", Value: ttp.Quote(hostile)}}
		tags = append(tags, ttp.NewTag(ev, f))
	}
	if _, err := db.Write(t.Context(), []ttp.Tagged{{AttackerUUID: attacker, Tags: tags}}); err != nil {
		t.Fatal(err)
	}
	return db
}

// server serves db to whoever asks on the loopback.
func server(t *testing.T, h *api.Handler) *httptest.Server {
	t.Helper()
	if h.Service == nil {
		h.Service = &api.Service{Store: storage(t)}
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

type reply struct {
	*http.Response
	body []byte
}

// ask sends a request; edit may change it.
func ask(t *testing.T, method, url, body string, edit ...func(*http.Request)) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edit {
		e(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp, data}
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// document is the parts of the OpenAPI document that the tests look at.
type document struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Ref string `json:"$ref"`
		} `json:"parameters"`
		Responses map[string]struct {
			Content map[string]struct {
				Schema json.RawMessage `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
}

// openAPI reads the document that the server serves.
func openAPI(t *testing.T, base string) (document, func(path, method, status string, body []byte)) {
	t.Helper()
	raw := ask(t, "GET", base+api.Root+"openapi.json", "").body
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("mem:///openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	return doc, func(path, method, status string, body []byte) {
		t.Helper()
		pointer := strings.NewReplacer("~", "~0", "/", "~1").Replace(path)
		where := "/paths/" + url.PathEscape(pointer) + "/" + method + "/responses/" + status
		if status >= "400" {
			where = "/components/responses/" + status
		}
		kind := "application~1json"
		if status >= "400" {
			kind = "application~1problem+json"
		}
		schema, err := compiler.Compile("mem:///openapi.json#" + where + "/content/" + kind + "/schema")
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s %s: %v\n%s", method, path, err, body)
		}
	}
}

var braces = regexp.MustCompile(`\{(\w+)\}`)

// exampleOf fills in the path's parameters.
func exampleOf(path string) string {
	return braces.ReplaceAllStringFunc(path, func(name string) string {
		switch {
		case name == "{technique}":
			return "T1059"
		case name == "{rule_id}":
			return "R0"
		case strings.Contains(path, "attacker"):
			return attacker
		case strings.Contains(path, "campaign"):
			return campaign
		case strings.Contains(path, "session"):
			return "s%2F1"
		}
		return identity
	})
}

func TestOpenAPI_saysWhatTheServerAnswers(t *testing.T) {
	service := &api.Service{Store: storage(t), Rules: someRules}
	s := server(t, &api.Handler{Service: service})
	doc, check := openAPI(t, s.URL)
	served := map[string]bool{api.Root + "events": true, api.Root + "openapi.json": true, api.Root + "rules/{rule_id}/state": true}
	for _, e := range service.Endpoints() {
		path := api.Root + e.Path
		served[path] = true
		if _, ok := doc.Paths[path]["get"]; !ok {
			t.Errorf("%s is not in the document", path)
			continue
		}
		got := ask(t, "GET", s.URL+exampleOf(path), "")
		if got.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", path, got.Status, got.body)
			continue
		}
		check(path, "get", "200", got.body)
		bad := ask(t, "GET", s.URL+exampleOf(path)+"?nonsense=1", "")
		if bad.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: a parameter that does not exist: %s", path, bad.Status)
		}
		check(path, "get", "422", bad.body)
	}
	for path := range doc.Paths {
		if !served[path] {
			t.Errorf("%s is in the document but is not served", path)
		}
	}
}

// TestOpenAPI_parametersAreTaken asks with every parameter that the document
// names.
func TestOpenAPI_parametersAreTaken(t *testing.T) {
	s := server(t, &api.Handler{})
	values := map[string]string{
		"min_confidence": "0.5", "since": "7d", "until": "2100-01-01T00:00:00Z", "tactic": "discovery", "decky": "web",
		"limit": "3", "tag_limit": "3", "after": "", "domain": navigator.ICS,
	}
	doc, _ := openAPI(t, s.URL)
	for path, methods := range doc.Paths {
		query := url.Values{}
		for _, p := range methods["get"].Parameters {
			name := p.Ref[strings.LastIndex(p.Ref, "/")+1:]
			if v, ok := values[name]; ok {
				query.Set(strings.TrimPrefix(name, "tag_"), v)
			}
		}
		if len(query) == 0 {
			continue
		}
		if got := ask(t, "GET", s.URL+exampleOf(path)+"?"+query.Encode(), ""); got.StatusCode != http.StatusOK {
			t.Errorf("%s?%s: %s: %s", path, query.Encode(), got.Status, got.body)
		}
	}
}

func someRules(context.Context) ([]api.Rule, error) {
	return []api.Rule{{
		ID: "R0", Version: 1, Title: "a rule", Status: "loaded", Kinds: []ttp.Kind{ttp.Command},
		Techniques: []api.RuleEmits{{Tactic: "TA0002", Technique: "T1059", Confidence: 0.85}},
	}}, nil
}

func TestAnswers_nameWhatTheyCount(t *testing.T) {
	s := server(t, &api.Handler{})
	var list []api.Technique
	got := ask(t, "GET", s.URL+api.Root+"by-identity/"+identity, "")
	if err := json.Unmarshal(got.body, &list); err != nil {
		t.Fatal(err)
	}
	byID := map[string]api.Technique{}
	for _, row := range list {
		byID[row.ID()] = row
	}
	shell, revoked, unknown := byID["T1059.004"], byID["T1562.001"], byID["T9999"]
	if shell.Name() != "Command and Scripting Interpreter: Unix Shell" || *shell.MitreURL != "https://attack.mitre.org/techniques/T1059/004" || *shell.TacticName != "Execution" {
		t.Errorf("T1059.004: %+v", shell)
	}
	if revoked.Successor == nil || *revoked.Successor == "T1562.001" {
		t.Errorf("T1562.001 is revoked, its successor is %v", revoked.Successor)
	}
	if unknown.TechniqueName != nil || unknown.MitreURL != nil || unknown.Count != 1 {
		t.Errorf("T9999: %+v", unknown)
	}
	if len(shell.Rules) != 1 || shell.Rules[0] != (api.RuleHits{RuleID: "R0", Count: 1}) {
		t.Errorf("rules: %+v", shell.Rules)
	}
}

func TestAnswers_ofWhatIsUnknownAreEmpty(t *testing.T) {
	s := server(t, &api.Handler{})
	for _, path := range []string{"by-identity/nobody", "by-attacker/x", "by-campaign/x", "by-session/x", "tags/by-identity/x/T1059", "phases/by-identity/x", "rules"} {
		got := ask(t, "GET", s.URL+api.Root+path, "")
		if got.StatusCode != http.StatusOK || strings.TrimSpace(string(got.body)) != "[]" {
			t.Errorf("%s: %s %s, want an empty list", path, got.Status, got.body)
		}
	}
	for _, domain := range []string{navigator.Enterprise, navigator.ICS} {
		got := ask(t, "GET", s.URL+api.Root+"export/navigator/identity/nobody?domain="+domain, "")
		var l navigator.Layer
		if err := json.Unmarshal(got.body, &l); err != nil || l.Domain != domain || len(l.Techniques) != 0 {
			t.Errorf("layer of nobody: %v %s", err, got.body)
		}
		if err := navigator.Write(io.Discard, []navigator.Layer{l}); err != nil {
			t.Error(err)
		}
	}
}

func TestPages_areLinked(t *testing.T) {
	s := server(t, &api.Handler{})
	next := api.Root + "tags/by-attacker/" + attacker + "?limit=2"
	var uuids []string
	for pages := 0; next != ""; pages++ {
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
		got := ask(t, "GET", s.URL+next, "")
		var list []api.Tag
		if err := json.Unmarshal(got.body, &list); err != nil {
			t.Fatal(err)
		}
		for _, tag := range list {
			uuids = append(uuids, tag.UUID)
			if text := tag.Evidence.Text("command_text"); text != hostile {
				t.Errorf("evidence %q", text)
			}
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
	}
	slices.Sort(uuids)
	if len(slices.Compact(uuids)) != 5 {
		t.Errorf("%d different tags on the pages, want 5", len(uuids))
	}
}

func TestProblems(t *testing.T) {
	s := server(t, &api.Handler{Guard: api.Guard{}})
	_, check := openAPI(t, s.URL)
	for name, c := range map[string]struct {
		method, path string
		status       int
		says         string
	}{
		"no such path":           {"GET", "nonsense", 404, "openapi.json"},
		"above the API":          {"GET", "../../../etc/passwd", 404, ""},
		"wrong method":           {"PUT", "techniques", 405, "GET"},
		"a confidence above one": {"GET", "techniques?min_confidence=1.5", 422, "min_confidence"},
		"no number":              {"GET", "techniques?min_confidence=NaN", 422, "min_confidence"},
		"no time":                {"GET", "techniques?since=yesterday", 422, "since"},
		"no tactic":              {"GET", "techniques?tactic=TA9999", 422, "tactic"},
		"a page too long":        {"GET", "tags?limit=501", 422, "500"},
		"no page":                {"GET", "tags?after=nonsense", 422, "after"},
		"no technique":           {"GET", "tags/by-identity/x/T1059'--", 422, "technique"},
		"twice":                  {"GET", "techniques?decky=a&decky=b", 422, "more than once"},
		"an id in the query":     {"GET", "by-identity/x?id=y", 422, "stands in the path"},
		"an id too long":         {"GET", "by-session/" + strings.Repeat("x", 300), 422, "255"},
		"a control character":    {"GET", "by-session/a%00b", 422, "control"},
		"a broken query":         {"GET", "techniques?a=%zz", 422, "query"},
		"everything at once":     {"GET", "techniques?min_confidence=2&limit=0&since=x", 422, "limit"},
	} {
		got := ask(t, c.method, s.URL+api.Root+c.path, "")
		if got.StatusCode != c.status || !strings.Contains(string(got.body), c.says) || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s: %s", name, got.Status, got.Header.Get("Content-Type"), got.body)
			continue
		}
		if c.status != 405 {
			check("", "", fmt.Sprint(c.status), got.body)
		}
	}
}

func TestPage_mayRunNothingBesideItsOwnFiles(t *testing.T) {
	s := server(t, &api.Handler{})
	got := ask(t, "GET", s.URL+"/", "")
	policy := got.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for _, inline := range []string{"<style", " style=", " onclick", "javascript:", "http://", "https://"} {
		if strings.Contains(string(got.body), inline) {
			t.Errorf("the page has %q in it", inline)
		}
	}
	tag := got.Header.Get("ETag")
	again := ask(t, "GET", s.URL+"/", "", func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
	if again.StatusCode != http.StatusNotModified || len(again.body) != 0 {
		t.Errorf("unchanged page: %s, %d bytes", again.Status, len(again.body))
	}
}

func TestLayer_mapsWhatWasRevokedAndPartsTheMatrices(t *testing.T) {
	s := server(t, &api.Handler{})
	for domain, want := range map[string][]string{navigator.Enterprise: {"T1059.004", "T1083", "T1685"}, navigator.ICS: {"T0807"}} {
		got := ask(t, "GET", s.URL+api.Root+"export/navigator?domain="+domain, "")
		var l navigator.Layer
		if err := json.Unmarshal(got.body, &l); err != nil {
			t.Fatal(err)
		}
		if err := navigator.Write(io.Discard, []navigator.Layer{l}); err != nil {
			t.Error(err)
		}
		var scored []string
		for _, cell := range l.Techniques {
			if cell.Score != nil {
				scored = append(scored, cell.ID)
				if !strings.Contains(cell.Comment, "by R") {
					t.Errorf("comment %q", cell.Comment)
				}
			}
		}
		if !slices.Equal(scored, want) {
			t.Errorf("%s: %v, want %v", domain, scored, want)
		}
	}
}
