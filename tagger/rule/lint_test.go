package rule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func lint(files map[string]string) (list []string) {
	for _, r := range Lint(memory(files)) {
		list = append(list, fmt.Sprintf("%s %s:%d %s %s: %s", r.Severity, r.File, r.Line, r.Rule, r.Field, r.Text))
	}
	return list
}

func TestLint_findsWhatIsLikelyNotMeant(t *testing.T) {
	t.Parallel()
	const decnet = "{rule_id: X1, rule_version: 1, name: x, applies_to: [command], match: {pattern: '%s'}, emits: [{tactic: %s, technique_id: %s, confidence: %s}]}"
	for name, c := range map[string]struct{ text, want string }{
		"a refused rule":               {with("level", "huge"), "error test/a.yml:1 X1 level: unknown level"},
		"what is not YAML":             {"a: [", "error test/a.yml:0  : read rule file"},
		"an id twice":                  {with() + "---\n" + with(), "error test/a.yml:"},
		"a key by another name":        {strings.Replace(with("version", ""), "title:", "titel:", 1), `warning test/a.yml:1 X1 titel: unknown key, did you mean "title"?`},
		"a key of DECNET's, too":       {fmt.Sprintf(decnet, "abc", "TA0007", "T1083", "0.5") + "\n", ""},
		"a misspelt key of DECNET's":   {strings.Replace(fmt.Sprintf(decnet, "abc", "TA0007", "T1083", "0.5"), "name:", "nane:", 1), `X1 nane: unknown key, did you mean "name"?`},
		"a revoked technique":          {with("version", "", "tags", "[attack.t1562.001, attack.t1105]"), "warning test/a.yml:1 X1 tags: technique T1562.001 was revoked, use T1685"},
		"a revoked one of DECNET's":    {fmt.Sprintf(decnet, "abc", "TA0005", "T1002", "0.5"), "X1 emits: technique T1002 was revoked, use T1560"},
		"a tactic it is not of":        {fmt.Sprintf(decnet, "abc", "TA0005", "T1083", "0.5"), "X1 emits: technique T1083 is not of tactic TA0005, but of TA0007"},
		"an unknown tactic":            {fmt.Sprintf(decnet, "abc", "TA0999", "T1083", "0.5"), `X1 emits: unknown tactic "TA0999"`},
		"an unknown technique":         {fmt.Sprintf(decnet, "abc", "TA0007", "T9999", "0.5"), `X1 emits: technique "T9999" is not in ATT&CK`},
		"a tag that names nothing":     {with("tags", "[attack.dicovery, attack.t1105]"), `X1 tags: "attack.dicovery" names no tactic and no technique, did you mean "discovery"?`},
		"a tag that never is stored":   {fmt.Sprintf(decnet, "abc", "TA0007", "T1083", "0.2"), "warning test/a.yml:1 X1 confidence: 0.2 of T1083 is below the floor"},
		"a misspelt field":             {with("detection", "{s: {progam: x}, condition: s}"), `warning test/a.yml:1 X1 progam: no event of kind command has this field, did you mean "program"?`},
		"a field in another case":      {with("detection", "{s: {commandline: x}, condition: s}"), `did you mean "CommandLine"?`},
		"a field nobody sends":         {with("detection", "{s: {zzzzzz: x}, condition: s}"), "hint test/a.yml:1 X1 zzzzzz: no producer"},
		"nested repetition":            {fmt.Sprintf(decnet, "^(a+)+$", "TA0007", "T1083", "0.5"), "warning test/a.yml:1 X1 command_text: catastrophic pattern: engines that backtrack"},
		"that is searched so here":     {with("detection", `{s: {line|re: '(?!b)^(a+)+$'}, condition: s}`), "catastrophic pattern: it takes exponential time"},
		"look-around":                  {with("detection", `{s: {line|re: '(?!b)abcd'}, condition: s}`), "hint test/a.yml:1 X1 line: look-around"},
		"a pattern that matches all":   {fmt.Sprintf(decnet, ".*", "TA0007", "T1083", "0.5"), `warning test/a.yml:1 X1 : over-broad: it matches command_text "zqxjkvwp"`},
		"a letter":                     {with("detection", "{s: {line|contains: e}, condition: s}"), "over-broad"},
		"a denial alone":               {with("detection", "{s: {line: x}, condition: not s}"), "over-broad: it matches an event without any field"},
		"no text to look for":          {with("detection", "{s: {line|re: '^.{3,}$'}, condition: s}"), "hint test/a.yml:1 X1 : there is no text that it always requires"},
		"nothing here it could be for": {with("logsource", "{product: windows}"), "hint test/a.yml:1 X1 : not in use: no events of logsource"},
		"no tests":                     {with(), "hint test/a.yml:1 X1 tests: 0 match and 0 do not"},
		"no description":               {with(), "hint test/a.yml:1 X1 description: it is missing"},
	} {
		got := lint(map[string]string{"a.yml": c.text})
		found := slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, c.want) })
		if c.want == "" && len(got) > 0 || !found && c.want != "" {
			t.Errorf("%s: want %q, got:\n%s", name, c.want, strings.Join(got, "\n"))
		}
	}
}

func TestLint_hasNothingAgainstTheBuiltInRules(t *testing.T) {
	t.Parallel()
	for _, r := range Lint(Source{"builtin", os.DirFS("../builtin")}) {
		if r.Severity > Hint {
			t.Errorf("%+v", r)
		}
	}
}

func TestCatastrophic_isExponentialOnly(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{
		`(a+)+$`: true, `(?:a+)+$`: true, `(a*)*$`: true, `(a+)+(?=b)`: true, `^(?>(a|aa))+[(?:]$`: true, `x(\w+)*!`: true, `^(a|ab|b)*$`: true, `(\s|\s\s)+$`: true,
		`a+$`: false, `(\w+\s)+$`: false, `\bcurl\b.*-o.*\bsh\b`: false, `(-\w+\s+)*x`: false, `.*.*x`: false, `(`: false, ``: false, `(?=a)a+`: false,
		`(a|b?)*c`: false, `(\b)*x`: false, `(a?)*?x`: false, `(a*?)*?x`: true, `(a?b?)*$`: true, `\(?:x+`: false,
	} {
		if got := catastrophic(source) != ""; got != want {
			t.Errorf("%s: %v, want %v", source, got, want)
		}
	}
}
