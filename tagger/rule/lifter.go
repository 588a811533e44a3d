package rule

import (
	"slices"
	"strconv"
	"strings"

	"ttp-worker/ttp"
)

// A DECNET rule whose match.kind begins with "lifter:" says what is reported
// and how sure that is; what makes it fire is code there. Here it is the
// detection of the rule with the same id among Options.Lifters, asked through
// the same lifter.

// lifted returns rules with those put into use that have their logic in a
// lifter. The definitions given stay as they are.
func lifted(rules []*definition, lifters []*File) []*definition {
	if !slices.ContainsFunc(rules, func(d *definition) bool { return d.Status == OfLifter }) {
		return rules
	}
	twins := make(map[string]*definition)
	for _, f := range lifters {
		for _, d := range f.rules {
			if d.Status == Loaded && d.detect != nil {
				twins[d.ID] = d
			}
		}
	}
	out := slices.Clone(rules)
	for i, d := range out {
		if twin := twins[d.ID]; twin != nil && d.Status == OfLifter && len(d.Emits) > 0 {
			out[i] = d.likeTwin(twin)
		}
	}
	return out
}

// likeTwin returns d with the detection of its twin, and with its evidence,
// which is how a lifter knows what a rule asked for.
func (d *definition) likeTwin(twin *definition) *definition {
	like := *d
	like.Status, like.Reason = Loaded, ""
	like.Kinds, like.Evidence, like.fields = twin.Kinds, d.lifterEvidence(twin), twin.fields
	p := parameters{given: d.Match, alone: countLimits(twin.detect[twin.Kinds[0]]) == 1}
	like.detect = make(map[ttp.Kind]*expr)
	for kind, e := range twin.detect {
		like.detect[kind] = p.put(e)
	}
	if unused := p.unused(); len(unused) > 0 {
		like.Reason = "not used: " + strings.Join(unused, ", ")
	}
	return &like
}

// showing are the lifters of DECNET that store what a rule lists; what the
// others store is the same whatever it lists.
var showing = []string{"lifter:behavioral_", "lifter:credential_", "lifter:identity_"}

// lifterEvidence returns the members that d shows: those of its twin and, if
// its lifter heeds them, its own.
func (d *definition) lifterEvidence(twin *definition) []string {
	heeds := func(prefix string) bool { return strings.HasPrefix(d.LifterKind, prefix) }
	if !slices.ContainsFunc(showing, heeds) {
		return twin.Evidence
	}
	evidence := slices.Clip(twin.Evidence)
	for _, name := range d.Evidence {
		if !slices.Contains(evidence, name) {
			evidence = append(evidence, name)
		}
	}
	return evidence
}

// parameters are what stands beside match.kind. The limits of a detection are
// taken from them.
type parameters struct {
	given map[string]any
	alone bool // there is only one limit, so that it needs no name
	used  []string
}

func countLimits(e *expr) (n int) {
	e.each(func(t *test) {
		if t.how >= less && t.how <= greaterOrEqual {
			n++
		}
	})
	return n
}

// put returns e with the limits that are given.
func (p *parameters) put(e *expr) *expr {
	out := *e
	if e.op == opTest {
		if e.test.how >= less && e.test.how <= greaterOrEqual {
			out.test = p.limit(e.test)
		}
		return &out
	}
	out.parts = make([]*expr, len(e.parts))
	for i, part := range e.parts {
		out.parts[i] = p.put(part)
	}
	return &out
}

func (p *parameters) limit(t *test) *test {
	names := []string{t.field, "min_" + t.field, t.field + "_min", t.field + "_gte", t.field + "_threshold"}
	if t.how == less || t.how == lessOrEqual {
		names = []string{t.field, "max_" + t.field, t.field + "_max", t.field + "_lte", t.field + "_threshold"}
	}
	if p.alone {
		names = append(names, "threshold", "min_count", "count", "min", "limit")
	}
	for _, name := range names {
		number, ok := number(p.given[name])
		if !ok {
			continue
		}
		p.used = append(p.used, name)
		out := *t
		out.number, out.text = number, strconv.FormatFloat(number, 'g', -1, 64)
		return &out
	}
	return t
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// unused returns the parameters that mean nothing here, sorted.
func (p *parameters) unused() []string {
	var names []string
	for name := range p.given {
		if name != "kind" && !slices.Contains(p.used, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
