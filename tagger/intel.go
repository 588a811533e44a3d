package tagger

import (
	"context"
	"math"
	"slices"

	"ttp-worker/ttp"
)

// Intel lifts what providers of threat intelligence know about an attacker's
// address (kind intel). What each provider says is turned into techniques by
// the tables of intelsource.go; it adds for each provider the member
// abuseipdb_techniques, greynoise_techniques, feodo_techniques or
// threatfox_techniques, and aggregate_adjustment, and asks Rules about the event.
//
// A rule that names one of the first four in its evidence list keeps only the
// findings whose technique the provider's answer stands for. Their confidence
// is multiplied by how sure that is, and their evidence is the answer.
//
// A rule that names aggregate_adjustment says whether the verdict over all
// providers counts: then it yields no finding itself, and each of the others
// becomes 0.05 more certain if the verdict is "malicious" (at most 0.99) and
// 0.15 less if it is "benign". Findings that are 0 stay 0.
type Intel struct{ Rules Tagger }

// Tag implements [Tagger].
func (i Intel) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	answers := readAnswers(ev.Payload)
	lifted := *ev
	for _, a := range answers {
		lifted.Payload = lifted.Payload.Set(a.name, ttp.Strings(a.techniques()))
	}
	verdict := ev.Payload.Text("aggregate_verdict")
	if by := adjustments[verdict]; by != 0 {
		lifted.Payload = lifted.Payload.Set(adjustment, ttp.Float(by))
	}
	findings, err := i.Rules.Tag(ctx, &lifted)
	findings = slices.DeleteFunc(findings, func(f ttp.Finding) bool { return !backed(&f, answers) })
	for n := range findings {
		weigh(&findings[n], answers)
	}
	return adjust(findings, verdict), err
}

// adjustment is the member that tells rules of the verdict over all providers.
const adjustment = "aggregate_adjustment"

var adjustments = map[string]float64{"malicious": 0.05, "benign": -0.15}

// maxAdjusted is as sure as a verdict can make a finding.
const maxAdjusted = 0.99

// answer is what one provider says, as techniques.
type answer struct {
	name      string // the member that rules see
	decisions []decision
}

// decision is one technique that an answer stands for.
type decision struct {
	technique string
	weight    float64 // 0..1
	evidence  ttp.Object
}

func (a *answer) techniques() []string {
	list := make([]string, len(a.decisions))
	for i, d := range a.decisions {
		list[i] = d.technique
	}
	return list
}

func (a *answer) decision(technique string) *decision {
	for i := range a.decisions {
		if a.decisions[i].technique == technique {
			return &a.decisions[i]
		}
	}
	return nil
}

// answerOf returns the answer that the finding's rule asked for, or nil.
func answerOf(f *ttp.Finding, answers []answer) *answer {
	for _, m := range f.Evidence {
		for i := range answers {
			if answers[i].name == m.Name {
				return &answers[i]
			}
		}
	}
	return nil
}

// backed reports whether a finding of a rule that asked for an answer is of a
// technique that the answer stands for.
func backed(f *ttp.Finding, answers []answer) bool {
	a := answerOf(f, answers)
	return a == nil || a.decision(f.Technique) != nil
}

func weigh(f *ttp.Finding, answers []answer) {
	if a := answerOf(f, answers); a != nil {
		d := a.decision(f.Technique)
		f.Confidence = round(f.Confidence * d.weight)
		f.Evidence = d.evidence
	}
}

// adjust applies the verdict if a rule says that it counts, and takes that
// rule's own findings out.
func adjust(findings []ttp.Finding, verdict string) []ttp.Finding {
	asks := func(f ttp.Finding) bool { return f.Evidence.Has(adjustment) }
	if !slices.ContainsFunc(findings, asks) {
		return findings
	}
	findings = slices.DeleteFunc(findings, asks)
	by := adjustments[verdict]
	for i := range findings {
		f := &findings[i]
		if f.Confidence == 0 {
			continue
		}
		f.Confidence = round(min(f.Confidence+by, maxAdjusted))
		f.Evidence = f.Evidence.Set("aggregate_verdict", ttp.Quote(verdict))
	}
	return findings
}

// round keeps products of decimal numbers decimal: 0.7 × 0.43 is 0.301.
func round(confidence float64) float64 {
	return math.Round(min(max(confidence, 0), 1)*1e6) / 1e6
}
