package rule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/attack"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// bundled is the rules of testdata.
func bundled(t testing.TB, o Options) *Set {
	t.Helper()
	set, problems := Load(o, Source{"testdata", os.DirFS("testdata")})
	for _, p := range problems {
		t.Error(p)
	}
	return set
}

// loadText loads one file of rules.
func loadText(o Options, text string) (*Set, []Problem) {
	return Load(o, Source{"test", fstest.MapFS{"rules.yml": {Data: []byte(text)}}})
}

// mustLoad loads one file that must be without fault.
func mustLoad(t testing.TB, text string) *Set {
	t.Helper()
	set, problems := loadText(Options{Expand: shell.Expander}, text)
	for _, p := range problems {
		t.Fatal(p)
	}
	return set
}

func payload(t testing.TB, text string) ttp.Object {
	t.Helper()
	o, err := ttp.ParseObject(text)
	if err != nil {
		t.Fatalf("payload %q: %v", text, err)
	}
	return o
}

func command(line string) *ttp.Event {
	return &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(line)}}}
}

func mustTag(t testing.TB, set *Set, ev *ttp.Event) []ttp.Finding {
	t.Helper()
	findings, err := set.Tag(t.Context(), ev)
	if err != nil {
		t.Fatalf("Tag: %v", err)
	}
	return findings
}

// ruleIDs returns the distinct ids of the rules that found something.
func ruleIDs(findings []ttp.Finding) []string {
	var ids []string
	for _, f := range findings {
		ids = append(ids, f.RuleID)
	}
	return slices.Compact(ids)
}

func TestBundledRulesPassTheirOwnTests(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{Expand: shell.Expander})
	for _, f := range set.Test() {
		t.Error(f)
	}
	n := 0
	for _, s := range set.tests {
		n += len(s.examples)
	}
	if n < 30 {
		t.Errorf("%d tests were read, want at least 30", n)
	}
}

func TestEveryRuleIsListedWithItsFate(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"T0001": "decnet loaded", "T0002": "decnet loaded", "T0003": "decnet loaded", "T0005": "decnet loaded",
		"T0004": "decnet lifter: its logic is code: lifter:credential_threshold",
		"O0001": "ttp-worker loaded", "O0002": "ttp-worker loaded", "O0003": "ttp-worker loaded",
		"O0004": "ttp-worker loaded", "O0101": "ttp-worker loaded", "O0102": "ttp-worker loaded",
		"O0103": "ttp-worker loaded",
	}
	got := make(map[string]string)
	sigma := make(map[string]int)
	for _, info := range bundled(t, Options{}).Rules() {
		fate := string(info.Format) + " " + string(info.Status)
		if info.Reason != "" {
			fate += ": " + info.Reason
		}
		if info.Format == Sigma {
			sigma[fate]++
			continue
		}
		got[info.ID] = fate
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	wantSigma := map[string]int{
		"sigma loaded": 9,
		"sigma not applicable: no tag names a technique, so it has nothing to say": 2,
		"sigma not applicable: no events of logsource product linux":               1,
	}
	if d := cmp.Diff(wantSigma, sigma); d != "" {
		t.Error(d)
	}
}

func TestInfoCarriesWhatTheFileSays(t *testing.T) {
	t.Parallel()
	infos := bundled(t, Options{}).Rules()
	find := func(id string) Info {
		i := slices.IndexFunc(infos, func(info Info) bool { return info.ID == id })
		if i < 0 {
			t.Fatalf("no rule %s", id)
		}
		return infos[i]
	}
	lifter := find("T0004")
	want := map[string]any{"kind": "lifter:credential_threshold", "min_fails": 5, "window_s": 300}
	if d := cmp.Diff(want, lifter.Match); d != "" || lifter.LifterKind != "lifter:credential_threshold" {
		t.Errorf("lifter %q: %s", lifter.LifterKind, d)
	}
	own := find("O0001")
	if d := cmp.Diff([]Emit{{"TA0007", "T1083", "", 0.85}, {"TA0004", "T1548", "T1548.001", 0.95}}, own.Emits); d != "" {
		t.Error(d)
	}
	if own.Version != 2 || own.AttackRelease != attack.Release || own.Title != "SUID binary search" {
		t.Errorf("own rule: %+v", own)
	}
	php := find("c6714a24-d7d5-4283-a36b-3ffd091d5f7e")
	if php.Author == "" || len(php.References) == 0 || php.Level != "high" || !strings.HasSuffix(php.File, "php_reverse_shell.yml") {
		t.Errorf("Sigma rule: %+v", php)
	}
}

func TestSetKindsAreThoseOfLoadedRules(t *testing.T) {
	t.Parallel()
	want := []ttp.Kind{ttp.AuthAttempt, ttp.Command, ttp.Email, ttp.HTTPRequest, ttp.Payload, ttp.Session}
	if d := cmp.Diff(want, bundled(t, Options{}).Kinds()); d != "" {
		t.Error(d)
	}
}

func TestDECNETFinding(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{})
	ev := &ttp.Event{Kind: ttp.Command, Payload: payload(t,
		`{"command_text":"sudo cat  /etc/shadow","exit_code":0,"uid":1000,"pwd":"/root","session_id":"s"}`)}
	got := mustTag(t, set, ev)
	evidence := payload(t, `{"command_text":"sudo cat  /etc/shadow","exit_code":0,"uid":1000,"pwd":"/root"}`)
	want := []ttp.Finding{
		{
			Claim: &ttp.Claim{
				RuleID: "T0001", RuleVersion: 3, Tactic: "TA0006",
				Technique: "T1003", SubTechnique: "T1003.008", AttackRelease: "v15.1", MitreURL: "https://attack.mitre.org/techniques/T1003/008",
			},
			Confidence: 0.95, Evidence: evidence,
		},
		{
			Claim: &ttp.Claim{
				RuleID: "T0001", RuleVersion: 3, Tactic: "TA0007",
				Technique: "T1083", AttackRelease: "v15.1", MitreURL: "https://attack.mitre.org/techniques/T1083",
			},
			Confidence: 0.4, Evidence: evidence,
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDECNETPatterns(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{})
	for name, c := range map[string]struct {
		kind ttp.Kind
		text string
		want []string
	}{
		"look-ahead at the end":                    {ttp.Command, `{"command_text":"find /"}`, []string{"T0002"}},
		"look-ahead that fails":                    {ttp.Command, `{"command_text":"find /mnt"}`, nil},
		"text under another name":                  {ttp.Command, `{"command_text":"","text":"find / -x"}`, []string{"T0002"}},
		"a field that is not a string":             {ttp.Session, `{"file_name":[".cfg"]}`, nil},
		"a missing field":                          {ttp.Session, `{}`, nil},
		"$ before a final newline":                 {ttp.Session, `{"file_name":"x.cfg\n"}`, []string{"T0003"}},
		"$ not before two newlines":                {ttp.Session, `{"file_name":"x.cfg\n\n"}`, nil},
		"a rule for several kinds":                 {ttp.HTTPRequest, `{"file_name":"x.cfg"}`, []string{"T0003"}},
		"a kind that the rule is not for":          {ttp.Email, `{"file_name":"x.cfg"}`, nil},
		"the default field of kind payload":        {ttp.Payload, `{"payload_text":"a MARKER b"}`, []string{"T0005"}},
		"a kind that no rule is for":               {ttp.JARM, `{"payload_text":"marker"}`, nil},
		"a word boundary beside the literal fails": {ttp.Payload, `{"payload_text":"markers"}`, nil},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			ev := &ttp.Event{Kind: c.kind, Payload: payload(t, c.text)}
			if d := cmp.Diff(c.want, ruleIDs(mustTag(t, set, ev))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFindingsAreOrderedByRuleThenEmit(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{Expand: shell.Expander})
	var got []string
	for _, f := range mustTag(t, set, command("id; find / -perm -4000; cat /etc/shadow")) {
		got = append(got, f.RuleID+" "+f.Technique)
	}
	want := []string{"O0001 T1083", "O0001 T1548", "O0002 T1033", "T0001 T1003", "T0001 T1083", "T0002 T1083"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSimpleCommandThatMatchedIsEvidence(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{Expand: shell.Expander})
	ev := command("cd /tmp; id")
	ev.Payload = append(ev.Payload, ttp.Member{Name: "user", Value: `"root"`})
	got := mustTag(t, set, ev)
	want := payload(t, `{"command_text":"cd /tmp; id","user":"root","match":"id"}`)
	if len(got) != 1 || cmp.Diff(want, got[0].Evidence) != "" {
		t.Errorf("got %+v, want one finding with evidence %s", got, want.AppendJSON(nil))
	}
	ev = command("LS")
	got = mustTag(t, set, ev)
	if len(got) != 1 || got[0].Evidence.Has("match") {
		t.Errorf("a match of the whole line names a simple command: %+v", got)
	}
}

func TestPrivateMembersAreNeverEvidence(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{})
	for _, ev := range []*ttp.Event{
		{Kind: ttp.HTTPRequest, Payload: payload(t, `{"raw_url":"/../../x","password":"hunter2"}`)},
		{Kind: ttp.Session, Payload: payload(t, `{"file_name":"x.cfg","password":"hunter2"}`)},
	} {
		findings := mustTag(t, set, ev)
		if len(findings) != 1 || len(findings[0].Evidence) != 1 || findings[0].Evidence.Has("password") {
			t.Errorf("%s: findings %+v", ev.Kind, findings)
		}
	}
}

func TestLongEvidenceIsCut(t *testing.T) {
	t.Parallel()
	set := bundled(t, Options{})
	for name, c := range map[string]struct {
		value, want string
	}{
		"a text":               {`"/../../` + strings.Repeat("a", 5000) + `"`, "/../../" + strings.Repeat("a", 4089) + "…[cut, 5007 bytes]"},
		"between runes":        {`"/../../` + strings.Repeat("é", 3000) + `"`, "/../../" + strings.Repeat("é", 2044) + "…[cut, 6007 bytes]"},
		"escapes do not count": {`"/../../` + strings.Repeat(`\n`, 4089) + `"`, "/../../" + strings.Repeat("\n", 4089)},
	} {
		ev := &ttp.Event{Kind: ttp.HTTPRequest, Payload: ttp.Object{{Name: "raw_url", Value: ttp.Value(c.value)}}}
		findings := mustTag(t, set, ev)
		if len(findings) != 1 || findings[0].Evidence.Text("raw_url") != c.want {
			t.Errorf("%s: findings %+.200v", name, findings)
		}
	}
}

func TestLongEvidenceThatIsNoTextBecomesOne(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, `
{title: x, id: X1, version: 1, tags: [attack.t1105], logsource: {category: session}, evidence: [list],
 detection: {s: {name: x}, condition: s}}`)
	list := "[" + strings.Repeat("1,", 3000) + "1]"
	ev := &ttp.Event{Kind: ttp.Session, Payload: ttp.Object{{Name: "name", Value: `"x"`}, {Name: "list", Value: ttp.Value(list)}}}
	findings := mustTag(t, set, ev)
	want := list[:4096] + fmt.Sprintf("…[cut, %d bytes]", len(list))
	if len(findings) != 1 || findings[0].Evidence.Text("list") != want {
		t.Errorf("findings %+.200v", findings)
	}
}

func TestFindingOfAnUnknownTechniqueHasNoPage(t *testing.T) {
	t.Parallel()
	ev := &ttp.Event{Kind: ttp.Payload, Payload: payload(t, `{"payload_text":"marker"}`)}
	got := mustTag(t, bundled(t, Options{}), ev)
	if len(got) != 1 || got[0].MitreURL != "" || got[0].AttackRelease != "v17.0" || got[0].Technique != "T9999" {
		t.Errorf("got %+v", got)
	}
}

func TestPatternThatTakesTooLongIsAnErrorOfTheEvent(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, `
{rule_id: SLOW, rule_version: 1, name: x, applies_to: [command], match: {pattern: '^(a+)+$(?<!b)'},
 emits: [{tactic: TA0007, technique_id: T1083, confidence: 1}]}
---
{rule_id: FAST, rule_version: 1, name: x, applies_to: [command], match: {pattern: 'aaa'},
 emits: [{tactic: TA0007, technique_id: T1083, confidence: 1}]}`)
	findings, err := set.Tag(t.Context(), command(strings.Repeat("a", 64)+"!"))
	if !ttp.IsPermanent(err) {
		t.Errorf("error %v, want a permanent one", err)
	}
	if d := cmp.Diff([]string{"FAST"}, ruleIDs(findings)); d != "" {
		t.Error(d)
	}
}

func TestSecondRuleWithAnIDIsAProblem(t *testing.T) {
	t.Parallel()
	rule := func(title string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("{title: " + title + ", id: X1, tags: [attack.t1105], " +
			"logsource: {category: command}, detection: {s: {program: x}, condition: s}}")}
	}
	set, problems := Load(Options{},
		Source{"one", fstest.MapFS{"b.yml": rule("first")}}, Source{"two", fstest.MapFS{"a/b.yaml": rule("second"), "c.txt": rule("x")}})
	if len(problems) != 1 || problems[0].Error() != "two/a/b.yaml: rule X1: id: the id is taken by a rule in one/b.yml" {
		t.Errorf("problems %v", problems)
	}
	var got []string
	for _, info := range set.Rules() {
		got = append(got, info.Title+" "+string(info.Status))
	}
	if d := cmp.Diff([]string{"first loaded", "second refused"}, got); d != "" {
		t.Error(d)
	}
}

func TestFailingExampleSaysWhatCame(t *testing.T) {
	t.Parallel()
	set := mustLoad(t, `title: x
id: X1
version: 1
tags: [attack.t1105]
logsource: {category: command}
detection: {s: {program: wget}, condition: s}
tests:
  - match: curl
  - no_match: wget x
  - {match: wget x, technique: [T1059]}
  - match: wget
custom_attributes:
  rsigma.exemplars:
    - {expect: match, event: {Image: /usr/bin/curl, CommandLine: curl x}}
    - {expect: no-match, event: {CommandLine: curl x}}
`)
	var got []string
	for _, f := range set.Test() {
		got = append(got, f.Error())
	}
	want := []string{
		`test/rules.yml:8: rule X1: "curl": want a match, got no match`,
		`test/rules.yml:9: rule X1: "wget x": want no match, got a match`,
		`test/rules.yml:10: rule X1: "wget x": want a match with T1059, got a match without T1059`,
		`test/rules.yml:14: rule X1: "{\"CommandLine\":\"curl x\",\"Image\":\"/usr/bin/curl\"}": want a match, got no match`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
