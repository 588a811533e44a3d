package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// report writes Markdown. The first error of out is kept and ends the writing.
type report struct {
	out io.Writer
	err error
}

func (r *report) printf(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.out, format, args...)
	}
}

// table has a row a measure and a column a pack.
func (r *report) table(scores []*score) {
	r.printf("| measure | of |")
	for _, s := range scores {
		r.printf(" %s |", s.pack)
	}
	r.printf("\n| --- | --- |%s\n", strings.Repeat(" --- |", len(scores)))
	r.row("labelled statements: tactic agreed, micro", scores, func(s *score) share { micro, _ := s.agreement(); return micro })
	r.macro(scores)
	for _, label := range slices.Sorted(maps.Keys(scores[0].labels)) {
		name := "statements labelled " + label
		if tacticsByLabel[label] == nil {
			name += ": without a tag"
		}
		r.row(name, scores, func(s *score) share { return *s.labels[label] })
	}
	for _, name := range []string{ofTests, ofShells, ofOrdinary, ofAttacks, ofNormal} {
		r.row(name, scores, func(s *score) share { return s.measured(name) })
	}
	for _, sort := range slices.Sorted(maps.Keys(scores[0].attacks)) {
		r.row("HTTP parameters: "+sort, scores, func(s *score) share { return *s.attacks[sort] })
	}
	for _, name := range []string{sureLines, sureTests, sureLabels, sureParams} {
		r.row(name, scores, func(s *score) share { return s.measured(name) })
	}
}

func (s *score) measured(name string) share {
	if m := s.measures[name]; m != nil {
		return *m
	}
	return share{}
}

// row writes a share a pack. How many there are to judge is the same for all
// packs, but for the shares of what a pack itself tagged.
func (r *report) row(name string, scores []*score, of func(*score) share) {
	first := of(scores[0])
	r.printf("| %s | %d |", name, first.of)
	for _, s := range scores {
		m := of(s)
		switch {
		case m.of == 0:
			r.printf(" – |")
		case m.of != first.of:
			r.printf(" %.2f %% of %d |", 100*m.ratio(), m.of)
		default:
			r.printf(" %.2f %% |", 100*m.ratio())
		}
	}
	r.printf("\n")
}

func (r *report) macro(scores []*score) {
	r.printf("| labelled statements: tactic agreed, macro | %d tactics |", len(tacticsByLabel))
	for _, s := range scores {
		_, macro := s.agreement()
		r.printf(" %.2f %% |", 100*macro)
	}
	r.printf("\n")
}

// details lists the worst of each kind: what was missed most often, and the
// rules that were wrong most often.
func (r *report) details(s *score, worst int) {
	r.printf("\nPack %s, %d rules refused; the worst %d of each kind.\n", s.pack, s.refused, worst)
	for _, what := range slices.Sorted(maps.Keys(s.missed)) {
		r.printf("\nMissed, %s:\n\n", what)
		for _, c := range most(s.missed[what], worst) {
			r.printf("    %4d  %s\n", c.n, oneLine(c.text))
		}
	}
	r.printf("\nRules that tagged ordinary texts, and one of these:\n\n")
	rules := slices.SortedFunc(maps.Keys(s.raised), func(a, b string) int {
		return cmp.Or(len(s.raised[b])-len(s.raised[a]), cmp.Compare(a, b))
	})
	for _, id := range rules[:min(len(rules), worst)] {
		r.printf("    %4d  %s  %s\n", len(s.raised[id]), id, oneLine(s.raised[id][0]))
	}
}

// counted is a text and how often it came.
type counted struct {
	text string
	n    int
}

// most returns the n most frequent texts, equals in order of appearance.
func most(list []string, n int) []counted {
	index := make(map[string]int)
	var found []counted
	for _, text := range list {
		i, known := index[text]
		if !known {
			i = len(found)
			index[text] = i
			found = append(found, counted{text: text})
		}
		found[i].n++
	}
	slices.SortStableFunc(found, func(a, b counted) int { return b.n - a.n })
	return found[:min(len(found), n)]
}

// oneLine makes attackers' text fit to be printed.
func oneLine(text string) string {
	quoted := fmt.Sprintf("%+q", text)
	quoted = quoted[1 : len(quoted)-1]
	if len(quoted) > 150 {
		quoted = quoted[:150] + "…"
	}
	return strings.ReplaceAll(quoted, `\"`, `"`)
}
