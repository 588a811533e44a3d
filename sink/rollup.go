package sink

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"ttp-worker/ttp"
)

// Rollups returns what the tags of scope that pass f come to, the most
// frequent technique first. There are none if scope names nothing that is known.
//
// Of the whole fleet, days gone by with thousands of tags are counted once and
// remembered, so that the first question takes as long as reading an index of
// all tags, and what others changed in such a day since is noticed after an hour.
func (d *DB) Rollups(ctx context.Context, scope ttp.Scope, f ttp.Filter) ([]ttp.Rollup, error) {
	sums := rollups{}
	err := d.addRollups(ctx, scope, f, sums)
	if err != nil {
		return nil, fmt.Errorf("read rollups: %w", err)
	}
	return sums.list(scope.By == ttp.ByCampaign), nil
}

func (d *DB) addRollups(ctx context.Context, scope ttp.Scope, f ttp.Filter, sums rollups) error {
	if scope.By == "" {
		return d.fleetRollups(ctx, f, sums)
	}
	arms, who, err := d.arms(ctx, scope)
	for _, a := range arms {
		if err == nil {
			err = d.rollUp(ctx, a, f, who, sums)
		}
	}
	return err
}

// rollUp adds the groups of one arm to sums. The columns stand in the order of
// the indexes, so that grouping needs no sorting.
func (d *DB) rollUp(ctx context.Context, a arm, f ttp.Filter, who actors, sums rollups) error {
	where, args := a.where(f)
	query := "SELECT " + a.actor() + ", technique_id, COALESCE(sub_technique_id, ''), tactic, rule_id, COUNT(*), " +
		"CAST(MIN(created_at) AS CHAR), CAST(MAX(created_at) AS CHAR), MAX(confidence) FROM " + d.table(a) + where +
		" GROUP BY " + a.by("technique_id, sub_technique_id, tactic, rule_id")
	return each(ctx, d.read, query, args, func(scan func(...any) error) error {
		var g group
		var first, last string
		if err := scan(&g.actor, &g.Technique, &g.SubTechnique, &g.Tactic, &g.rule, &g.Count, &first, &last, &g.MaxConfidence); err != nil {
			return err
		}
		g.actor = who[cmp.Or(a.whose, g.actor)]
		g.FirstSeen, _ = parseTime(first) // they come from a column of times
		g.LastSeen, _ = parseTime(last)
		sums.add(g)
		return nil
	})
}

// table is where the tags of an arm are added up.
func (d *DB) table(a arm) string {
	if a.whole {
		return "ttp_tag" + d.dialect.alongTime()
	}
	return "ttp_tag"
}

// group is one row of a rollup's query.
type group struct {
	ttp.Rollup
	actor, rule string
}

// rollups adds groups up.
type rollups map[rollupKey]*rollupSum

type rollupKey struct{ technique, subTechnique, tactic string }

type rollupSum struct {
	ttp.Rollup
	rules  map[string]int64
	actors map[string]bool
}

func (r rollups) add(g group) {
	key := rollupKey{g.Technique, g.SubTechnique, g.Tactic}
	sum := r[key]
	if sum == nil {
		sum = &rollupSum{
			Rollup: ttp.Rollup{Technique: g.Technique, SubTechnique: g.SubTechnique, Tactic: g.Tactic},
			rules:  map[string]int64{}, actors: map[string]bool{},
		}
		r[key] = sum
	}
	sum.Count += g.Count
	sum.rules[g.rule] += g.Count
	sum.actors[g.actor] = true
	sum.MaxConfidence = max(sum.MaxConfidence, exact(g.MaxConfidence))
	widen(&sum.FirstSeen, &sum.LastSeen, g.FirstSeen, g.LastSeen)
}

// exact returns what was stored in a column that may be of single precision.
func exact(confidence float64) float64 { return math.Round(confidence*1e6) / 1e6 }

// widen makes the time from first to last cover another one.
func widen(first, last *time.Time, otherFirst, otherLast time.Time) {
	if first.IsZero() || otherFirst.Before(*first) {
		*first = otherFirst
	}
	if otherLast.After(*last) {
		*last = otherLast
	}
}

// list returns the sums, the greatest first.
func (r rollups) list(countActors bool) []ttp.Rollup {
	list := make([]ttp.Rollup, 0, len(r))
	for _, sum := range r {
		if countActors {
			sum.Identities = int64(len(sum.actors))
		}
		for rule, n := range sum.rules {
			sum.Rules = append(sum.Rules, ttp.RuleCount{RuleID: rule, Count: n})
		}
		slices.SortFunc(sum.Rules, func(a, b ttp.RuleCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.RuleID, b.RuleID))
		})
		list = append(list, sum.Rollup)
	}
	slices.SortFunc(list, func(a, b ttp.Rollup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Technique, b.Technique),
			cmp.Compare(a.SubTechnique, b.SubTechnique), cmp.Compare(a.Tactic, b.Tactic))
	})
	return list
}

// Phases returns what the identity did on which decky, the earliest first.
// Tags without a decky are left out. An identity that was merged means the one
// it was merged into.
func (d *DB) Phases(ctx context.Context, identity string, f ttp.Filter) ([]ttp.Phase, error) {
	arms, _, err := d.arms(ctx, ttp.Scope{By: ttp.ByIdentity, ID: identity})
	if err != nil {
		return nil, fmt.Errorf("read phases: %w", err)
	}
	phases := map[[2]string]*ttp.Phase{}
	for _, a := range arms {
		if err := d.addPhases(ctx, a, f, phases); err != nil {
			return nil, fmt.Errorf("read phases: %w", err)
		}
	}
	list := make([]ttp.Phase, 0, len(phases))
	for p := range maps.Values(phases) {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b ttp.Phase) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.DeckyID, b.DeckyID), cmp.Compare(a.Tactic, b.Tactic))
	})
	return list, nil
}

// addPhases adds the phases of one arm. They are grouped more finely than they
// are asked for, since that is the order of the indexes.
func (d *DB) addPhases(ctx context.Context, a arm, f ttp.Filter, phases map[[2]string]*ttp.Phase) error {
	where, args := a.where(f)
	query := "SELECT decky_id, tactic, COUNT(*), CAST(MIN(created_at) AS CHAR), CAST(MAX(created_at) AS CHAR) FROM ttp_tag" +
		where + " AND decky_id IS NOT NULL GROUP BY " + a.by("technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id")
	return each(ctx, d.read, query, args, func(scan func(...any) error) error {
		var p ttp.Phase
		var first, last string
		if err := scan(&p.DeckyID, &p.Tactic, &p.Count, &first, &last); err != nil {
			return err
		}
		p.At, _ = parseTime(first) // they come from a column of times
		p.LastSeen, _ = parseTime(last)
		key := [2]string{p.DeckyID, p.Tactic}
		if known := phases[key]; known != nil {
			widen(&p.At, &p.LastSeen, known.At, known.LastSeen)
			p.Count += known.Count
		}
		phases[key] = &p
		return nil
	})
}
