package rule

import (
	"slices"
	"strings"
	"testing"
)

func readOne(t *testing.T, text string) *File {
	t.Helper()
	return memory(map[string]string{"a.yml": text}).Read("a.yml", nil)
}

const plainRule = `title: x
id: R1
logsource: {category: command}
tags: [attack.t1083]
level: low
detection: {a: {program: ls, args|contains: '-l'}, condition: a}
`

// What only decoding finds is refused whether or not the document looks plain.
func TestRead_refusesWhatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a list":               "- a\n- b\n",
		"a key twice":          plainRule + "level: high\n",
		"a key twice, inside":  plainRule + "custom_attributes: {a: {b: 1, b: 2}}\n",
		"a map as key":         plainRule + "custom_attributes: {[a]: 1}\n",
		"a tag that is untrue": plainRule + "version: !!int x\n",
		"a circle":             plainRule + "custom_attributes: &a {b: *a}\n",
		"a merge of a text":    plainRule + "custom_attributes: {<<: a}\n",
	} {
		if f := readOne(t, text); len(f.problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
	}
}

func TestRead_ofALifterTakesItsMatchFromAnywhere(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"plain":  "rule_id: R9\nrule_version: 1\nname: x\napplies_to: [intel]\nmatch: {kind: 'lifter:intel', threshold: 3}\nemits: []\n",
		"merged": "base: &b {match: {kind: 'lifter:intel', threshold: 3}}\n<<: *b\nrule_id: R9\nrule_version: 1\nname: x\napplies_to: [intel]\nemits: []\n",
	} {
		f := readOne(t, text)
		if len(f.problems) > 0 || f.rules[0].Status != OfLifter || f.rules[0].Match["threshold"] != 3 || !slices.Contains(f.rules[0].keys, "rule_id") {
			t.Errorf("%s: %v, %+v", name, f.problems, f.rules)
		}
	}
}

func TestRead_readsAgainWhatChangedOrMoved(t *testing.T) {
	t.Parallel()
	read := func(text string, known *File) *File {
		return memory(map[string]string{"a.yml": text}).Read("a.yml", known)
	}
	second := strings.ReplaceAll(plainRule, "R1", "R2")
	before := read(plainRule+"---\n"+second+"---\nid: R3\n", nil)
	for name, c := range map[string]struct {
		text string
		same []bool
	}{
		"a comment behind": {plainRule + "---\n" + second + "# why\n", []bool{true, true}},
		"the second":       {plainRule + "---\n" + strings.ReplaceAll(second, "low", "high"), []bool{true, false}},
		"a comment before": {"# why\n" + plainRule + "---\n" + second, []bool{false, false}},
		"a faulty one":     {plainRule + "---\n" + second + "---\nid: R3\n# why\n", []bool{true, true, false}},
	} {
		after := read(c.text, before)
		for i, same := range c.same {
			if (after.rules[i] == before.rules[i]) != same {
				t.Errorf("%s: rule %d is the same: %t, want %t", name, i, !same, same)
			}
		}
		if faulty := len(c.same) > 2; len(after.rules) != len(c.same) || (len(after.problems) > 0) != faulty {
			t.Errorf("%s: %d rules, %v", name, len(after.rules), after.problems)
		}
	}
}
