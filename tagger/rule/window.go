package rule

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// judge returns the sightings that make the rule true, nil if none do.
func (r *sessionRule) judge(all []sighting) []sighting {
	groups := make(map[string][]sighting)
	var order []string
	for _, s := range all {
		i := slices.Index(r.asked, s.asked)
		if i < 0 {
			continue
		}
		k := r.group(&s, r.correlation.rules[i])
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	for _, k := range order {
		if shown := r.inGroup(groups[k]); shown != nil {
			return shown
		}
	}
	return nil
}

// group names the group of a sighting.
func (r *sessionRule) group(s *sighting, name string) string {
	var b strings.Builder
	for _, g := range r.correlation.groupBy {
		b.WriteString(s.value(r.correlation.fieldOf(g, name)))
		b.WriteByte(0)
	}
	return b.String()
}

func (r *sessionRule) inGroup(list []sighting) []sighting {
	switch r.correlation.sort {
	case temporalOrdered:
		return r.inOrder(list)
	case eventCount:
		list = slices.CompactFunc(slices.Clone(list), func(a, b sighting) bool { return a.entry == b.entry && a.record == b.record })
	}
	return r.inWindow(list)
}

// inWindow returns the sightings of the first window of time in which the rule
// is true. A window ends with each sighting and is as long as the timespan.
func (r *sessionRule) inWindow(list []sighting) []sighting {
	seen := make(map[string]int) // how often, by what counts
	from := 0
	for i := range list {
		seen[r.counts(&list[i])]++
		for !r.together(list[from].at, list[i].at) {
			k := r.counts(&list[from])
			if seen[k]--; seen[k] == 0 {
				delete(seen, k)
			}
			from++
		}
		if r.enough(i+1-from, len(seen)) {
			return list[from : i+1]
		}
	}
	return nil
}

// counts returns what of a sighting is counted once.
func (r *sessionRule) counts(s *sighting) string {
	if r.correlation.sort == valueCount {
		return s.value(r.correlation.field)
	}
	return s.ID
}

func (r *sessionRule) enough(events, different int) bool {
	switch r.correlation.sort {
	case eventCount:
		return r.correlation.holds(events)
	case valueCount:
		return r.correlation.holds(different)
	}
	return different == r.different()
}

// different is how many different rules must be seen.
func (r *sessionRule) different() int {
	ids := make(map[string]bool)
	for _, a := range r.asked {
		ids[a.ID] = true
	}
	return len(ids)
}

// together reports whether two points in time are within the timespan. Nobody
// can tell of those that are not known.
func (r *sessionRule) together(a, b time.Time) bool {
	return r.correlation.span == 0 || b.Sub(a) <= r.correlation.span
}

// inOrder returns sightings of all rules one after the other. For every rule
// but the last it knows the chain up to it that began latest. What is seen of
// several rules at once goes to the later rule first, to a chain that ended before.
func (r *sessionRule) inOrder(list []sighting) []sighting {
	list = slices.SortedStableFunc(slices.Values(list), func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.entry, b.entry), cmp.Compare(a.record, b.record),
			cmp.Compare(slices.Index(r.asked, b.asked), slices.Index(r.asked, a.asked)))
	})
	chains := make([][]sighting, len(r.asked))
	for _, s := range list {
		for j := len(r.asked) - 1; j >= 0; j-- {
			if r.asked[j] != s.asked {
				continue
			}
			chain := []sighting{s}
			if j > 0 {
				if len(chains[j-1]) == 0 || !before(&chains[j-1][j-1], &s) {
					continue
				}
				chain = append(chains[j-1][:j:j], s)
			}
			if !r.together(chain[0].at, s.at) {
				continue
			}
			if j == len(r.asked)-1 {
				return chain
			}
			if len(chains[j]) == 0 || !before(&chain[0], &chains[j][0]) {
				chains[j] = chain
			}
		}
	}
	return nil
}

// before reports whether a happened before b: in an earlier entry, or in an
// earlier command of the same line.
func before(a, b *sighting) bool {
	return a.entry < b.entry || a.entry == b.entry && a.record < b.record
}

// maxShown bounds how many sightings are evidence.
const maxShown = 8

func (r *sessionRule) findings(ev *ttp.Event, shown []sighting) []ttp.Finding {
	var evidence ttp.Object
	for _, p := range r.evidence {
		if v, ok := p.in(ev.Payload); ok {
			evidence = append(evidence, ttp.Member{Name: p.name, Value: cut(v)})
		}
	}
	evidence = append(evidence,
		ttp.Member{Name: "count", Value: ttp.Number(int64(len(shown)))},
		ttp.Member{Name: "matched", Value: matchedValue(shown)})
	return appendSaid(nil, r.says, evidence)
}

// matchedValue is the first and the last sightings as evidence.
func matchedValue(shown []sighting) ttp.Value {
	if over := len(shown) - maxShown; over > 0 {
		shown = slices.Delete(slices.Clone(shown), maxShown/2, maxShown/2+over)
	}
	dst := []byte{'['}
	for i, s := range shown {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := ttp.Object{{Name: "rule", Value: ttp.Quote(s.ID)}, {Name: "text", Value: ttp.Quote(s.text)}}
		if !s.at.IsZero() {
			o = append(o, ttp.Member{Name: "at", Value: ttp.Quote(s.at.Format(time.RFC3339Nano))})
		}
		dst = o.AppendJSON(dst)
	}
	return ttp.Value(append(dst, ']'))
}
