package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ttp-worker/api"
	"ttp-worker/ttp"
)

func TestGuard(t *testing.T) {
	open := server(t, &api.Handler{Service: &api.Service{Store: storage(t), Rules: someRules, States: &states{}}})
	closed := server(t, &api.Handler{
		Service: &api.Service{Store: storage(t), Rules: someRules, States: &states{}}, Guard: api.Guard{Token: "reads", AdminToken: "changes"},
	})
	called := func(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
	as := func(header string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", header) }
	}
	nothing := func(*http.Request) {}
	const read, change = "GET techniques", "POST rules/R0/state"
	for name, c := range map[string]struct {
		base   string
		what   string
		edit   func(*http.Request)
		status int
	}{
		"no token needed":           {open.URL, read, nothing, 200},
		"called localhost":          {open.URL, read, called("localhost:8080"), 200},
		"called ::1":                {open.URL, read, called("[::1]:8080"), 200},
		"called by another name":    {open.URL, read, called("evil.example"), 403},
		"called almost localhost":   {open.URL, read, called("localhost.evil.example"), 403},
		"changing without a token":  {open.URL, change, nothing, 403},
		"changing with a guess":     {open.URL, change, bearer("x"), 401},
		"no token":                  {closed.URL, read, nothing, 401},
		"an empty token":            {closed.URL, read, as("Bearer "), 401},
		"a wrong token":             {closed.URL, read, bearer("read"), 401},
		"another scheme":            {closed.URL, read, as("Basic reads"), 401},
		"a reader":                  {closed.URL, read, bearer("reads"), 200},
		"a reader, another name":    {closed.URL, read, func(r *http.Request) { bearer("reads")(r); r.Host = "ttp.example" }, 200},
		"an admin reads":            {closed.URL, read, bearer("changes"), 200},
		"a reader changes":          {closed.URL, change, bearer("reads"), 403},
		"an admin changes":          {closed.URL, change, bearer("changes"), 200},
		"nobody changes":            {closed.URL, change, nothing, 401},
		"the page needs no token":   {closed.URL, "GET ../../../", nothing, 200},
		"what is missing needs one": {closed.URL, "GET nonsense", nothing, 401},
	} {
		method, path, _ := strings.Cut(c.what, " ")
		u, err := url.JoinPath(c.base+api.Root, path)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, method, u, `{"state":"disabled"}`, c.edit); got.StatusCode != c.status {
			t.Errorf("%s: %s %s, want %d", name, got.Status, got.body, c.status)
		}
	}
}

// states keeps states in memory, as the sink does in a table.
type states struct{ last ttp.RuleState }

// SetRuleState implements [api.RuleStates].
func (s *states) SetRuleState(_ context.Context, state ttp.RuleState) (ttp.RuleState, error) {
	if err := state.Check(); err != nil {
		return state, ttp.Permanent(err)
	}
	s.last = state
	return state, nil
}

func TestRuleState_isSetAndDropped(t *testing.T) {
	kept := &states{}
	s := server(t, &api.Handler{
		Service: &api.Service{Store: storage(t), Rules: someRules, States: kept}, Guard: api.Guard{AdminToken: "changes"},
	})
	_, check := openAPI(t, s.URL)
	for name, c := range map[string]struct {
		method, rule, body string
		status             int
		state              string
	}{
		"disable":             {"POST", "R0", `{"state":"disabled","reason":"noise","expires_at":"2100-01-01T00:00:00Z"}`, 200, ttp.RuleDisabled},
		"clip":                {"POST", "R0", `{"state":"clipped","confidence_max":0.5}`, 200, ttp.RuleClipped},
		"drop":                {"DELETE", "R0", ``, 200, ttp.RuleEnabled},
		"no such rule":        {"POST", "R9", `{"state":"disabled"}`, 404, ""},
		"drop no such rule":   {"DELETE", "R9", ``, 404, ""},
		"clip without a cap":  {"POST", "R0", `{"state":"clipped"}`, 422, ""},
		"no such state":       {"POST", "R0", `{"state":"paused"}`, 422, ""},
		"an unknown member":   {"POST", "R0", `{"state":"disabled","rule_id":"R1"}`, 422, ""},
		"no JSON":             {"POST", "R0", `disabled`, 422, ""},
		"two values":          {"POST", "R0", `{"state":"disabled"}{}`, 422, ""},
		"a body that is long": {"POST", "R0", `{"state":"disabled","reason":"` + strings.Repeat("x", 1<<20) + `"}`, 422, ""},
	} {
		kept.last = ttp.RuleState{}
		got := ask(t, c.method, s.URL+api.Root+"rules/"+c.rule+"/state", c.body, bearer("changes"))
		if got.StatusCode != c.status || kept.last.State != c.state {
			t.Errorf("%s: %s %s, stored %q", name, got.Status, got.body, kept.last.State)
		}
		check(api.Root+"rules/{rule_id}/state", strings.ToLower(c.method), fmt.Sprint(c.status), got.body)
	}
}
