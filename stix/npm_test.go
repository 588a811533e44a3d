//go:build npm

package stix_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ttp-worker/stix"
	"ttp-worker/ttp"
)

// mitre holds a bundle against MITRE's library, which make stix-check installs.
func mitre(t *testing.T, bundle []byte) (complaints string, ok bool) {
	t.Helper()
	// Not where the script lies: node looks for the library beside it.
	script, err := filepath.Abs("../.tools/npm/stix.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Stdin = bytes.NewReader(bundle)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("no node: run make stix-check: %v", err)
	}
	return strings.TrimSpace(string(out)), err == nil
}

// hostileText is what attackers and other programs may have put into ids.
const hostileText = "<script>alert(1)</script>]]>\u202e'\"\x00\x1b[2J\\ 名"

func TestNewBundle_isWhatMITREsLibraryTakes(t *testing.T) {
	hostile := append([]ttp.Rollup{{
		Technique: hostileText, Tactic: hostileText, Count: 1, FirstSeen: first, LastSeen: last,
		Rules: []ttp.RuleCount{{RuleID: hostileText + strings.Repeat("A", 4096), Count: 1}},
	}}, rollups...)
	for _, scope := range append(scopes, ttp.Scope{By: ttp.ByAttacker, ID: hostileText}) {
		for _, list := range [][]ttp.Rollup{nil, rollups, hostile} {
			data, err := json.Marshal(stix.NewBundle(scope, list))
			if err != nil {
				t.Fatal(err)
			}
			if complaints, ok := mitre(t, data); !ok {
				t.Errorf("%v, %d rollups: %s", scope, len(list), complaints)
			}
		}
	}
}

// TestMITREsLibrary_refuses makes sure that the library is asked at all.
func TestMITREsLibrary_refuses(t *testing.T) {
	data, err := json.Marshal(stix.NewBundle(ttp.Scope{By: ttp.ByCampaign, ID: "c"}, rollups))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another version":      {`"spec_version":"2.1"`, `"spec_version":"2.0"`},
		"a time that is none":  {`"created":"2026-05-01T10`, `"created":"2026-05-01 10`},
		"no name":              {`"name":"Valid Accounts",`, ``},
		"an unknown property":  {`"name":"Valid Accounts",`, `"name":"Valid Accounts","colour":"red",`},
		"an id that is none":   {`"id":"campaign--`, `"id":"campaign-`},
		"a relation of a sort": {`"relationship_type":"uses"`, `"relationship_type":"likes"`},
		"a reference to text":  {`"created_by_ref":"identity--`, `"created_by_ref":"`},
	} {
		spoilt := strings.Replace(string(data), change[0], change[1], 1)
		if spoilt == string(data) {
			t.Fatalf("%s: there is no %s in %s", name, change[0], data)
		}
		if _, ok := mitre(t, []byte(spoilt)); ok {
			t.Errorf("%s is taken", name)
		}
	}
}
