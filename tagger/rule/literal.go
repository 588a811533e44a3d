package rule

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// Bounds on the literals that are drawn out of one expression. What would
// exceed them is left out, which only makes the expression run more often.
const (
	maxAlternatives = 64
	maxClass        = 16 // runes of a class that are told apart
	maxLiteral      = 64 // bytes
)

// group is folded literals. A text has at least one of them: anywhere, as its
// beginning, as its end, or as the whole of it.
type group struct {
	texts        []string
	begins, ends bool
}

// required returns what every text that re matches has, once folded, of each
// group. No groups means that nothing is known.
func required(re *syntax.Regexp) []group {
	var useful []group
	for _, g := range analyse(re.Simplify()).all() {
		if g.prune(); shortest(g.texts) > 0 {
			useful = append(useful, g)
		}
	}
	slices.SortStableFunc(useful, func(a, b group) int { return b.rarity() - a.rarity() })
	for i, g := range useful {
		if i > 0 && shortest(g.texts) == 1 {
			return useful[:i] // single bytes are seen everywhere: they would cost more than they tell
		}
	}
	return useful
}

// needs is what is known about the texts that an expression matches: of the
// part that it is about all that it can be, if that is little (exact), and
// groups that they have.
type needs struct {
	exact  group // texts are nil if they are not known
	groups []group
}

func exactly(texts ...string) needs { return needs{exact: group{texts: texts}} }

func analyse(re *syntax.Regexp) needs {
	switch re.Op {
	case syntax.OpLiteral:
		return exactly(literalOf(re.Rune)...)
	case syntax.OpCharClass:
		return exactly(classOf(re.Rune)...)
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactly("")
	case syntax.OpBeginText, syntax.OpEndText:
		return needs{exact: group{[]string{""}, re.Op == syntax.OpBeginText, re.Op == syntax.OpEndText}}
	case syntax.OpCapture:
		return analyse(re.Sub[0])
	case syntax.OpPlus:
		return needs{groups: analyse(re.Sub[0]).all()}
	case syntax.OpQuest:
		if n := analyse(re.Sub[0]); n.exact.texts != nil {
			return exactly(append([]string{""}, n.exact.texts...)...)
		}
	case syntax.OpConcat:
		return analyseConcat(re.Sub)
	case syntax.OpAlternate:
		return analyseAlternate(re.Sub)
	}
	return needs{}
}

// all returns the groups with what is known exactly as one of them.
func (n needs) all() []group {
	if n.exact.texts != nil {
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
			if len(list) > maxClass {
				return nil
			}
		}
	}
	return list
}

// analyseConcat multiplies neighbours out as long as their texts are few.
func analyseConcat(subs []*syntax.Regexp) needs {
	var groups []group
	run, whole := exactly("").exact, true
	for _, sub := range subs {
		n := analyse(sub)
		groups = append(groups, n.groups...)
		if product := run.before(n.exact); product.texts != nil {
			run = product
			continue
		}
		groups, whole = append(groups, run), false
		if run = n.exact; run.texts == nil {
			run = exactly("").exact
		}
	}
	if whole {
		return needs{exact: run, groups: groups}
	}
	return needs{groups: append(groups, run)}
}

// before returns what is known if b follows g, without texts if that is
// nothing.
func (g group) before(b group) group {
	return group{
		texts:  cross(g.texts, b.texts),
		begins: g.begins || b.begins && g.isEmpty(),
		ends:   b.ends || g.ends && b.isEmpty(),
	}
}

func (g group) isEmpty() bool { return len(g.texts) == 1 && g.texts[0] == "" }

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
	exact, any := group{begins: true, ends: true}, group{begins: true, ends: true}
	known := true
	for _, sub := range subs {
		n := analyse(sub)
		known = known && n.exact.texts != nil
		exact.join(n.exact)
		any.join(rarest(n.all()))
	}
	if known && len(exact.texts) <= maxAlternatives {
		return needs{exact: exact}
	}
	return needs{groups: []group{any}}
}

// join makes g what a text has that has something of g or of other.
func (g *group) join(other group) {
	if other.texts == nil {
		other.texts = []string{""}
	}
	g.texts = append(g.texts, other.texts...)
	g.begins, g.ends = g.begins && other.begins, g.ends && other.ends
}

// rarest returns the group that is likely seen least, without texts if there is
// none.
func rarest(groups []group) group {
	var best group
	for _, g := range groups {
		if best.texts == nil || g.rarity() > best.rarity() {
			best = g
		}
	}
	return best
}

// rarity is that of the texts, and more if only one place in a text will do.
func (g group) rarity() int {
	if g.begins || g.ends {
		return rarity(g.texts) + 512
	}
	return rarity(g.texts)
}

// place is where a text has one of the literals.
func (g group) place() how {
	switch {
	case g.begins && g.ends:
		return equals
	case g.begins:
		return startsWith
	case g.ends:
		return endsWith
	}
	return contains
}

// rarity grows with the length of the shortest literal, less with how few
// there are.
func rarity(texts []string) int { return 1024*min(shortest(texts), 8) - len(texts) }

func shortest(texts []string) int {
	least := 0
	for i, s := range texts {
		if i == 0 || len(s) < least {
			least = len(s)
		}
	}
	return least
}

// prune drops literals that are found wherever a shorter one is.
func (g *group) prune() {
	list := slices.Clone(g.texts)
	slices.SortFunc(list, func(a, b string) int { return len(a) - len(b) })
	g.texts = nil
	for _, s := range list {
		if !slices.ContainsFunc(g.texts, func(k string) bool { return g.place().compare(s, k) }) {
			g.texts = append(g.texts, s)
		}
	}
}
