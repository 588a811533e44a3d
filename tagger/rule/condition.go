package rule

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// maxNesting bounds how deep parentheses and nots nest in a condition.
const maxNesting = 64

// condition is a parser for the condition of a rule:
//
//	or     = and { "or" and }
//	and    = not { "and" not }
//	not    = "not" not | "(" or ")" | ( number | "all" | "any" ) "of" ( "them" | pattern ) | name
type condition struct {
	words      []string
	names      []string // the selections, in the order they are written
	selections map[string]*expr
	depth      int
}

func parseCondition(s string, names []string, selections map[string]*expr) (*expr, error) {
	if strings.Contains(s, "|") {
		return nil, errors.New("aggregations are not supported")
	}
	s = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s)
	c := condition{words: strings.Fields(s), names: names, selections: selections}
	e, err := c.or()
	if err == nil && len(c.words) > 0 {
		err = fmt.Errorf("%q is not expected", c.words[0])
	}
	return e, err
}

// peek returns the next word in lower case, "" at the end.
func (c *condition) peek() string {
	if len(c.words) == 0 {
		return ""
	}
	return strings.ToLower(c.words[0])
}

func (c *condition) take() string {
	word := c.words[0]
	c.words = c.words[1:]
	return word
}

func (c *condition) or() (*expr, error) { return c.chain("or", opOr, c.and) }

func (c *condition) and() (*expr, error) { return c.chain("and", opAnd, c.not) }

func (c *condition) chain(word string, o op, part func() (*expr, error)) (*expr, error) {
	e, err := part()
	parts := []*expr{e}
	for err == nil && c.peek() == word {
		c.take()
		e, err = part()
		parts = append(parts, e)
	}
	return join(o, parts), err
}

func (c *condition) not() (*expr, error) {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > maxNesting {
		return nil, fmt.Errorf("more than %d levels deep", maxNesting)
	}
	switch word := c.peek(); {
	case word == "not":
		c.take()
		e, err := c.not()
		return not(e), err
	case word == "(":
		return c.parentheses()
	case word == "" || word == ")" || word == "and" || word == "or" || word == "of":
		return nil, fmt.Errorf("a selection is expected, not %q", word)
	case len(c.words) > 1 && strings.EqualFold(c.words[1], "of"):
		return c.quantity()
	}
	name := c.take()
	e, ok := c.selections[name]
	if !ok {
		return nil, fmt.Errorf("there is no selection %q%s", name, suggest(name, c.names))
	}
	return e, nil
}

func (c *condition) parentheses() (*expr, error) {
	c.take()
	e, err := c.or()
	if err != nil {
		return nil, err
	}
	if c.peek() != ")" {
		return nil, errors.New("a parenthesis is not closed")
	}
	c.take()
	return e, nil
}

// quantity reads "1 of them", "all of selection_*", "2 of them".
func (c *condition) quantity() (*expr, error) {
	count := strings.ToLower(c.take())
	c.take()
	if len(c.words) == 0 {
		return nil, errors.New("of what is missing")
	}
	parts, err := c.matching(c.take())
	if err != nil {
		return nil, err
	}
	switch count {
	case "all":
		return allOf(parts...), nil
	case "1", "any":
		return anyOf(parts...), nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > len(parts) {
		return nil, fmt.Errorf("%q of %d selections", count, len(parts))
	}
	return &expr{op: opAtLeast, n: n, parts: parts}, nil
}

// matching returns the selections that a pattern names. "them" leaves out those
// that begin with an underscore.
func (c *condition) matching(pattern string) ([]*expr, error) {
	var parts []*expr
	for _, name := range c.names {
		match, err := path.Match(pattern, name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if match || strings.EqualFold(pattern, "them") && !strings.HasPrefix(name, "_") {
			parts = append(parts, c.selections[name])
		}
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("no selection matches %q", pattern)
	}
	return parts, nil
}
