// Package attack is the bundled MITRE ATT&CK catalogue: the names, tactics and
// pages of techniques, and what replaced the revoked ones. Enterprise is
// release v19.2, ICS v19.1.
//
// The tables are © The MITRE Corporation, reproduced under the licence in
// LICENSE beside this file.
package attack

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Release is the release of the Enterprise catalogue, as it is written into
// ttp_tag.attack_release.
const Release = "v19.2"

// Technique is one technique or sub-technique.
type Technique struct {
	ID        string // "T1059.004"
	Name      string // "Unix Shell"
	Tactics   []string
	Parent    string // "T1059", or "" for a technique
	URL       string // its page
	Revoked   bool
	RevokedBy string // what to use instead, "" if nothing replaced it
	ICS       bool   // of the ICS matrix, else of Enterprise
}

// Tactic is one column of a matrix.
type Tactic struct {
	ID        string // "TA0007"
	Name      string // "Discovery"
	ShortName string // "discovery", as Sigma tags and Navigator layers say it
	ICS       bool
	Order     int // from 1, left to right in the matrix
}

// Lookup returns the technique or sub-technique called id.
func Lookup(id string) (Technique, bool) {
	t, ok := load().techniques[id]
	return t, ok
}

// Successor returns what id is called in the bundled release: id itself if it
// is current, what replaced it if it was revoked, "" if nothing is known.
func Successor(id string) string {
	c := load()
	for range 4 { // a successor may have been revoked in its turn
		if t, ok := c.techniques[id]; ok && !t.Revoked {
			return id
		}
		next, ok := c.revoked[id]
		if !ok {
			return ""
		}
		id = next
	}
	return ""
}

// LookupTactic returns the tactic with that id ("TA0007") or short name
// ("discovery"); of a short name that both matrices use, Enterprise's.
// "defense-evasion" was renamed and is still understood.
func LookupTactic(name string) (Tactic, bool) {
	t, ok := load().tactics[name]
	return t, ok
}

// Techniques returns all techniques, revoked ones included, in the order of their ids.
func Techniques() []Technique {
	c := load()
	list := make([]Technique, 0, len(c.techniques))
	for _, t := range c.techniques {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Technique) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Tactics returns the tactics of both matrices, Enterprise first, in matrix order.
func Tactics() []Tactic { return slices.Clone(load().order) }

//go:embed attack-*.tsv
var tables embed.FS

type catalogue struct {
	techniques map[string]Technique
	revoked    map[string]string
	tactics    map[string]Tactic // by id and by short name
	order      []Tactic
}

// load parses the bundled tables; they are part of the program, so that a
// fault in them is one of the build and panics.
var load = sync.OnceValue(func() *catalogue {
	c := &catalogue{
		techniques: make(map[string]Technique, 1024),
		revoked:    make(map[string]string, 160),
		tactics:    make(map[string]Tactic, 64),
	}
	for _, row := range rows("attack-tactics.tsv", 6) {
		c.addTactic(row)
	}
	// The release before v19 called TA0005 by another name, and Sigma rules of
	// that time still do.
	c.tactics["defense-evasion"] = c.tactics["TA0005"]
	for _, name := range []string{"attack-enterprise.tsv", "attack-ics.tsv"} {
		for _, row := range rows(name, 13) {
			c.techniques[row[0]] = Technique{
				ID: row[0], Name: row[1], Tactics: split(row[2]), Parent: row[4],
				Revoked: row[6] == "1", RevokedBy: row[7], URL: row[8],
				ICS: name == "attack-ics.tsv",
			}
		}
	}
	for _, row := range rows("attack-revoked-map.tsv", 3) {
		c.revoked[row[0]] = row[1]
	}
	return c
})

// addTactic takes a row of the current releases; the table also holds older ones.
func (c *catalogue) addTactic(row []string) {
	if row[0] == "enterprise" && "v"+row[1] != Release {
		return
	}
	t := Tactic{ID: row[2], Name: row[3], ShortName: row[4], ICS: row[0] == "ics"}
	if _, err := fmt.Sscan(row[5], &t.Order); err != nil {
		panic(fmt.Sprintf("attack-tactics.tsv: order of %s: %v", t.ID, err))
	}
	c.order = append(c.order, t)
	c.tactics[t.ID] = t
	if _, taken := c.tactics[t.ShortName]; !taken {
		c.tactics[t.ShortName] = t
	}
}

// rows returns the rows of a table behind its header.
func rows(name string, columns int) [][]string {
	data, err := tables.ReadFile(name)
	if err != nil {
		panic(err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")[1:]
	table := make([][]string, len(lines))
	for i, line := range lines {
		table[i] = strings.Split(line, "\t")
		if len(table[i]) != columns {
			panic(fmt.Sprintf("%s:%d: %d columns, want %d", name, i+2, len(table[i]), columns))
		}
	}
	return table
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ';' || r == ',' })
}
