package rule

import (
	"regexp/syntax"
	"strings"
)

// pumps is how often a repetition is repeated to see how a search of it grows:
// 1.6^40 steps are far more than pumpSteps, 40^3 steps are not.
const pumps = 40

// pumpSteps is what a search may take, some 50 ms.
const pumpSteps = 4 << 20

// maxSamples is how many texts are made of an expression.
const maxSamples = 8

// catastrophic returns a text on which a backtracking search for the pattern
// takes exponential time, "" if none was found. It is a trial, not a proof: of
// each repetition a text is made that goes round in it and then does not match.
func catastrophic(source string) string {
	tree, err := syntax.Parse(relax(grouped(source)), syntax.Perl)
	if err != nil {
		return ""
	}
	engine, err := newBacktracker(tree)
	if err != nil {
		return ""
	}
	found := ""
	eachRepetition(tree, "", func(lead string, body *syntax.Regexp) {
		for _, word := range textsOf(body) {
			if word == "" || found != "" {
				continue
			}
			text := lead + strings.Repeat(word, pumps) + "\x00"
			if !engine.search(text, pumpSteps) {
				found = text
			}
		}
	})
	return found
}

// grouped returns source with groups that only hold something together made
// groups that capture, so that package syntax takes no repetition for the one
// around it. What is looked for ahead is made a part of the match.
func grouped(source string) string {
	var b strings.Builder
	for i := 0; i < len(source); {
		n := tokenEnd(source[i:])
		b.WriteString(source[i : i+n])
		if i += n; source[i-n] != '(' {
			continue
		}
		for _, kind := range []string{"?:", "?=", "?>"} {
			if strings.HasPrefix(source[i:], kind) {
				i += len(kind)
				break
			}
		}
	}
	return b.String()
}

// eachRepetition calls f for every part of re that may be repeated without end,
// with a text that leads up to it.
func eachRepetition(re *syntax.Regexp, lead string, f func(lead string, body *syntax.Regexp)) {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		f(lead, re.Sub[0])
	case syntax.OpRepeat:
		if re.Max < 0 {
			f(lead, re.Sub[0])
		}
	}
	for _, sub := range re.Sub {
		eachRepetition(sub, lead, f)
		if re.Op == syntax.OpConcat {
			lead += textsOf(sub)[0]
		}
	}
}

// textsOf returns a few texts that re matches, at least one.
func textsOf(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		return []string{sampleOf(re.Rune)}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"a"}
	case syntax.OpStar, syntax.OpQuest:
		return append([]string{""}, firstOf(textsOf(re.Sub[0]), maxSamples-1)...)
	case syntax.OpCapture, syntax.OpPlus:
		return textsOf(re.Sub[0])
	case syntax.OpRepeat:
		return repeated(textsOf(re.Sub[0]), re.Min)
	case syntax.OpAlternate:
		return alternatives(re.Sub)
	case syntax.OpConcat:
		return sequences(re.Sub)
	}
	return []string{""}
}

func repeated(list []string, least int) []string {
	for i := range list {
		list[i] = strings.Repeat(list[i], min(max(least, 1), pumps))
	}
	return list
}

func alternatives(parts []*syntax.Regexp) (list []string) {
	for _, part := range parts {
		list = append(list, textsOf(part)...)
	}
	return firstOf(list, maxSamples)
}

func sequences(parts []*syntax.Regexp) []string {
	list := []string{""}
	for _, part := range parts {
		var longer []string
		for _, head := range list {
			for _, tail := range textsOf(part) {
				longer = append(longer, head+tail)
			}
		}
		list = firstOf(longer, maxSamples)
	}
	return list
}

func firstOf(list []string, n int) []string { return list[:min(len(list), n)] }

// sampleOf returns a letter of the class if it has one, else its first rune.
func sampleOf(ranges []rune) string {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= 'a' && 'a' <= ranges[i+1] {
			return "a"
		}
	}
	if len(ranges) == 0 {
		return ""
	}
	return string(ranges[0])
}
