package attack_test

import (
	"slices"
	"strings"
	"testing"

	"ttp-worker/attack"
)

func TestLookup(t *testing.T) {
	shell, ok := attack.Lookup("T1059.004")
	if !ok || shell.Name != "Unix Shell" || shell.Parent != "T1059" || shell.URL != "https://attack.mitre.org/techniques/T1059/004" {
		t.Errorf("T1059.004 = %+v, %v", shell, ok)
	}
	if _, ok := attack.Lookup("T9999"); ok {
		t.Error("T9999 is known")
	}
}

func TestSuccessor(t *testing.T) {
	for id, want := range map[string]string{"T1059": "T1059", "T1002": "T1560", "T9999": ""} {
		if got := attack.Successor(id); got != want {
			t.Errorf("Successor(%s) = %q, want %q", id, got, want)
		}
	}
	if got := attack.Successor("T1562.001"); !strings.HasPrefix(got, "T1685") {
		t.Errorf("Successor(T1562.001) = %q, want T1685 or one of its parts", got)
	}
}

func TestLookupTactic(t *testing.T) {
	for name, want := range map[string]string{"discovery": "TA0007", "TA0007": "TA0007", "stealth": "TA0005", "defense-evasion": "TA0005", "TA0102": "TA0102"} {
		if got, ok := attack.LookupTactic(name); !ok || got.ID != want {
			t.Errorf("LookupTactic(%s) = %+v, %v", name, got, ok)
		}
	}
}

// Every current technique names only tactics of its own matrix, has a page,
// and a sub-technique has a parent; every revoked one leads somewhere current.
func TestCatalogue_isConsistent(t *testing.T) {
	for _, tech := range attack.Techniques() {
		if tech.Revoked {
			// The ICS table leaves out nine of the sub-techniques that v19 made.
			if to := tech.RevokedBy; to != "" && attack.Successor(tech.ID) == "" && !tech.ICS {
				t.Errorf("%s: replaced by %s, which is not current", tech.ID, to)
			}
			continue
		}
		if len(tech.Tactics) == 0 || !strings.HasPrefix(tech.URL, "https://attack.mitre.org/techniques/") {
			t.Errorf("%+v: no tactic or no page", tech)
		}
		for _, id := range tech.Tactics {
			if tactic, ok := attack.LookupTactic(id); !ok || tactic.ICS != tech.ICS {
				t.Errorf("%s: tactic %s is not of its matrix", tech.ID, id)
			}
		}
		if strings.Contains(tech.ID, ".") {
			if _, ok := attack.Lookup(tech.Parent); !ok {
				t.Errorf("%s: parent %q unknown", tech.ID, tech.Parent)
			}
		}
	}
	if n := len(attack.Tactics()); n != 27 || !slices.ContainsFunc(attack.Tactics(), func(c attack.Tactic) bool { return c.ID == "TA0112" }) {
		t.Errorf("%d tactics", n)
	}
}
