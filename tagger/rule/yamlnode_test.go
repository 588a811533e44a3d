package rule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
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
		"a comment behind": {plainRule + "---\n" + second + "# why\n", []bool{true, false}},
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

// FuzzDocuments holds that a file that can be read as a whole says the same, at
// the same lines, where it is read piece by piece.
func FuzzDocuments(f *testing.F) {
	f.Add("a: 1\n---\nb: 2\n--- {c: 3}\n---\n")
	f.Add("---\na: |\n  x\n  ---\n  y\n---\nb: '\n\n  ---'\n")
	f.Add("a: &x 1\nb: *x\n---\n# c\n\n\nd: >-\n  e\n ---\n")
	f.Add("%YAML 1.1\n---\na: 1\n...\n%YAML 1.1\n---\nb: 2\n")
	f.Add("a: 1\r\n---\r\nb: 2\r---\rc: 3\r\n")
	f.Add("\ufeffa: [1,\n---, 2]\n---x: 1\n--- - a\n")
	f.Add("- |\n---\n- \"a\n---\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		whole, err := said([]byte(text), 1)
		if err != nil {
			return
		}
		var pieces []string
		for text, line := range documents([]byte(text)) {
			more, err := said(text, line)
			if err != nil {
				return // the file is read as a whole
			}
			pieces = append(pieces, more...)
		}
		if !slices.Equal(whole, pieces) {
			t.Errorf("as a whole %q, piece by piece %q", whole, pieces)
		}
	})
}

// said returns what each document says, and where.
func said(text []byte, line int) (list []string, err error) {
	err = eachDocument(text, line, func(doc *yaml.Node) {
		var values any
		if len(doc.Content) == 0 || doc.Decode(&values) != nil || values == nil {
			return // empty, or not canonical: an alias may lead to itself
		}
		list = append(list, fmt.Sprintf("%d %s", doc.Content[0].Line, appendCanonical(nil, doc.Content[0])))
	})
	return list, err
}

// What is no YAML piece by piece is read as a whole, as the parser has it.
func TestRead_asAWholeWhatIsNoYAMLInPieces(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an anchor of the document before": "---\n- &low low\n---\n" + strings.Replace(plainRule, "level: low", "level: *low", 1),
		"a mark and a directive":           "\ufeff%YAML 1.1\n---\n" + plainRule,
		"two bytes a character":            inUTF16("x: 1\n---\n" + plainRule),
	} {
		f := readOne(t, text)
		if n := len(f.rules); n == 0 || f.rules[n-1].ID != "R1" || f.rules[n-1].Status != Loaded {
			t.Errorf("%s: %v", name, f.problems)
		}
	}
}

func inUTF16(s string) string {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return string(b)
}

// A file takes as long as it has lines, not as the square of that.
func TestRead_manyDocuments(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	f := readOne(t, strings.Repeat("---\n", 100_000)+plainRule)
	if len(f.rules) != 1 || f.rules[0].line != 100_001 {
		t.Fatalf("%d rules, %v", len(f.rules), f.problems)
	}
	if took := time.Since(begun); took > 20*time.Second { // less than a second on a quiet machine, else a minute
		t.Errorf("took %s", took)
	}
}
