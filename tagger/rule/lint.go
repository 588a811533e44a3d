package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

// Severity is how much a remark matters.
type Severity int

// An error keeps a rule from working, a warning is likely not meant, a hint
// would make a good rule better.
const (
	Hint Severity = iota
	Warning
	Error
)

func (s Severity) String() string { return [...]string{"hint", "warning", "error"}[s] }

// Remark is something to say about a rule.
type Remark struct {
	Severity Severity
	File     string
	Line     int // where the rule begins in the file, 0 if it is about no rule
	Rule     string
	Field    string // the key it is about, "" if none in particular
	Text     string
}

// Lint reads the rules of the sources and returns what there is to say about
// them, by file and line.
func Lint(sources ...Source) []Remark {
	l := new(linter)
	var files []*File
	for _, src := range sources {
		names, problems := src.Files()
		l.problems(problems)
		for _, name := range names {
			files = append(files, src.Read(name, nil))
		}
	}
	rules, problems := unique(files)
	l.problems(problems)
	set := newSet(Options{}, rules)
	for _, d := range rules {
		l.rule(d)
	}
	l.broad(set)
	l.locate(rules)
	slices.SortStableFunc(l.remarks, func(a, b Remark) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Rule, b.Rule), int(b.Severity)-int(a.Severity), strings.Compare(a.Field, b.Field), strings.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(l.remarks, func(a, b Remark) bool { return a == b })
}

// linter collects remarks.
type linter struct{ remarks []Remark }

func (l *linter) problems(list []Problem) {
	for _, p := range list {
		l.remarks = append(l.remarks, Remark{Severity: Error, File: p.File, Rule: p.Rule, Field: p.Field, Text: p.Err.Error()})
	}
}

func (l *linter) say(s Severity, d *definition, field, format string, args ...any) {
	l.remarks = append(l.remarks, Remark{s, d.File, d.line, d.ID, field, fmt.Sprintf(format, args...)})
}

// locate gives the problems, which know no line, the one of their rule.
func (l *linter) locate(rules []*definition) {
	for i := range l.remarks {
		r := &l.remarks[i]
		for _, d := range rules {
			if r.Line == 0 && r.Rule != "" && r.Rule == d.ID && r.File == d.File {
				r.Line = d.line
			}
		}
	}
}

func (l *linter) rule(d *definition) {
	l.unknownKeys(d)
	if d.Status == Refused {
		return
	}
	if d.Status != Loaded && d.Status != OfLifter {
		l.say(Hint, d, "", "not in use: %s", d.Reason)
	}
	l.attackIDs(d)
	l.confidence(d)
	if d.Status != Loaded {
		return
	}
	l.unknownFields(d)
	l.patterns(d)
	l.courtesy(d)
	if d.Unindexed {
		l.say(Hint, d, "", "there is no text that it always requires, so it is evaluated for every event of its kind")
	}
}

var decnetKeys = []string{
	"rule_id", "rule_version", "name", "description", "applies_to", "match", "emits", "evidence_fields", "attack_release", "references",
	"state", "author", "confidence_max", "schema_version", "tags", "notes",
}

// unknownKeys looks for keys that were likely meant to be others. DECNET and
// Sigma files may have keys of their own, so the rest is passed over.
func (l *linter) unknownKeys(d *definition) {
	known := slices.Concat(sigmaKeys, ownKeys, []string{"correlation", "filter"})
	if d.Format == DECNET {
		known = decnetKeys
	}
	slices.Sort(d.keys)
	for _, name := range d.keys {
		if slices.Contains(known, name) || d.Format == Own {
			continue // of our own format, loading refuses it
		}
		if hint := suggest(name, known); hint != "" {
			l.say(Warning, d, name, "unknown key%s", hint)
		}
	}
}

// attackIDs holds techniques and tactics against the catalogue. What our own
// format says of them was held against it at load.
func (l *linter) attackIDs(d *definition) {
	if d.Format == DECNET {
		for _, e := range d.Emits {
			l.emit(d, e)
		}
		return
	}
	for _, tag := range d.tags {
		if name, ok := strings.CutPrefix(strings.ToLower(tag), "attack."); ok {
			l.attackTag(d, tag, name)
		}
	}
}

func (l *linter) emit(d *definition, e Emit) {
	id := cmp.Or(e.SubTechnique, e.Technique)
	known, err := current(id)
	if err != nil {
		l.say(Warning, d, "emits", "%v", err)
		return
	}
	if _, ok := attack.LookupTactic(e.Tactic); !ok {
		l.say(Warning, d, "emits", "unknown tactic %.40q", e.Tactic)
	} else if !slices.Contains(known.Tactics, e.Tactic) {
		l.say(Warning, d, "emits", "technique %s is not of tactic %s, but of %s", id, e.Tactic, strings.Join(known.Tactics, ", "))
	}
	if e.SubTechnique != "" && !strings.HasPrefix(e.SubTechnique, e.Technique+".") {
		l.say(Warning, d, "emits", "%s is no sub-technique of %s", e.SubTechnique, e.Technique)
	}
}

// attackTag looks at one tag of a Sigma rule. Groups and software are no
// techniques, and fine.
func (l *linter) attackTag(d *definition, tag, name string) {
	id := strings.ToUpper(name)
	switch {
	case techniqueShape.MatchString(id) || subShape.MatchString(id):
		if _, err := current(id); err != nil {
			l.say(Warning, d, "tags", "%v", err)
		}
	case len(name) == 5 && (name[0] == 'g' || name[0] == 's') && strings.Trim(name[1:], "0123456789") == "":
	default:
		short := strings.ReplaceAll(name, "_", "-")
		if _, ok := attack.LookupTactic(short); !ok {
			l.say(Warning, d, "tags", "%.60q names no tactic and no technique%s", tag, suggest(short, tacticNames()))
		}
	}
}

func tacticNames() (names []string) {
	for _, t := range attack.Tactics() {
		names = append(names, t.ShortName)
	}
	return names
}

// confidence looks for tags that are never stored. A confidence of 0 says that
// the rule does not mean to have any.
func (l *linter) confidence(d *definition) {
	for _, e := range d.Emits {
		if e.Confidence > 0 && e.Confidence < ttp.MinConfidence && d.Status == Loaded {
			l.say(Warning, d, "confidence", "%v of %s is below the floor of %v: such a tag is never stored", e.Confidence, cmp.Or(e.SubTechnique, e.Technique), ttp.MinConfidence)
		}
	}
}

// courtesy is what a rule of our own format owes its readers.
func (l *linter) courtesy(d *definition) {
	if d.Format != Own {
		return
	}
	for name, missing := range map[string]bool{
		"description": d.Description == "", "references": d.References == nil, "falsepositives": d.FalsePositives == nil,
	} {
		if missing {
			l.say(Hint, d, name, "it is missing")
		}
	}
	positive := 0
	for _, ex := range d.tests {
		if ex.match {
			positive++
		}
	}
	if positive < 2 || len(d.tests)-positive < 2 {
		l.say(Hint, d, "tests", "%d match and %d do not; two of each is the least that says anything", positive, len(d.tests)-positive)
	}
}

// unknownFields looks for fields that no producer sends and that are likely
// meant to be others.
func (l *linter) unknownFields(d *definition) {
	fields := d.fields
	for _, e := range d.detect {
		e.each(func(t *test) {
			if d.Format == DECNET && !slices.Contains(fields, t.field) {
				fields = append(fields, t.field)
			}
		})
	}
	for _, kind := range d.Kinds {
		known := knownFields(kind)
		for _, name := range fields {
			root, _, _ := strings.Cut(name, ".")
			if name == anyText || slices.Contains(known, name) || slices.Contains(known, root) {
				continue
			}
			if hint := suggestField(name, known); hint != "" {
				l.say(Warning, d, name, "no event of kind %s has this field%s", kind, hint)
			} else {
				l.say(Hint, d, name, "no producer known here sends this field in events of kind %s", kind)
			}
		}
	}
}

// suggestField also finds a field that is only written in another case.
func suggestField(name string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Sprintf(", did you mean %q?", k)
		}
	}
	return suggest(name, known)
}

// patterns looks for expressions that take exponential time where a search
// backtracks, and for those that are searched that way here.
func (l *linter) patterns(d *definition) {
	seen := make(map[string]bool)
	for _, e := range d.detect {
		e.each(func(t *test) {
			if t.how != matches || seen[t.text] {
				return
			}
			seen[t.text] = true
			l.pattern(d, t)
		})
	}
}

func (l *linter) pattern(d *definition, t *test) {
	source, python := strings.CutPrefix(t.text, "python:")
	if python {
		source = fromPython(source)
	}
	text := catastrophic(source)
	backtracks := t.pattern.backtracking != nil
	switch {
	case text != "" && backtracks:
		l.say(Warning, d, t.field, "catastrophic pattern: it takes exponential time on %.40q… and is given up after %v; so is the event", text, patternTimeout)
	case text != "":
		l.say(Warning, d, t.field, "catastrophic pattern: engines that backtrack take exponential time on %.40q…; here it is searched in linear time", text)
	case backtracks:
		l.say(Hint, d, t.field, "look-around or a backreference: the search backtracks and is given up after %v", patternTimeout)
	}
}

// broad looks for rules that match events which say nothing.
func (l *linter) broad(set *Set) {
	reported := make(map[string]bool)
	for _, kind := range set.Kinds() {
		for _, probe := range probes(kind) {
			for _, f := range set.firing(&ttp.Event{Kind: kind, Payload: probe.payload}) {
				if !reported[f.ID] {
					reported[f.ID] = true
					l.say(Warning, f, "", "over-broad: it matches %s", probe.what)
				}
			}
		}
	}
}

// firing returns the rules that match the event. An error is of a pattern that
// was given up, which another remark is about.
func (s *Set) firing(ev *ttp.Event) (rules []*definition) {
	findings, err := s.Tag(context.Background(), ev)
	if err != nil && !ttp.IsPermanent(err) {
		panic(errors.Join(errors.New("matching has no other way to fail"), err))
	}
	for _, r := range s.matchers[ev.Kind].rules {
		if slices.ContainsFunc(findings, func(f ttp.Finding) bool { return f.RuleID == r.ID }) {
			rules = append(rules, r.definition)
		}
	}
	return rules
}

type probe struct {
	what    string
	payload ttp.Object
}

// probes are events that no rule should match.
func probes(kind ttp.Kind) []probe {
	list := []probe{{"an event without any field", nil}}
	if name := defaultField[kind]; name != "" {
		for _, text := range []string{"zqxjkvwp", "the quick brown fox jumps over the lazy dog 0123456789"} {
			list = append(list, probe{fmt.Sprintf("%s %q", name, text), ttp.Object{{Name: name, Value: ttp.Quote(text)}}})
		}
	}
	return list
}
