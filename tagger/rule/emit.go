package rule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

var (
	tacticShape    = regexp.MustCompile(`^TA\d{4}$`)
	techniqueShape = regexp.MustCompile(`^T\d{4}$`)
	subShape       = regexp.MustCompile(`^T\d{4}\.\d{3}$`)
)

// confidences of a rule that states only a level.
var confidences = map[string]float64{
	"informational": 0.30, "low": 0.45, "medium": 0.65, "high": 0.85, "critical": 0.95,
	"": 0.65, // Sigma has no default; medium says least
}

// check looks at the shape of e, not at whether the catalogue knows it.
func (e Emit) check(field string) error {
	switch {
	case !(e.Confidence >= 0 && e.Confidence <= 1):
		return faultf(field, "confidence %v is not within 0 and 1", e.Confidence)
	case !tacticShape.MatchString(e.Tactic):
		return faultf(field, "%.20q is no tactic id like TA0007", e.Tactic)
	case !techniqueShape.MatchString(e.Technique):
		return faultf(field, "%.20q is no technique id like T1059", e.Technique)
	case e.SubTechnique != "" && !subShape.MatchString(e.SubTechnique):
		return faultf(field, "%.20q is no sub-technique id like T1059.004", e.SubTechnique)
	}
	return nil
}

// url returns the page of the sub-technique, else of the technique.
func (e Emit) url() string {
	for _, id := range []string{e.SubTechnique, e.Technique} {
		if t, ok := attack.Lookup(id); ok {
			return t.URL
		}
	}
	return ""
}

// says returns what d reports, but for the evidence.
func (d *definition) says() []ttp.Finding {
	list := make([]ttp.Finding, len(d.Emits))
	for i, e := range d.Emits {
		list[i] = ttp.Finding{
			Claim: &ttp.Claim{
				RuleID: d.ID, RuleVersion: d.Version,
				Tactic: e.Tactic, Technique: e.Technique, SubTechnique: e.SubTechnique,
				AttackRelease: d.AttackRelease, MitreURL: e.url(),
			},
			Confidence: e.Confidence,
		}
	}
	return list
}

// appendSaid appends what a rule says, with this evidence.
func appendSaid(list, says []ttp.Finding, evidence ttp.Object) []ttp.Finding {
	list = append(list, says...)
	for i := len(list) - len(says); i < len(list); i++ {
		list[i].Evidence = evidence
	}
	return list
}

func newEmit(id, tactic string, confidence float64) Emit {
	e := Emit{Tactic: tactic, Technique: id, Confidence: confidence}
	if parent, _, sub := strings.Cut(id, "."); sub {
		e.Technique, e.SubTechnique = parent, id
	}
	return e
}

// tags are what the attack.* tags of a Sigma rule say.
type tags struct {
	techniques []string // as written, in upper case
	tactics    []string // ids
}

func readTags(list []string) tags {
	var t tags
	for _, tag := range list {
		name, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(tag)), "attack.")
		if !ok {
			continue
		}
		id := strings.ToUpper(name)
		if techniqueShape.MatchString(id) || subShape.MatchString(id) {
			t.techniques = append(t.techniques, id)
		} else if tactic, ok := attack.LookupTactic(strings.ReplaceAll(name, "_", "-")); ok {
			t.tactics = append(t.tactics, tactic.ID)
		}
	}
	return t
}

// emits returns one emit for each technique; ids that were revoked are what
// replaced them.
func (t tags) emits(confidence float64) ([]Emit, error) {
	var list []Emit
	for _, old := range t.techniques {
		id := attack.Successor(old)
		known, ok := attack.Lookup(id)
		if !ok {
			return nil, faultf("tags", "technique %s is not in the catalogue", old)
		}
		e := newEmit(id, t.tacticOf(known), confidence)
		if e.Tactic != "" && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list, nil
}

// tacticOf returns the first tactic in the order of the matrix that the
// technique has and the rule names; if there is none, the technique's first.
func (t tags) tacticOf(known attack.Technique) string {
	ids := inMatrixOrder(known.Tactics)
	for _, id := range ids {
		if slices.Contains(t.tactics, id) {
			return id
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

func inMatrixOrder(ids []string) []string {
	order := func(id string) int { t, _ := attack.LookupTactic(id); return t.Order }
	return slices.SortedStableFunc(slices.Values(ids), func(a, b string) int { return order(a) - order(b) })
}

// readEmits reads the emit list of our own format.
func readEmits(n *yaml.Node, t tags) ([]Emit, error) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, faultf("emit", "a list of {technique, tactic, confidence} is wanted")
	}
	var list []Emit
	for _, entry := range n.Content {
		e, err := readEmit(resolve(entry), t)
		if err != nil {
			return nil, &fault{"emit", fmt.Errorf("line %d: %w", entry.Line, err)}
		}
		same := func(o Emit) bool { return o.Technique == e.Technique && o.SubTechnique == e.SubTechnique }
		if slices.ContainsFunc(list, same) {
			return nil, faultf("emit", "line %d: the technique is there twice", entry.Line)
		}
		list = append(list, e)
	}
	return list, nil
}

func readEmit(n *yaml.Node, t tags) (Emit, error) {
	var id, tactic, confidence string
	err := eachMember(n, func(name string, value *yaml.Node) error {
		fields := map[string]*string{"technique": &id, "tactic": &tactic, "confidence": &confidence}
		if fields[name] == nil {
			return fmt.Errorf("unknown key %q%s", name, suggest(name, []string{"technique", "tactic", "confidence"}))
		}
		*fields[name] = strings.Join(scalars(value), ",")
		return nil
	})
	if err != nil {
		return Emit{}, err
	}
	known, err := current(id)
	if err != nil {
		return Emit{}, err
	}
	if tactic, err = settle(known, tactic, t); err != nil {
		return Emit{}, err
	}
	c, err := strconv.ParseFloat(confidence, 64)
	if err != nil {
		return Emit{}, fmt.Errorf("confidence %q is not a number", confidence)
	}
	e := newEmit(id, tactic, c)
	if err := e.check("emit"); err != nil {
		return Emit{}, errors.Unwrap(err)
	}
	return e, nil
}

// current returns the technique, which must not have been revoked.
func current(id string) (attack.Technique, error) {
	t, ok := attack.Lookup(id)
	switch next := attack.Successor(id); {
	case ok && !t.Revoked:
		return t, nil
	case next != "":
		return t, fmt.Errorf("technique %s was revoked, use %s", id, next)
	case id == "":
		return t, errors.New("technique is missing")
	}
	return t, fmt.Errorf("technique %.20q is not in ATT&CK %s", id, attack.Release)
}

// settle returns the id of the tactic that an emit means: the one it names, the
// technique's only one, or the only one of several that the tags name.
func settle(known attack.Technique, name string, t tags) (string, error) {
	if name != "" {
		tactic, ok := attack.LookupTactic(name)
		if !ok {
			return "", fmt.Errorf("unknown tactic %.40q", name)
		}
		if !slices.Contains(known.Tactics, tactic.ID) {
			return "", fmt.Errorf("technique %s is not of tactic %s, but of %s",
				known.ID, tactic.ID, strings.Join(known.Tactics, ", "))
		}
		return tactic.ID, nil
	}
	candidates := known.Tactics
	if len(candidates) > 1 {
		candidates = slices.DeleteFunc(slices.Clone(candidates), func(id string) bool {
			return !slices.Contains(t.tactics, id)
		})
	}
	if len(candidates) != 1 {
		return "", fmt.Errorf("technique %s has the tactics %s: say which", known.ID, strings.Join(known.Tactics, ", "))
	}
	return candidates[0], nil
}
