package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ttp-worker/attack"
	"ttp-worker/navigator"
	"ttp-worker/stix"
	"ttp-worker/ttp"
)

// Layer returns the layer of one domain, Enterprise unless q says otherwise:
// scores are counts, comments say which rules and when. Without tags it is an
// empty one.
func Layer(ctx context.Context, store Store, q Question) (*navigator.Layer, error) {
	rollups, err := store.Rollups(ctx, q.Scope, q.Filter)
	if err != nil {
		return nil, err
	}
	domain := cmp.Or(q.Domain, navigator.Enterprise)
	var scores []navigator.Score
	for i := range rollups {
		if domainOf(rollups[i].Tactic) == domain {
			scores = append(scores, newScore(&rollups[i]))
		}
	}
	head := navigator.Head{Name: "ttp-worker: " + title(q.Scope), Description: describe(rollups, q)}
	layers, _ := navigator.Layers(head, scores)
	for i := range layers {
		if layers[i].Domain == domain {
			return &layers[i], nil
		}
	}
	empty, _ := navigator.Layers(head, nil)
	empty[0].Domain = domain
	return &empty[0], nil
}

// domainOf returns the matrix of a tactic.
func domainOf(tactic string) string {
	if known, ok := attack.LookupTactic(tactic); ok && known.ICS {
		return navigator.ICS
	}
	return navigator.Enterprise
}

func newScore(r *ttp.Rollup) navigator.Score {
	id := cmp.Or(r.SubTechnique, r.Technique)
	s := navigator.Score{
		Technique: id, Tactic: r.Tactic, Score: float64(r.Count), Comment: comment(r),
		Metadata: []navigator.Metadata{
			{Name: "first seen", Value: r.FirstSeen.Format(time.RFC3339)},
			{Name: "last seen", Value: r.LastSeen.Format(time.RFC3339)},
			{Name: "highest confidence", Value: strconv.FormatFloat(r.MaxConfidence, 'g', -1, 64)},
		},
	}
	if attack.Successor(id) != id {
		s.Metadata = append(s.Metadata, navigator.Metadata{Name: "tagged as", Value: id})
	}
	return s
}

// mostRules is how many rules a comment names.
const mostRules = 10

func comment(r *ttp.Rollup) string {
	var names []string
	for i, hits := range r.Rules {
		if i == mostRules {
			names = append(names, fmt.Sprintf("%d more", len(r.Rules)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s (%d)", hits.RuleID, hits.Count))
	}
	return fmt.Sprintf("%d tags from %s to %s by %s", r.Count,
		r.FirstSeen.Format(time.DateTime), r.LastSeen.Format(time.DateTime), strings.Join(names, ", "))
}

// describe says what a layer shows.
func describe(rollups []ttp.Rollup, q Question) string {
	var parts []string
	if len(rollups) > 0 {
		first := slices.MinFunc(rollups, func(a, b ttp.Rollup) int { return a.FirstSeen.Compare(b.FirstSeen) }).FirstSeen
		last := slices.MaxFunc(rollups, func(a, b ttp.Rollup) int { return a.LastSeen.Compare(b.LastSeen) }).LastSeen
		parts = append(parts, "Tags from "+first.Format(time.DateTime)+" to "+last.Format(time.DateTime)+" UTC.")
	} else {
		parts = append(parts, "No tags.")
	}
	if f := q.Filter.MinConfidence; f > 0 {
		parts = append(parts, "Confidence at least "+strconv.FormatFloat(f, 'g', -1, 64)+".")
	}
	if q.Filter.Decky != "" {
		parts = append(parts, "Decky "+q.Filter.Decky+".")
	}
	return strings.Join(parts, " ")
}

// Bundle returns what was observed of q's scope as STIX.
func Bundle(ctx context.Context, store Store, q Question) (*stix.Bundle, error) {
	rollups, err := store.Rollups(ctx, q.Scope, q.Filter)
	if err != nil {
		return nil, err
	}
	b := stix.NewBundle(q.Scope, rollups)
	return &b, nil
}
