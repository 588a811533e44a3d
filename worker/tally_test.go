package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"ttp-worker/ttp"
)

func tagOf(technique, sub string) ttp.Tag {
	return ttp.Tag{Finding: ttp.Finding{Claim: &ttp.Claim{Technique: technique, SubTechnique: sub}}}
}

func TestMetrics_tagsByTechniqueAndOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	a, b, c := tagOf("T1", ""), tagOf("T1", "T1.001"), tagOf("T2", "")
	sum := make(tally)
	sum.add(tallyOf([]ttp.Tagged{{Tags: []ttp.Tag{a, b}}, {Tags: []ttp.Tag{a, c}}}, ttp.Written{
		Fresh:   []ttp.Announcement{{Tagged: ttp.Tagged{Tags: []ttp.Tag{a}}}},
		Refused: []ttp.Refusal{{Tag: c}},
	}))
	sum.add(tallyOf([]ttp.Tagged{{Tags: []ttp.Tag{b}}}, ttp.Written{}))
	m.counted(sum)
	m.tagged(ttp.Command, []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1"}, Confidence: 0.29}}, nil)
	m.tagged(ttp.Command, []ttp.Finding{{Claim: &ttp.Claim{RuleID: "R1", Technique: "T1"}, Confidence: 0.3}}, errors.New("another tagger failed"))
	m.tagged("made up", nil, errors.New("failed"))
	want := `
# HELP ttp_tags_total Tags by what became of them.
# TYPE ttp_tags_total counter
ttp_tags_total{outcome="below_floor",technique="T1"} 1
ttp_tags_total{outcome="duplicate",technique="T1"} 1
ttp_tags_total{outcome="duplicate",technique="T1.001"} 2
ttp_tags_total{outcome="inserted",technique="T1"} 1
ttp_tags_total{outcome="refused",technique="T2"} 1
# HELP ttp_events_total Events the taggers looked at, by what they said.
# TYPE ttp_events_total counter
ttp_events_total{kind="command",outcome="tagged"} 1
ttp_events_total{kind="command",outcome="untagged"} 1
ttp_events_total{kind="other",outcome="failed"} 1
# HELP ttp_rule_fires_total Findings of each rule, those below the floor included.
# TYPE ttp_rule_fires_total counter
ttp_rule_fires_total{rule="R1"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "ttp_tags_total", "ttp_events_total", "ttp_rule_fires_total"); err != nil {
		t.Error(err)
	}
}

func TestMetrics_lagOfMessageAndEvents(t *testing.T) {
	m := NewMetrics(nil)
	now := time.Now()
	m.lagged(&item{delivery: lateDelivery{at: now.Add(-time.Minute)}}, now)
	m.lagged(&item{delivery: lateDelivery{at: now.Add(time.Hour)}}, now) // another clock
	if got := testutil.CollectAndCount(m.MessageLag); got != 1 {
		t.Errorf("%d series", got)
	}
	text, err := testutil.CollectAndFormat(m.MessageLag, expfmt.TypeTextPlain, "ttp_message_lag_seconds")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ttp_message_lag_seconds_sum 60\n", "ttp_message_lag_seconds_count 2\n", `{le="0.05"} 1`, `{le="60"} 2`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

type lateDelivery struct {
	Delivery
	at time.Time
}

func (d lateDelivery) Meta() Meta { return Meta{At: d.at} }

func TestBounded_rulesCannotMakeSeriesWithoutEnd(t *testing.T) {
	var b bounded
	labels := make(map[string]bool)
	for i := range 2 * maxLabels {
		labels[b.label(fmt.Sprint(i))] = true
	}
	if len(labels) != maxLabels+1 || !labels["other"] || b.label("7") != "7" {
		t.Errorf("%d labels", len(labels))
	}
}
