package navigator_test

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ttp-worker/navigator"
)

// schema is a transcription of the format's description; the Navigator's own
// checks are code.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("testdata/layer-4.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, layers []navigator.Layer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := navigator.Write(&b, layers); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLayers_satisfyTheSchema(t *testing.T) {
	t.Parallel()
	full := navigator.Head{
		Name: "x", Description: "d", Colors: []string{"#fff", "#f00"},
		Metadata: []navigator.Metadata{{Name: "scope", Value: "fleet"}}, Links: []navigator.Link{{Label: "a", URL: "https://example.org/"}},
	}
	for name, scores := range map[string][]navigator.Score{
		"no score at all":         nil,
		"one domain":              {{Technique: "T1059.004", Tactic: "TA0002", Score: 12, Comment: "c", Metadata: full.Metadata, Links: full.Links}},
		"two domains make a list": {{Technique: "T1059.004", Score: 1}, {Technique: "T0859", Score: 0.5}},
	} {
		layers, _ := navigator.Layers(full, scores)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(write(t, layers)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(t).Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLayers_placesEachScore(t *testing.T) {
	t.Parallel()
	cells := func(l navigator.Layer) (list []string) {
		for _, c := range l.Techniques {
			text := c.ID + " " + c.Tactic
			if c.Score != nil {
				text += " " + string(rune('0'+int(*c.Score)))
			}
			if c.ShowSubtechniques {
				text += " unfolded"
			}
			list = append(list, text)
		}
		return list
	}
	for name, c := range map[string]struct {
		scores   []navigator.Score
		want     []string
		unplaced []string
	}{
		"the scores of a cell add up":        {[]navigator.Score{{Technique: "T1083", Tactic: "TA0007", Score: 1}, {Technique: "T1083", Tactic: "TA0007", Score: 2}}, []string{"T1083 discovery 3"}, nil},
		"a sub-technique unfolds its parent": {[]navigator.Score{{Technique: "T1059.004", Tactic: "TA0002", Score: 1}}, []string{"T1059 execution unfolded", "T1059.004 execution 1"}, nil},
		"no tactic is each of them":          {[]navigator.Score{{Technique: "T1053.003", Score: 1}}, []string{"T1053 execution unfolded", "T1053 persistence unfolded", "T1053 privilege-escalation unfolded", "T1053.003 execution 1", "T1053.003 persistence 1", "T1053.003 privilege-escalation 1"}, nil},
		"a tactic it does not have, too":     {[]navigator.Score{{Technique: "T1083", Tactic: "TA0001", Score: 1}}, []string{"T1083 discovery 1"}, nil},
		"a revoked id is its successor":      {[]navigator.Score{{Technique: "T1002", Score: 1}}, []string{"T1560 collection 1"}, nil},
		"unknown ids are told":               {[]navigator.Score{{Technique: "T9999"}, {Technique: "T9999"}, {Technique: "x"}}, nil, []string{"T9999", "x"}},
	} {
		layers, unplaced := navigator.Layers(navigator.Head{Name: "x"}, c.scores)
		if diff := cmp.Diff(c.want, cells(layers[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.unplaced, unplaced); diff != "" {
			t.Errorf("%s: unplaced (-want +got):\n%s", name, diff)
		}
	}
}

func TestLayers_gradientSpansTheScores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		score float64
		want  int
	}{{0, 1}, {0.4, 1}, {1, 1}, {41.5, 42}} {
		layers, _ := navigator.Layers(navigator.Head{Name: "x"}, []navigator.Score{{Technique: "T1083", Score: c.score}})
		if g := layers[0].Gradient; g.MinValue != 0 || g.MaxValue != c.want {
			t.Errorf("score %v: gradient %+v, want up to %d", c.score, g, c.want)
		}
	}
}

func TestWrite_refusesWhatTheNavigatorWouldMisread(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for want, spoil := range map[string]func(*navigator.Layer){
		"no name":               func(l *navigator.Layer) { l.Name = "" },
		"unknown domain":        func(l *navigator.Layer) { l.Domain = "mobile" },
		"versions":              func(l *navigator.Layer) { l.Versions.Layer = "4.4" },
		"gradient":              func(l *navigator.Layer) { l.Gradient.MaxValue = 0 },
		"twice":                 func(l *navigator.Layer) { l.Techniques = append(l.Techniques, l.Techniques[0]) },
		"no technique id":       func(l *navigator.Layer) { l.Techniques[0].ID = "1083" },
		"not in the matrix":     func(l *navigator.Layer) { l.Techniques[0].ID = "T1002" },
		"would not be drawn":    func(l *navigator.Layer) { l.Techniques[0].Tactic = "defense-evasion" },
		"score is no number":    func(l *navigator.Layer) { l.Techniques[0].Score = &nan },
		"has an empty side":     func(l *navigator.Layer) { l.Techniques[0].Metadata = []navigator.Metadata{{Name: "x"}} },
		"no label or no scheme": func(l *navigator.Layer) { l.Links = []navigator.Link{{Label: "x", URL: "example.org"}} },
	} {
		layers, _ := navigator.Layers(navigator.Head{Name: "x"}, []navigator.Score{{Technique: "T1083", Score: 1}})
		spoil(&layers[0])
		var b bytes.Buffer
		if err := navigator.Write(&b, layers); err == nil || !strings.Contains(err.Error(), want) || b.Len() > 0 {
			t.Errorf("want an error with %q and no output, got %v, %d bytes", want, err, b.Len())
		}
	}
	if err := navigator.Write(&bytes.Buffer{}, nil); err == nil {
		t.Error("no layer at all is no error")
	}
}

func ExampleLayers() {
	layers, _ := navigator.Layers(navigator.Head{Name: "honeypots"}, []navigator.Score{{Technique: "T1083", Tactic: "TA0007", Score: 12}})
	layers[0].Layout, layers[0].Gradient = navigator.Layout{}, nil
	_ = navigator.Write(os.Stdout, layers)
	// Output:
	// {
	//   "name": "honeypots",
	//   "versions": {
	//     "attack": "19",
	//     "navigator": "5.1.0",
	//     "layer": "4.5"
	//   },
	//   "domain": "enterprise-attack",
	//   "sorting": 3,
	//   "layout": {
	//     "layout": "",
	//     "showID": false,
	//     "showName": false,
	//     "showAggregateScores": false,
	//     "countUnscored": false,
	//     "aggregateFunction": "",
	//     "expandedSubtechniques": ""
	//   },
	//   "techniques": [
	//     {
	//       "techniqueID": "T1083",
	//       "tactic": "discovery",
	//       "score": 12
	//     }
	//   ]
	// }
}
