package rule

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/ttp"
)

const lifterRule = `
rule_id: L1
rule_version: 7
name: many
applies_to: [auth_attempt]
match: {kind: "lifter:credential_many", fail_count_threshold: 3, window_s: 300}
emits: [{tactic: TA0006, technique_id: T1110, confidence: 0.4}]
evidence_fields: [service]
---
rule_id: L2
rule_version: 1
name: nobody knows it
applies_to: [session]
match: {kind: "lifter:behavioral_x"}
emits: [{tactic: TA0006, technique_id: T1110, confidence: 0.4}]
`

const twinRule = `
title: many
id: L1
version: 2
tags: [attack.t1110]
logsource: {category: auth}
detection: {s: {fail_count|gte: 5, rate|lt: 9}, condition: s}
evidence: [fail_count]
`

func TestDECNETRuleOfALifterTakesTheDetectionOfItsTwin(t *testing.T) {
	t.Parallel()
	twin := memory(map[string]string{"twin.yml": twinRule}).Read("twin.yml", nil)
	set, problems := Load(Options{Lifters: func() []*File { return []*File{twin} }}, memory(map[string]string{"a.yml": lifterRule}))
	if problems != nil {
		t.Fatal(problems)
	}
	var got []string
	for _, payload := range []string{
		`{"fail_count":3,"rate":8,"service":"ssh"}`, `{"fail_count":2,"rate":8}`, `{"fail_count":"4","rate":9}`,
	} {
		o, err := ttp.ParseObject(payload)
		if err != nil {
			t.Fatal(err)
		}
		findings, err := set.Tag(t.Context(), &ttp.Event{Kind: ttp.AuthAttempt, Payload: o})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if f.RuleVersion != 7 || f.Confidence != 0.4 || f.AttackRelease != decnetRelease {
				t.Errorf("%+v", f)
			}
			got = append(got, payload+" "+string(f.Evidence.AppendJSON(nil)))
		}
	}
	want := []string{`{"fail_count":3,"rate":8,"service":"ssh"} {"fail_count":3,"service":"ssh"}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	infos := set.Rules()
	if infos[0].Status != Loaded || infos[0].Reason != "not used: window_s" || infos[1].Status != OfLifter {
		t.Errorf("%s %q, %s", infos[0].Status, infos[0].Reason, infos[1].Status)
	}
}

func TestParametersDoNotChangeTheTwin(t *testing.T) {
	t.Parallel()
	twin := memory(map[string]string{"twin.yml": twinRule}).Read("twin.yml", nil)
	files := memory(map[string]string{"a.yml": lifterRule}).Read("a.yml", nil)
	o := Options{Lifters: func() []*File { return []*File{twin} }}
	Compile(o, files)
	set, _ := Compile(o, twin)
	ev := &ttp.Event{Kind: ttp.AuthAttempt, Payload: ttp.Object{{Name: "fail_count", Value: "4"}, {Name: "rate", Value: "1"}}}
	if findings, err := set.Tag(t.Context(), ev); len(findings) > 0 || err != nil {
		t.Errorf("the twin fires at 4: %v, %v", findings, err)
	}
	if status := files.rules[0].Status; status != OfLifter {
		t.Errorf("the definition in the file became %s", status)
	}
}

func TestParameterNames(t *testing.T) {
	t.Parallel()
	many := &test{key: key{field: "n", how: greaterOrEqual, text: "5"}, number: 5}
	few := &test{key: key{field: "n", how: lessOrEqual, text: "5"}, number: 5}
	for _, c := range []struct {
		name  string
		test  *test
		alone bool
		used  bool
	}{
		{"n", many, false, true},
		{"min_n", many, false, true},
		{"n_min", many, false, true},
		{"max_n", many, false, false},
		{"max_n", few, false, true},
		{"min_n", few, false, false},
		{"threshold", many, true, true},
		{"threshold", many, false, false},
		{"m", many, true, false},
	} {
		p := parameters{given: map[string]any{"kind": "x", c.name: 2.5}, alone: c.alone}
		got := p.put(leaf(*c.test))
		if used := slices.Contains(p.used, c.name); used != c.used || used != (got.test.number == 2.5) || used == (len(p.unused()) == 1) {
			t.Errorf("%s for %v: used %v, limit %v, unused %q", c.name, c.test.how, used, got.test.number, p.unused())
		}
	}
}
