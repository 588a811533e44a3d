package navigator

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"ttp-worker/attack"
)

// Score is what is known of one technique under one tactic.
type Score struct {
	Technique string  // "T1059" or "T1059.004"; a revoked id counts for what replaced it
	Tactic    string  // "TA0002"; "" or one the technique does not have: all of its tactics
	Score     float64 // scores of one cell are added
	Comment   string  // comments of one cell are joined by a line break
	Metadata  []Metadata
	Links     []Link
}

// Head is what the layers of one export have in common.
type Head struct {
	Name        string
	Description string
	Colors      []string // from the lowest to the highest score, at least two; nil: white to red
	Metadata    []Metadata
	Links       []Link
}

// defaultColors are white to red.
var defaultColors = []string{"#ffffff", "#ffb3a7", "#c0392b"}

// Layers places scores in the matrices and returns a layer for each that has
// any: Enterprise, then ICS; without scores an empty one of Enterprise. Ids
// that are in neither matrix are returned as unplaced, sorted, each once.
func Layers(head Head, scores []Score) (layers []Layer, unplaced []string) {
	cells := map[string]*matrix{Enterprise: newMatrix(), ICS: newMatrix()}
	for i := range scores {
		known, ok := attack.Lookup(attack.Successor(scores[i].Technique))
		if !ok {
			unplaced = append(unplaced, scores[i].Technique)
			continue
		}
		cells[domainOf(known)].add(known, &scores[i])
	}
	for _, domain := range []string{Enterprise, ICS} {
		if m := cells[domain]; len(m.cells) > 0 || domain == Enterprise && len(cells[ICS].cells) == 0 {
			layers = append(layers, newLayer(head, domain, m.techniques()))
		}
	}
	slices.Sort(unplaced)
	return layers, slices.Compact(unplaced)
}

func newLayer(head Head, domain string, techniques []Technique) Layer {
	l := Layer{
		Name: head.Name, Description: head.Description, Domain: domain,
		Versions: Versions{attackMajor, navigatorVersion, layerVersion},
		Sorting:  3,
		Layout: Layout{
			Layout: "side", ShowID: true, ShowName: true, ShowAggregateScores: true,
			AggregateFunction: "sum", ExpandedSubtechniques: "annotated",
		},
		Techniques: techniques,
		Gradient:   &Gradient{Colors: head.Colors, MaxValue: 1},
		Metadata:   head.Metadata,
		Links:      head.Links,
	}
	if l.Gradient.Colors == nil {
		l.Gradient.Colors = defaultColors
	}
	for i := range techniques {
		if s := techniques[i].Score; s != nil {
			l.Gradient.MaxValue = max(l.Gradient.MaxValue, int(math.Ceil(*s)))
		}
	}
	return l
}

// place is one cell: the Navigator keeps one annotation of each.
type place struct{ technique, tactic string }

type matrix struct{ cells map[place]*Technique }

func newMatrix() *matrix { return &matrix{make(map[place]*Technique)} }

func (m *matrix) add(known attack.Technique, s *Score) {
	tactic := ""
	if t, ok := attack.LookupTactic(s.Tactic); ok && slices.Contains(known.Tactics, t.ID) {
		tactic = t.ShortName
	}
	if tactic == "" { // a cell without a tactic and one with would hide each other
		for _, id := range known.Tactics {
			if t, ok := attack.LookupTactic(id); ok {
				m.cell(known, t.ShortName).merge(s)
			}
		}
		return
	}
	m.cell(known, tactic).merge(s)
}

// cell returns the cell, made if need be, with its parent's, which must be
// there for the Navigator to unfold it.
func (m *matrix) cell(known attack.Technique, tactic string) *Technique {
	at := place{known.ID, tactic}
	if m.cells[at] == nil {
		m.cells[at] = &Technique{ID: known.ID, Tactic: tactic}
	}
	if parent, ok := attack.Lookup(known.Parent); ok && hasTactic(parent, tactic) {
		m.cell(parent, tactic).ShowSubtechniques = true
	}
	return m.cells[at]
}

func (t *Technique) merge(s *Score) {
	score := s.Score
	if t.Score != nil {
		score += *t.Score
	}
	t.Score = &score
	if s.Comment != "" {
		t.Comment = strings.TrimPrefix(t.Comment+"\n"+s.Comment, "\n")
	}
	t.Metadata = append(t.Metadata, s.Metadata...)
	t.Links = append(t.Links, s.Links...)
}

// techniques returns the cells in the order of ids and tactics.
func (m *matrix) techniques() []Technique {
	list := make([]Technique, 0, len(m.cells))
	for _, t := range m.cells {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Technique) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Tactic, b.Tactic))
	})
	return list
}
