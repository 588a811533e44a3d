package rule

import (
	"strings"
	"testing"

	"ttp-worker/ttp"
)

func TestOpenCanaryNumbersAreThoseOfOurEvents(t *testing.T) {
	t.Parallel()
	rule := func(id, number string) string {
		return strings.Replace(with("logsource", "{category: application, product: opencanary}",
			"detection", "{s: {logtype: "+number+"}, condition: s}"), "id: X1", "id: "+id, 1)
	}
	set := mustLoad(t, rule("SSH", "4002")+"---\n"+rule("GET", "3000"))
	for _, c := range []struct {
		kind    ttp.Kind
		payload string
		want    string
	}{
		{ttp.AuthAttempt, `{"service":"SSH","username":"root"}`, "SSH"},
		{ttp.AuthAttempt, `{"service":"telnet","username":"root"}`, ""},
		{ttp.AuthAttempt, `{"logtype":4002}`, "SSH"},
		{ttp.AuthAttempt, `{"logtype":6001,"service":"ssh"}`, ""},
		{ttp.HTTPRequest, `{"method":"GET","raw_url":"/"}`, ""},
		{ttp.HTTPRequest, `{"method":"GET","raw_url":"/","logtype":"3000"}`, "GET"},
	} {
		got := strings.Join(ruleIDs(mustTag(t, set, &ttp.Event{Kind: c.kind, Payload: payload(t, c.payload)})), " ")
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.kind, c.payload, got, c.want)
		}
	}
}
