package rule

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// sigmaRule is a rule of our own format around a detection in YAML flow form.
func sigmaRule(detection string) string {
	return "{title: x, id: X1, version: 1, tags: [attack.t1105], logsource: {category: command}, detection: " + detection + "}"
}

// with is a correct rule of our own format with some lines of it replaced.
func with(lines ...string) string {
	rule := map[string]string{
		"title": "x", "id": "X1", "version": "1", "tags": "[attack.t1105]", "level": "low",
		"logsource": "{category: command}", "detection": "{s: {program: x}, condition: s}",
	}
	for i := 0; i < len(lines); i += 2 {
		rule[lines[i]] = lines[i+1]
	}
	var b strings.Builder
	for name, value := range rule {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	return b.String()
}

func TestFaultyRulesAreRefusedWithFileRuleAndField(t *testing.T) {
	t.Parallel()
	decnet := func(match, emit string) string {
		return "{rule_id: X1, rule_version: 1, name: x, applies_to: [command], match: " + match + ", emits: [" + emit + "]}"
	}
	const okEmit = "{tactic: TA0007, technique_id: T1083, confidence: 1}"
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":             {"a: [", "test/rules.yml: read rule file: "},
		"a list":               {"[1]", "test/rules.yml: line 1: "},
		"neither format":       {"{title: x}", "test/rules.yml: neither a DECNET rule"},
		"a key twice":          {"id: a\nid: b\ndetection: {}", "test/rules.yml: line 1: "},
		"an alias in a circle": {"detection: &a [*a]", "test/rules.yml: line 1: "},
		"no id":                {with("id", ""), `rules.yml: id: "" is not`},
		"an id with a dot":     {with("id", "a.b"), `rule a.b: id: "a.b" is not`},
		"an unknown key":       {with("emits", "[]"), `rule X1: emits: unknown key, did you mean "emit"?`},
		"version zero":         {with("version", "0"), "rule X1: version: "},
		"an unknown phase":     {with("phase", "later"), "rule X1: phase: "},
		"an unknown level":     {with("level", "huge"), "rule X1: level: "},
		"no log source":        {with("logsource", ""), "rule X1: logsource: "},
		"no detection":         {with("detection", ""), "rule X1: detection: "},
		"no condition":         {with("detection", "{s: {program: x}}"), "rule X1: detection.condition: it is missing"},
		"an unknown technique": {with("tags", "[attack.t9999]"), "rule X1: tags: technique T9999"},
		"emit: a revoked one":  {with("emit", "[{technique: T1562.001, confidence: 1}]"), "technique T1562.001 was revoked, use T1685"},
		"emit: confidence":     {with("emit", "[{technique: T1105, confidence: 1.5}]"), ": confidence 1.5 is not within 0 and 1"},
		"emit: no confidence":  {with("emit", "[{technique: T1105}]"), `confidence "" is not a number`},
		"emit: not a number":   {with("emit", "[{technique: T1105, confidence: .nan}]"), `confidence ".nan" is not a number`},
		"emit: wrong tactic":   {with("emit", "[{technique: T1105, tactic: TA0007, confidence: 1}]"), "technique T1105 is not of tactic TA0007, but of TA0011"},
		"emit: which tactic":   {with("emit", "[{technique: T1053.003, confidence: 1}]"), "say which"},
		"emit: twice":          {with("emit", "[{technique: T1105, confidence: 1}, {technique: T1105, confidence: 1}]"), "twice"},
		"a test without input": {with("tests", "[{}]"), "rule X1: tests: line "},
		"a test on no default": {with("tests", "[{match: x}]", "logsource", "{category: session}"), "kind session has no default field"},
		"an unknown modifier":  {sigmaRule("{s: {a|contain: x}, condition: s}"), `detection.s: a|contain: unknown modifier "contain", did you mean "contains"?`},
		"expand":               {sigmaRule("{s: {a|expand: '%x%'}, condition: s}"), "no placeholders"},
		"modifiers that clash": {sigmaRule("{s: {a|re|contains: x}, condition: s}"), "does not go with"},
		"a flag without re":    {sigmaRule("{s: {a|i: x}, condition: s}"), "belongs behind re"},
		"a bad pattern":        {sigmaRule("{s: {a|re: '('}, condition: s}"), "detection.s: a: pattern: "},
		"a bad network":        {sigmaRule("{s: {a|cidr: 1.2.3.4/33}, condition: s}"), "detection.s: a: "},
		"a bad number":         {sigmaRule("{s: {a|gt: x}, condition: s}"), `"x" is not a number`},
		"a bad existence":      {sigmaRule("{s: {a|exists: 1}, condition: s}"), "exists wants true or false"},
		"base64 of a wildcard": {sigmaRule("{s: {a|base64: 'x*'}, condition: s}"), "cannot be encoded"},
		"null as a keyword":    {sigmaRule("{s: [null], condition: s}"), "null is no keyword"},
		"a map as a value":     {sigmaRule("{s: {a: {b: c}}, condition: s}"), "a value must be a scalar"},
		"no values":            {sigmaRule("{s: {a: []}, condition: s}"), "no values"},
		"an empty selection":   {sigmaRule("{s: {}, condition: s}"), "no fields"},
		"a timeframe":          {sigmaRule("{s: {a: b}, timeframe: 5m, condition: s}"), "detection.timeframe: "},
		"no such selection":    {sigmaRule("{selection: {a: b}, condition: selektion}"), `did you mean "selection"?`},
		"an aggregation":       {sigmaRule("{s: {a: b}, condition: 's | count() > 5'}"), "aggregations are not supported"},
		"a missing bracket":    {sigmaRule("{s: {a: b}, condition: '(s'}"), "not closed"},
		"a bracket too many":   {sigmaRule("{s: {a: b}, condition: 's)'}"), `")" is not expected`},
		"a pattern of nothing": {sigmaRule("{s: {a: b}, condition: '1 of x*'}"), `no selection matches "x*"`},
		"too many of them":     {sigmaRule("{s: {a: b}, condition: '2 of them'}"), `"2" of 1 selections`},
		"deep nesting":         {sigmaRule("{s: {a: b}, condition: '" + strings.Repeat("not ", 100) + "s'}"), "levels deep"},
		"a phase":              {with("phase", "session_end"), "a rule about kind command is not judged at the end of a session"},
		"a correlation's type": {correlationOf("{type: event_sum, rules: [x]}"), "correlation.type: unknown type"},
		"no count":             {correlationOf("{type: event_count, rules: [x]}"), "a count wants one of gt, gte"},
		"a count too many":     {correlationOf("{type: temporal, rules: [x], condition: {gte: 1}}"), "type temporal takes none"},
		"no field":             {correlationOf("{type: value_count, rules: [x], condition: {gte: 1}}"), "field belongs to value_count"},
		"a timespan":           {correlationOf("{type: temporal, rules: [x], timespan: 5x}"), `timespan: "5x" is not a number with one of`},
		"a condition's key":    {correlationOf("{type: event_count, rules: [x], condition: {gt: 1, gtee: 2}}"), `unknown key "gtee", did you mean "gte"?`},
		"a correlation's key":  {correlationOf("{type: temporal, rule: [x]}"), `unknown key "rule", did you mean "rules"?`},
		"a part's category":    {correlationOf("{type: temporal, rules: [x]}") + "detection: {x: {category: email, a: b}}\n", `a session has no events of category "email"`},
		"parts and condition":  {correlationOf("{type: temporal, rules: [x]}") + "detection: {x: {a: b}, condition: x}\n", "stands under correlation"},
		"DECNET: no pattern":   {decnet("{kind: regex}", okEmit), "rule X1: match.pattern: it is missing"},
		"DECNET: bad pattern":  {decnet("{pattern: '('}", okEmit), "rule X1: match.pattern: pattern: "},
		"DECNET: tactic":       {decnet("{pattern: x}", "{tactic: discovery, technique_id: T1083, confidence: 1}"), `emits: "discovery" is no tactic id`},
		"DECNET: technique":    {decnet("{pattern: x}", "{tactic: TA0007, confidence: 1}"), "emits: technique_id is missing"},
		"DECNET: confidence":   {decnet("{pattern: x}", "{tactic: TA0007, technique_id: T1083, confidence: -1}"), "confidence -1"},
		"DECNET: no version":   {"{rule_id: X1, applies_to: [command], match: {pattern: x}}", "rule_version: it is missing"},
		"DECNET: no kinds":     {"{rule_id: X1, rule_version: 1, match: {pattern: x}}", "applies_to: no kinds"},
		"DECNET: no field":     {"{rule_id: X1, rule_version: 1, applies_to: [session], match: {pattern: x}, emits: [" + okEmit + "]}", "match.field: "},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			set, problems := loadText(Options{}, c.text)
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), c.want) {
				t.Fatalf("problems %v, want one with %q", problems, c.want)
			}
			for _, info := range set.Rules() {
				if info.Status != Refused || info.Reason == "" {
					t.Errorf("listed as %s %q, want refused with a reason", info.Status, info.Reason)
				}
			}
		})
	}
}

// correlationOf returns a rule that is a correlation.
func correlationOf(c string) string {
	return "title: x\ntags: [attack.t1110]\nid: X1\ncorrelation: " + c + "\n"
}

func TestRulesThatDoNotApplyAreListedWithAReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"deprecated":               {with("status", "deprecated"), "deprecated: its status is deprecated"},
		"another system":           {with("logsource", "{category: process_creation, product: windows}"), "not applicable: no events of logsource category process_creation, product windows"},
		"no technique":             {with("tags", "[attack.execution]"), "not applicable: no tag names a technique, so it has nothing to say"},
		"auditd paths":             {with("logsource", "{product: linux, service: auditd}", "detection", "{s: {type: PATH}, condition: s}"), "not applicable: of auditd only EXECVE records can be told from commands"},
		"auditd fields":            {with("logsource", "{product: linux, service: auditd}", "detection", "{s: {type: EXECVE, exe: x}, condition: s}"), `not applicable: auditd field "exe" cannot be told from commands`},
		"a filter":                 {"{id: X1, filter: {rules: [x]}}", "not applicable: filters of other rules are not supported"},
		"a sum":                    {correlationOf("{type: value_sum, rules: [x], condition: {field: a, gte: 1}}"), "not applicable: correlations of type value_sum are not evaluated"},
		"a rule that is not there": {correlationOf("{type: temporal, rules: [x]}"), `not applicable: there is no rule "x", which it needs`},
		"a session":                {with("logsource", "{category: session}", "phase", "session_end"), "loaded: "},
		"nothing to emit":          {"{rule_id: X1, rule_version: 1, applies_to: [command], match: {pattern: x}, emits: []}", "not applicable: it emits nothing"},
		"OpenCanary: a scan":       {with("logsource", "{category: application, product: opencanary}", "detection", "{s: {logtype: 5001}, condition: s}"), `not applicable: no events of OpenCanary's logtype "5001"`},
		"OpenCanary: anything":     {with("logsource", "{category: application, product: opencanary}"), "not applicable: without a logtype nothing tells what OpenCanary event it is about"},
		"OpenCanary: two kinds":    {with("logsource", "{category: application, product: opencanary}", "detection", "{s: {logtype: [3000, 4002]}, condition: s}"), "not applicable: its logtypes are events of different kinds"},
		"OpenCanary: logins":       {with("logsource", "{category: application, product: opencanary}", "detection", "{s: {logtype: [2000, 4002]}, condition: s}"), "loaded: "},
		"a rule of ours":           {with(), "loaded: "},
		"a kind by name":           {with("logsource", "{category: hassh}"), "loaded: "},
		"a proxy":                  {with("logsource", "{category: proxy}"), "loaded: "},
		"auditd execve":            {with("logsource", "{product: linux, service: auditd}", "detection", "{s: {type: EXECVE, a0: x}, condition: s}"), "loaded: "},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			set, problems := loadText(Options{}, c.text)
			infos := set.Rules()
			if len(problems) > 0 || len(infos) != 1 {
				t.Fatalf("problems %v, %d rules", problems, len(infos))
			}
			if got := string(infos[0].Status) + ": " + infos[0].Reason; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTagsBecomeEmits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tags, level string
		want        []Emit
	}{
		"the tactic that the tags name":    {"[attack.persistence, attack.t1053.003]", "high", []Emit{{"TA0003", "T1053", "T1053.003", 0.85}}},
		"else the first in the matrix":     {"[attack.discovery, attack.t1053.003]", "critical", []Emit{{"TA0002", "T1053", "T1053.003", 0.95}}},
		"a revoked id is what replaced it": {"[attack.defense-evasion, attack.t1562.001]", "low", []Emit{{"TA0112", "T1685", "", 0.45}}},
		"each technique once":              {"[attack.t1105, attack.T1105, cve.2021-1, attack.g0001]", "informational", []Emit{{"TA0011", "T1105", "", 0.3}}},
		"a tactic with underscores":        {"[attack.command_and_control, attack.t1105]", "medium", []Emit{{"TA0011", "T1105", "", 0.65}}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			set, problems := loadText(Options{}, with("tags", c.tags, "level", c.level))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if d := cmp.Diff(c.want, set.Rules()[0].Emits); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOneBadRuleDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	set, problems := Load(Options{}, Source{"a", fstest.MapFS{
		"1.yml": {Data: []byte(with("id", "A") + "---\n" + with("id", "B", "level", "huge") + "---\n" + with("id", "C"))},
		"2.yml": {Data: []byte("{")},
		"3.yml": {Data: []byte("---\n")},
	}}, Source{"absent", os.DirFS("testdata/absent")})
	if len(problems) != 3 {
		t.Errorf("problems %v, want 3", problems)
	}
	if got := ruleIDs(mustTag(t, set, &ttpCommandX)); len(got) != 0 {
		t.Errorf("a rule about a program matched without Expand: %v", got)
	}
	loaded := 0
	for _, info := range set.Rules() {
		if info.Status == Loaded {
			loaded++
		}
	}
	if loaded != 2 {
		t.Errorf("%d rules are loaded, want 2", loaded)
	}
}

var ttpCommandX = *command("x")

func TestFileThatIsTooLargeIsAProblem(t *testing.T) {
	t.Parallel()
	_, problems := loadText(Options{}, strings.Repeat("#", maxFile+1))
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "larger than") {
		t.Errorf("problems %v", problems)
	}
}
