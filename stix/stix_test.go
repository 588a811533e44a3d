package stix_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ttp-worker/stix"
	"ttp-worker/ttp"
)

var (
	first = time.Date(2026, 5, 1, 10, 0, 0, 123_456_000, time.UTC)
	last  = first.Add(36 * time.Hour)
)

// rollups are current, sub, revoked, of ICS and unknown, one seen only once.
var rollups = []ttp.Rollup{
	{Technique: "T1083", Tactic: "TA0007", Count: 3, FirstSeen: first, LastSeen: last, MaxConfidence: 0.85, Rules: []ttp.RuleCount{{RuleID: "R0013", Count: 3}}},
	{Technique: "T1059", SubTechnique: "T1059.004", Tactic: "TA0002", Count: 5_000_000_000, FirstSeen: first, LastSeen: first, MaxConfidence: 1},
	{Technique: "T1078", Tactic: "TA0001", Count: 1, FirstSeen: first, LastSeen: last, MaxConfidence: 0.3},
	{Technique: "T1078", Tactic: "TA0003", Count: 1, FirstSeen: first, LastSeen: last, MaxConfidence: 0.3},
	{Technique: "T1562", SubTechnique: "T1562.001", Tactic: "TA0005", Count: 1, FirstSeen: first, LastSeen: last, MaxConfidence: 0.5},
	{Technique: "T0807", Tactic: "TA0104", Count: 1, FirstSeen: first, LastSeen: last, MaxConfidence: 0.5},
	{Technique: "T9999", Tactic: "TA0007", Count: 1, FirstSeen: first, LastSeen: last, MaxConfidence: 0.5},
}

// object is any object, read back.
type object map[string]any

func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// bundle makes a bundle and holds it against the schema.
func bundle(t *testing.T, scope ttp.Scope, rollups []ttp.Rollup) []object {
	t.Helper()
	data, err := json.Marshal(stix.NewBundle(scope, rollups))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile("testdata/bundle-2.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	var read struct{ Objects []object }
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return read.Objects
}

var scopes = []ttp.Scope{{}, {By: ttp.ByIdentity, ID: "i"}, {By: ttp.ByAttacker, ID: "a"}, {By: ttp.ByCampaign, ID: "c"}, {By: ttp.BySession, ID: "s"}}

func TestNewBundle_isValidForEveryScope(t *testing.T) {
	for _, scope := range scopes {
		bundle(t, scope, nil)
		objects := bundle(t, scope, rollups)
		ids := map[string]bool{}
		for _, o := range objects {
			if ids[o.text("id")] {
				t.Errorf("%v: %s is there twice", scope, o.text("id"))
			}
			ids[o.text("id")] = true
		}
		for _, o := range objects {
			checkObject(t, o, ids)
		}
	}
}

// checkObject checks what the specification says in words: references lead to
// objects, and times are in their order.
func checkObject(t *testing.T, o object, ids map[string]bool) {
	t.Helper()
	for name, value := range o {
		if ref, ok := value.(string); ok && strings.HasSuffix(name, "_ref") && !ids[ref] {
			t.Errorf("%s: %s leads nowhere", o.text("id"), name)
		}
	}
	for _, pair := range [][2]string{{"created", "modified"}, {"first_seen", "last_seen"}} {
		if o.text(pair[0]) > o.text(pair[1]) {
			t.Errorf("%s: %s is before %s", o.text("id"), pair[1], pair[0])
		}
	}
	if stop, ok := o["stop_time"]; ok && fmt.Sprint(stop) <= o.text("start_time") {
		t.Errorf("%s: it stops when it starts", o.text("id"))
	}
}

func count(objects []object, kind string) (n int) {
	for _, o := range objects {
		if o.text("type") == kind {
			n++
		}
	}
	return n
}

func TestNewBundle_saysWhoUsesWhat(t *testing.T) {
	for by, want := range map[ttp.ScopeKind]map[string]int{
		ttp.ByIdentity: {"identity": 1, "threat-actor": 1, "campaign": 0, "attack-pattern": 6, "relationship": 6, "sighting": 7},
		ttp.ByCampaign: {"identity": 1, "threat-actor": 0, "campaign": 1, "attack-pattern": 6, "relationship": 6, "sighting": 7},
		ttp.BySession:  {"identity": 1, "threat-actor": 0, "campaign": 0, "attack-pattern": 6, "relationship": 0, "sighting": 7},
	} {
		objects := bundle(t, ttp.Scope{By: by, ID: "x"}, rollups)
		for kind, n := range want {
			if got := count(objects, kind); got != n {
				t.Errorf("by %s: %d of %s, want %d", by, got, kind, n)
			}
		}
	}
}

func TestNewBundle_namesTechniquesAsTheyAreCalledToday(t *testing.T) {
	var got []string
	for _, o := range bundle(t, ttp.Scope{}, rollups) {
		if o.text("type") == "attack-pattern" {
			ref := o["external_references"].([]any)[0].(map[string]any)
			got = append(got, fmt.Sprint(ref["external_id"], " ", o["name"]))
		}
	}
	want := []string{
		"T1083 File and Directory Discovery", "T1059.004 Unix Shell", "T1078 Valid Accounts",
		"T1685 Disable or Modify Tools", "T0807 Command-Line Interface", "T9999 T9999",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNewBundle_isTheSameAgain makes sure that importing twice is importing once.
func TestNewBundle_isTheSameAgain(t *testing.T) {
	scope := ttp.Scope{By: ttp.ByIdentity, ID: "x"}
	if diff := cmp.Diff(bundle(t, scope, rollups), bundle(t, scope, rollups)); diff != "" {
		t.Error(diff)
	}
	if a, b := stix.NewBundle(scope, rollups).ID, stix.NewBundle(scope, rollups).ID; a != b {
		t.Errorf("one bundle has the ids %s and %s", a, b)
	}
	if a, b := stix.NewBundle(scope, rollups).ID, stix.NewBundle(ttp.Scope{By: ttp.ByIdentity, ID: "y"}, rollups).ID; a == b {
		t.Error("the bundles of two identities have one id")
	}
}

func ExampleNewBundle() {
	b := stix.NewBundle(ttp.Scope{By: ttp.BySession, ID: "s1"}, []ttp.Rollup{{Technique: "T1083", Tactic: "TA0007", Count: 3, FirstSeen: first, LastSeen: last, MaxConfidence: 0.85}})
	for _, o := range b.Objects {
		fmt.Printf("%T\n", o)
	}
	// Output:
	// stix.Identity
	// stix.AttackPattern
	// stix.Sighting
}
