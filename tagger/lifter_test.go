package tagger_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/attack"
	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// pack is the built-in rules; loading them takes a while and they never change.
var pack = sync.OnceValue(func() *rule.Set {
	set, problems := rule.Load(rule.Options{}, rule.Source{Name: "builtin", FS: builtin.FS})
	for _, p := range problems {
		panic(p)
	}
	return set
})

func program(tb testing.TB, artifacts string) *tagger.Composite {
	tb.Helper()
	c, err := tagger.NewComposite(tagger.Routes(pack(), pack().Kinds(), artifacts)...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func object(tb testing.TB, text string) ttp.Object {
	tb.Helper()
	o, err := ttp.ParseObject(text)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return o
}

// tag asks the whole program about an event as a producer sends it.
func tag(tb testing.TB, kind ttp.Kind, payload string) []ttp.Finding {
	tb.Helper()
	return tagWith(tb, program(tb, ""), kind, payload)
}

func tagWith(tb testing.TB, t tagger.Tagger, kind ttp.Kind, payload string) []ttp.Finding {
	tb.Helper()
	ev := &ttp.Event{Kind: kind, DeckyID: "omega-decky", Payload: object(tb, payload)}
	before := string(ev.Payload.AppendJSON(nil))
	findings, err := t.Tag(tb.Context(), ev)
	if err != nil {
		tb.Fatalf("%s: %v", payload, err)
	}
	if after := string(ev.Payload.AppendJSON(nil)); after != before || ev.Kind != kind {
		tb.Errorf("the event was changed from %s to %s", before, after)
	}
	return findings
}

// said renders findings of the catalogue that the platform's own tagger has:
// "R0049 TA0002/T1059 0.85".
func said(findings []ttp.Finding) []string {
	list := []string{}
	for _, f := range findings {
		if strings.HasPrefix(f.RuleID, "R1") {
			continue // rules about the text itself have tests of their own
		}
		id := f.Technique
		if f.SubTechnique != "" {
			id = f.SubTechnique
		}
		list = append(list, fmt.Sprintf("%s %s/%s %v", f.RuleID, f.Tactic, id, f.Confidence))
	}
	return list
}

// evidenceOf returns the evidence of the first finding of a rule, as JSON.
func evidenceOf(findings []ttp.Finding, id string) string {
	i := slices.IndexFunc(findings, func(f ttp.Finding) bool { return f.RuleID == id })
	if i < 0 {
		return "no finding of " + id
	}
	return string(findings[i].Evidence.AppendJSON(nil))
}

// shape is an event as a producer sends it and what is said of it.
type shape struct {
	name    string
	kind    ttp.Kind
	payload string
	want    []string
}

func checkShapes(t *testing.T, shapes []shape) {
	t.Helper()
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := s.want
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, said(tag(t, s.kind, s.payload))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every rule that needs a lifter must be about signals that the lifter makes,
// and of tactics that ATT&CK has for the technique.
func TestRoutes_reach_every_rule_that_is_no_pattern_for_commands(t *testing.T) {
	t.Parallel()
	claimed := map[ttp.Kind]bool{}
	for _, r := range tagger.Routes(pack(), pack().Kinds(), "") {
		for _, k := range r.Kinds {
			claimed[k] = true
		}
	}
	for _, r := range pack().Rules() {
		for _, k := range r.Kinds {
			if !claimed[k] {
				t.Errorf("no route for kind %s of rule %s", k, r.ID)
			}
		}
		for _, e := range r.Emits {
			technique, ok := attack.Lookup(orElse(e.SubTechnique, e.Technique))
			if !ok || !slices.Contains(technique.Tactics, e.Tactic) {
				t.Errorf("%s: %s is not of %s", r.ID, technique.ID, e.Tactic)
			}
		}
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestRoutes_hand_each_kind_over_once(t *testing.T) {
	t.Parallel()
	seen := map[ttp.Kind]bool{}
	for _, r := range tagger.Routes(pack(), []ttp.Kind{"opencanary", ttp.Intel, ttp.Command, "opencanary"}, "") {
		for _, k := range r.Kinds {
			if seen[k] {
				t.Errorf("kind %s has two routes", k)
			}
			seen[k] = true
		}
	}
	if !seen["opencanary"] || !seen[ttp.Command] || seen[ttp.Payload] {
		t.Errorf("routes for %v", seen)
	}
	for _, r := range tagger.Routes(pack(), nil, "") {
		if r.Name == "rules" {
			t.Error("a route for no kinds")
		}
	}
}

// Everything in a payload is written by an attacker, and every member may be of
// any type.
func FuzzLifters(f *testing.F) {
	for _, s := range []string{
		`{"_fp":{"nav":{"wd":true,"ua":"x","lgs":[1,null]},"gl":{"err":"x"},"rtc":{"ip":[1,"::"]}},"country_code":"DE","src_ip":"1"}`,
		`{"_fp":[],"matched_tool":{},"tz_mismatch_zones":"x"}`,
		`{"abuseipdb_score":"1e300","abuseipdb_categories":"[18,\"x\",1e99]","abuseipdb_raw":{"data":{"reports":[{"categories":[1]},3]}}}`,
		`{"greynoise_tags":[{}],"feodo_listed":"1","threatfox_threat_types":"[\"payload\"]","aggregate_verdict":"benign"}`,
		`{"rcpt_count":"1e2","urls":["http://[","https://a:b@xn--a/"],"body_text":"://http://","rcpt_domains":"[\"a@b\"]"}`,
		`{"op_text":"FLUSHALL","signals":"[\"privileged:true\"]","matched_path":"%%%"}`,
		`{"addr":"fe80::1%eth0","ja4h":"_","jarm_hash":null,"ja4_quic":"x"}`,
		`{"token_type":"aws_keys","placement_path":"\\..\\.env"}`,
	} {
		f.Add(s)
	}
	all := program(f, "")
	kinds := []ttp.Kind{
		ttp.Canary, ttp.CanaryFingerprint, ttp.Intel, ttp.Email, ttp.Session, ttp.HTTPRequest,
		ttp.JARM, ttp.HASSH, ttp.HTTPFingerprint, ttp.IPv6Leak,
	}
	f.Fuzz(func(t *testing.T, text string) {
		payload, err := ttp.ParseObject(text)
		if err != nil {
			return
		}
		for _, kind := range kinds {
			findings, err := all.Tag(t.Context(), &ttp.Event{Kind: kind, Payload: payload})
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			for _, found := range findings {
				if found.Confidence < 0 || found.Confidence > 1 {
					t.Errorf("%s: %s has confidence %v", kind, found.RuleID, found.Confidence)
				}
				if _, err := ttp.ParseObject(string(found.Evidence.AppendJSON(nil))); err != nil {
					t.Errorf("%s: evidence of %s: %v", kind, found.RuleID, err)
				}
			}
		}
	})
}
