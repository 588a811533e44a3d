package navigator

import (
	"errors"
	"fmt"
	"math"
	"regexp"

	"ttp-worker/attack"
)

var (
	techniqueShape = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)
	urlShape       = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// check finds what the Navigator would ignore or draw in no place.
func (l *Layer) check() error {
	switch {
	case l.Name == "":
		return errors.New("it has no name")
	case l.Domain != Enterprise && l.Domain != ICS:
		return fmt.Errorf("unknown domain %q", l.Domain)
	case l.Versions.Layer != layerVersion || l.Versions.Attack == "" || l.Versions.Navigator == "":
		return fmt.Errorf("versions %+v are not those of format %s", l.Versions, layerVersion)
	case l.Gradient != nil && (len(l.Gradient.Colors) < 2 || l.Gradient.MaxValue <= l.Gradient.MinValue):
		return errors.New("its gradient needs two colours and a range")
	}
	if err := checkNotes(l.Metadata, l.Links); err != nil {
		return err
	}
	type cell struct{ id, tactic string }
	seen := make(map[cell]bool)
	for i := range l.Techniques {
		t := &l.Techniques[i]
		if seen[cell{t.ID, t.Tactic}] {
			return fmt.Errorf("technique %s: twice in one place, the later would replace the earlier", t.ID)
		}
		seen[cell{t.ID, t.Tactic}] = true
		if err := t.check(l.Domain); err != nil {
			return fmt.Errorf("technique %s: %w", t.ID, err)
		}
	}
	return nil
}

func (t *Technique) check(domain string) error {
	if !techniqueShape.MatchString(t.ID) {
		return errors.New("it is no technique id like T1059 or T1059.004")
	}
	known, ok := attack.Lookup(t.ID)
	if !ok || known.Revoked || domainOf(known) != domain {
		return fmt.Errorf("it is not in the matrix of %s", domain)
	}
	if t.Tactic != "" && !hasTactic(known, t.Tactic) {
		return fmt.Errorf("it is not of tactic %q, so it would not be drawn", t.Tactic)
	}
	if t.Score != nil && (math.IsNaN(*t.Score) || math.IsInf(*t.Score, 0)) {
		return errors.New("its score is no number")
	}
	return checkNotes(t.Metadata, t.Links)
}

func checkNotes(metadata []Metadata, links []Link) error {
	for _, m := range metadata {
		if m.Name == "" || m.Value == "" {
			return fmt.Errorf("metadata %q has an empty side", m.Name)
		}
	}
	for _, l := range links {
		if l.Label == "" || !urlShape.MatchString(l.URL) {
			return fmt.Errorf("link %q has no label or no scheme", l.Label)
		}
	}
	return nil
}

func domainOf(t attack.Technique) string {
	if t.ICS {
		return ICS
	}
	return Enterprise
}

// hasTactic reports whether the matrix has t under the tactic of that short name.
func hasTactic(t attack.Technique, shortName string) bool {
	for _, id := range t.Tactics {
		if tactic, ok := attack.LookupTactic(id); ok && tactic.ShortName == shortName {
			return true
		}
	}
	return false
}
