package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/ttp"
)

// example is a test that stands in a rule file.
type example struct {
	line       int // in the file
	input      string
	payload    ttp.Object
	match      bool
	techniques []string // that a match must report
}

// suite is the examples of one rule.
type suite struct {
	rule, file string
	kind       ttp.Kind
	examples   []example
}

// Failure is an example of a rule file that does not come out as it says.
type Failure struct {
	Rule  string
	File  string
	Line  int    // in the file
	Input string // the event, as it stands there
	Event ttp.Event
	Want  string
	Got   string
}

// Error says which example, and what came of it.
func (f Failure) Error() string {
	return fmt.Sprintf("%s:%d: rule %s: %.200q: want %s, got %s", f.File, f.Line, f.Rule, f.Input, f.Want, f.Got)
}

// Test runs the examples that stand in the rule files against the whole set and
// returns those that fail.
func (s *Set) Test() []Failure {
	var failures []Failure
	for _, suite := range s.tests {
		for _, ex := range suite.examples {
			ev := ttp.Event{Kind: suite.kind, Payload: ex.payload}
			findings, err := s.Tag(context.Background(), &ev)
			if got := ex.judge(suite.rule, findings, err); got != "" {
				failures = append(failures, Failure{suite.rule, suite.file, ex.line, ex.input, ev, ex.want(), got})
			}
		}
	}
	return failures
}

// judge says what came instead of what was wanted, "" if nothing did.
func (ex *example) judge(rule string, findings []ttp.Finding, err error) string {
	if err != nil {
		return err.Error()
	}
	var got []string
	for _, f := range findings {
		if f.RuleID == rule {
			got = append(got, f.Technique, f.SubTechnique)
		}
	}
	for _, id := range ex.techniques {
		if len(got) > 0 && !slices.Contains(got, id) {
			return "a match without " + id
		}
	}
	switch {
	case ex.match && len(got) == 0:
		return "no match"
	case !ex.match && len(got) > 0:
		return "a match"
	}
	return ""
}

func (ex *example) want() string {
	switch {
	case !ex.match:
		return "no match"
	case len(ex.techniques) > 0:
		return "a match with " + strings.Join(ex.techniques, ", ")
	}
	return "a match"
}

// readExamples reads the tests of our own format and the exemplars that the
// engine rsigma keeps in Sigma's custom attributes.
func readExamples(root *yaml.Node, kind ttp.Kind) ([]example, error) {
	var list []example
	if tests := member(root, "tests"); tests != nil {
		for _, n := range tests.Content {
			ex, err := readTest(resolve(n), kind)
			if err != nil {
				return nil, &fault{"tests", fmt.Errorf("line %d: %w", n.Line, err)}
			}
			list = append(list, ex)
		}
	}
	if custom := member(root, "custom_attributes"); custom != nil {
		if exemplars := member(custom, "rsigma.exemplars"); exemplars != nil {
			for _, n := range exemplars.Content {
				ex, err := readExemplar(resolve(n), kind)
				if err != nil {
					return nil, &fault{"custom_attributes", fmt.Errorf("line %d: %w", n.Line, err)}
				}
				list = append(list, ex)
			}
		}
	}
	return list, nil
}

func readTest(n *yaml.Node, kind ttp.Kind) (example, error) {
	ex := example{line: n.Line}
	var input *yaml.Node
	err := eachMember(n, func(name string, value *yaml.Node) error {
		switch name {
		case "match", "no_match":
			if input != nil {
				return fmt.Errorf("match and no_match in one test")
			}
			input, ex.match = resolve(value), name == "match"
		case "technique":
			ex.techniques = scalars(value)
		default:
			return fmt.Errorf("unknown key %q%s", name, suggest(name, []string{"match", "no_match", "technique"}))
		}
		return nil
	})
	if err != nil {
		return ex, err
	}
	if input == nil {
		return ex, fmt.Errorf("neither match nor no_match")
	}
	return ex, ex.setInput(input, kind)
}

func readExemplar(n *yaml.Node, kind ttp.Kind) (example, error) {
	ex := example{line: n.Line}
	input := member(n, "event")
	switch first(n, "expect") {
	case "match":
		ex.match = true
	case "no-match":
	default:
		return ex, fmt.Errorf("expect is neither match nor no-match")
	}
	if input == nil {
		return ex, fmt.Errorf("event is missing")
	}
	return ex, ex.setInput(input, kind)
}

// setInput takes a map as the payload and a text as the default field of the
// kind.
func (ex *example) setInput(n *yaml.Node, kind ttp.Kind) error {
	if n.Kind == yaml.ScalarNode {
		name := defaultField[kind]
		if name == "" {
			return fmt.Errorf("kind %s has no default field: write the payload as a map", kind)
		}
		ex.input = n.Value
		ex.payload = ttp.Object{{Name: name, Value: ttp.Quote(n.Value)}}
		return nil
	}
	var payload map[string]any
	if err := n.Decode(&payload); err != nil {
		return err
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	ex.input = string(data)
	ex.payload, err = ttp.ParseObject(ex.input)
	return err
}
