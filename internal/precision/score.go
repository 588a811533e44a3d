package main

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

// From loud a tag is an alarm that an ordinary command must not raise; from
// sure, 95 of 100 tags are to be right.
const (
	loud = 0.8
	sure = 0.85
)

// share is how many of some are as they are asked to be.
type share struct{ n, of int }

func (s *share) ratio() float64 { return float64(s.n) / float64(max(s.of, 1)) }

// shares counts by name.
type shares map[string]*share

func (m shares) count(name string, ok bool) {
	if m[name] == nil {
		m[name] = &share{}
	}
	m[name].of++
	if ok {
		m[name].n++
	}
}

// score is what one pack makes of the texts.
type score struct {
	pack    string
	refused int // rules
	rules   tagger.Tagger

	measures shares              // by measure
	labels   shares              // statements agreed, by label
	attacks  shares              // parameters found, by sort of attack
	missed   map[string][]string // by measure: what was not found
	raised   map[string][]string // by rule: ordinary texts it tagged
}

// The measures.
const (
	ofTests    = "Atomic tests: technique found in any line"
	ofShells   = "reverse shells tagged"
	ofOrdinary = "ordinary commands with a tag of 0.8 or more"
	ofAttacks  = "HTTP parameters: attacks tagged"
	ofNormal   = "HTTP parameters: ordinary ones tagged"
	sureLines  = "tags of 0.85 or more: command lines of attacks, not ordinary ones"
	sureLabels = "tags of 0.85 or more: statements with one of the label's tactic"
	sureParams = "tags of 0.85 or more: parameters that are attacks"
	sureTests  = "tags of 0.85 or more: Atomic lines with the test's technique or tactic"
)

func measure(ctx context.Context, name string, rules tagger.Tagger, c *corpora) (*score, error) {
	s := &score{
		pack: name, rules: rules, measures: shares{}, labels: shares{}, attacks: shares{},
		missed: make(map[string][]string), raised: make(map[string][]string),
	}
	for _, step := range []func(context.Context, *corpora) error{s.tests, s.statements, s.shells, s.ordinary, s.params} {
		if err := step(ctx, c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// tag returns what would be stored for the event.
func (s *score) tag(ctx context.Context, kind ttp.Kind, member, text string) ([]ttp.Finding, error) {
	ev := &ttp.Event{Kind: kind, Payload: ttp.Object{{Name: member, Value: ttp.Quote(text)}}}
	found, err := s.rules.Tag(ctx, ev)
	return atLeast(ttp.MinConfidence, found), err
}

func (s *score) typed(ctx context.Context, line string, byAttacker bool) ([]ttp.Finding, error) {
	tags, err := s.tag(ctx, ttp.Command, "command_text", line)
	if len(atLeast(sure, tags)) > 0 {
		s.measures.count(sureLines, byAttacker)
	}
	return tags, err
}

func atLeast(confidence float64, tags []ttp.Finding) []ttp.Finding {
	return slices.DeleteFunc(slices.Clone(tags), func(f ttp.Finding) bool { return f.Confidence < confidence })
}

// tests counts a test as found if any of its lines shows its technique; the
// others prepare it or clean up.
func (s *score) tests(ctx context.Context, c *corpora) error {
	for _, lines := range grouped(c.tests) {
		found := false
		for _, line := range lines {
			tags, err := s.typed(ctx, line.text, true)
			if err != nil {
				return err
			}
			shows := func(f ttp.Finding) bool { return f.Technique == line.want || f.SubTechnique == line.want }
			found = found || slices.ContainsFunc(tags, shows)
			if certain := atLeast(sure, tags); len(certain) > 0 {
				s.measures.count(sureTests, slices.ContainsFunc(certain, func(f ttp.Finding) bool {
					return shows(f) || slices.Contains(tacticsOf(line.want), f.Tactic)
				}))
			}
		}
		s.found(ofTests, found, lines[0].want+" "+lines[0].name+": "+texts(lines))
	}
	return nil
}

func texts(samples []sample) string {
	list := make([]string, len(samples))
	for i, s := range samples {
		list[i] = s.text
	}
	return strings.Join(list, " ⏎ ")
}

// found counts, and remembers what was not found.
func (s *score) found(measure string, ok bool, text string) {
	s.measures.count(measure, ok)
	if !ok {
		s.missed[measure] = append(s.missed[measure], text)
	}
}

func (s *score) statements(ctx context.Context, c *corpora) error {
	for _, line := range c.statements {
		tags, err := s.typed(ctx, line.text, true)
		if err != nil {
			return err
		}
		wanted := tacticsByLabel[line.want]
		agrees := func(f ttp.Finding) bool { return slices.Contains(wanted, f.Tactic) }
		agreed := slices.ContainsFunc(tags, agrees)
		if wanted == nil {
			agreed = len(tags) == 0
		}
		s.labels.count(line.want, agreed)
		if !agreed {
			s.missed[line.want] = append(s.missed[line.want], line.text)
		}
		if certain := slices.DeleteFunc(atLeast(sure, tags), unlabelled); len(certain) > 0 {
			s.measures.count(sureLabels, slices.ContainsFunc(certain, agrees))
		}
	}
	return nil
}

// tacticsByLabel are the tactics of today for those of the labels. What was
// Defense Evasion when they were given is two tactics now. Statements labelled
// otherwise, as harmless or of another tactic, are to have no tag.
var tacticsByLabel = map[string][]string{
	"Execution":       {"TA0002"},
	"Persistence":     {"TA0003"},
	"Defense Evasion": {"TA0005", "TA0112"},
	"Discovery":       {"TA0007"},
	"Impact":          {"TA0040"},
}

// unlabelled reports whether the labels have no word for the tag's tactic.
func unlabelled(f ttp.Finding) bool {
	for tactics := range maps.Values(tacticsByLabel) {
		if slices.Contains(tactics, f.Tactic) {
			return false
		}
	}
	return true
}

// agreement returns the share of labelled statements whose tactic was found:
// of all of them, and as the mean over the tactics.
func (s *score) agreement() (micro share, macro float64) {
	for label := range tacticsByLabel {
		if of := s.labels[label]; of != nil {
			micro.n, micro.of = micro.n+of.n, micro.of+of.of
			macro += of.ratio() / float64(len(tacticsByLabel))
		}
	}
	return micro, macro
}

func (s *score) shells(ctx context.Context, c *corpora) error {
	for _, line := range c.shells {
		tags, err := s.typed(ctx, line.text, true)
		if err != nil {
			return err
		}
		s.found(ofShells, len(tags) > 0, line.text)
	}
	return nil
}

func (s *score) ordinary(ctx context.Context, c *corpora) error {
	for _, line := range c.ordinary {
		tags, err := s.typed(ctx, line.text, false)
		if err != nil {
			return err
		}
		tags = atLeast(loud, tags)
		s.measures.count(ofOrdinary, len(tags) > 0)
		s.raise(tags, line.text)
	}
	return nil
}

// raise remembers which rules tagged an ordinary text.
func (s *score) raise(tags []ttp.Finding, text string) {
	seen := make(map[string]bool)
	for _, f := range tags {
		if !seen[f.RuleID] {
			s.raised[f.RuleID] = append(s.raised[f.RuleID], text)
		}
		seen[f.RuleID] = true
	}
}

// params sends each parameter as browsers do, percent-encoded.
func (s *score) params(ctx context.Context, c *corpora) error {
	for _, p := range c.params {
		tags, err := s.tag(ctx, ttp.HTTPRequest, "raw_url", "/?q="+url.QueryEscape(p.text))
		if err != nil {
			return err
		}
		if p.want == ordinary {
			s.measures.count(ofNormal, len(tags) > 0)
			s.raise(tags, p.text)
		} else {
			s.found(ofAttacks, len(tags) > 0, p.want+": "+p.text)
			s.attacks.count(p.want, len(tags) > 0)
		}
		if len(atLeast(sure, tags)) > 0 {
			s.measures.count(sureParams, p.want != ordinary)
		}
	}
	return nil
}
