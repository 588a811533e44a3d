package rule

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds on the literals that are drawn out of one expression. What would
// exceed them is left out, which only makes the expression run more often.
const (
	maxAlternatives = 64
	maxClass        = 16 // runes of a class that are told apart
	maxLiteral      = 64 // bytes
)

// required returns groups of folded literals: every text that re matches
// contains, once folded, at least one literal of each group. No groups means
// that nothing is known.
func required(re *syntax.Regexp) [][]string {
	n := analyse(re.Simplify())
	groups := n.groups
	if n.exact != nil {
		groups = append(groups, n.exact)
	}
	var useful [][]string
	for _, g := range groups {
		if g = prune(g); shortest(g) > 0 {
			useful = append(useful, g)
		}
	}
	slices.SortStableFunc(useful, func(a, b []string) int { return rarity(b) - rarity(a) })
	for i, g := range useful {
		if i > 0 && shortest(g) == 1 {
			return useful[:i] // single bytes are seen everywhere: they would cost more than they tell
		}
	}
	return useful
}

// needs is what is known about the texts that an expression matches: all of
// them, if they are few (exact), and literals that each of them contains.
type needs struct {
	exact  []string // nil: not known
	groups [][]string
}

func analyse(re *syntax.Regexp) needs {
	switch re.Op {
	case syntax.OpLiteral:
		return needs{exact: literalOf(re.Rune)}
	case syntax.OpCharClass:
		return needs{exact: classOf(re.Rune)}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText,
		syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return needs{exact: []string{""}}
	case syntax.OpCapture:
		return analyse(re.Sub[0])
	case syntax.OpPlus:
		return needs{groups: analyse(re.Sub[0]).all()}
	case syntax.OpQuest:
		if n := analyse(re.Sub[0]); n.exact != nil {
			return needs{exact: append([]string{""}, n.exact...)}
		}
	case syntax.OpConcat:
		return analyseConcat(re.Sub)
	case syntax.OpAlternate:
		return analyseAlternate(re.Sub)
	}
	return needs{}
}

// all returns the groups with what is known exactly as one of them.
func (n needs) all() [][]string {
	if n.exact != nil {
		return append(n.groups, n.exact)
	}
	return n.groups
}

func literalOf(runes []rune) []string {
	var b []byte
	for _, r := range runes {
		if r == utf8.RuneError {
			return nil // the matcher takes bytes that are no UTF-8 for it
		}
		b = utf8.AppendRune(b, foldRune(r))
	}
	return []string{string(b)}
}

func classOf(ranges []rune) []string {
	var list []string
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] >= 2*maxClass {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			one := literalOf([]rune{r})
			if one == nil {
				return nil
			}
			if !slices.Contains(list, one[0]) {
				list = append(list, one[0])
			}
		}
	}
	if len(list) > maxClass {
		return nil
	}
	return list
}

// analyseConcat multiplies neighbours out as long as their texts are few.
func analyseConcat(subs []*syntax.Regexp) needs {
	var groups [][]string
	run, whole := []string{""}, true
	for _, sub := range subs {
		n := analyse(sub)
		groups = append(groups, n.groups...)
		product := cross(run, n.exact)
		if product != nil {
			run = product
			continue
		}
		groups, whole = append(groups, run), false
		run = []string{""}
		if n.exact != nil {
			run = n.exact
		}
	}
	if whole {
		return needs{exact: run, groups: groups}
	}
	return needs{groups: append(groups, run)}
}

// cross returns every a followed by every b, or nil if these are too many, too
// long or not known.
func cross(a, b []string) []string {
	if b == nil || len(a)*len(b) > maxAlternatives {
		return nil
	}
	product := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > maxLiteral {
				return nil
			}
			product = append(product, x+y)
		}
	}
	return product
}

// analyseAlternate joins what the branches need. If one needs nothing, neither
// does the whole.
func analyseAlternate(subs []*syntax.Regexp) needs {
	var exact, group []string
	known := true
	for _, sub := range subs {
		n := analyse(sub)
		known = known && n.exact != nil
		exact = append(exact, n.exact...)
		group = append(group, rarest(n.all())...)
		if len(rarest(n.all())) == 0 {
			group = append(group, "")
		}
	}
	if known && len(exact) <= maxAlternatives {
		return needs{exact: exact}
	}
	return needs{groups: [][]string{group}}
}

// rarest returns the group that is likely seen least, nil if there is none.
func rarest(groups [][]string) []string {
	var best []string
	for _, g := range groups {
		if best == nil || rarity(g) > rarity(best) {
			best = g
		}
	}
	return best
}

// rarity grows with the length of the shortest literal, less with how few
// there are.
func rarity(group []string) int { return 1024*min(shortest(group), 8) - len(group) }

func shortest(group []string) int {
	least := 0
	for i, s := range group {
		if i == 0 || len(s) < least {
			least = len(s)
		}
	}
	return least
}

// prune drops literals that are found wherever a shorter one is.
func prune(group []string) []string {
	list := slices.Clone(group)
	slices.SortFunc(list, func(a, b string) int { return len(a) - len(b) })
	var kept []string
	for _, s := range list {
		if !slices.ContainsFunc(kept, func(k string) bool { return strings.Contains(s, k) }) {
			kept = append(kept, s)
		}
	}
	return kept
}
