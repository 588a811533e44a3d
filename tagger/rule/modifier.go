package rule

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// item is one "field|modifier|modifier: values" of a detection.
type item struct {
	field  string
	how    how
	free   bool // keywords, which have no field
	all    bool
	cased  bool
	negate bool   // none of the values
	flags  string // of a regular expression
	change []func([]wildcard) ([]wildcard, error)
}

var places = map[string]how{
	"contains": contains, "startswith": startsWith, "endswith": endsWith,
	"re": matches, "cidr": inNetwork, "exists": exists, "fieldref": refEquals,
	"lt": less, "lte": lessOrEqual, "gt": greater, "gte": greaterOrEqual,
}

var changes = map[string]func([]wildcard) ([]wildcard, error){
	"windash": func(list []wildcard) ([]wildcard, error) {
		for i := range list {
			list[i] = list[i].windash()
		}
		return list, nil
	},
	"base64": eachPlain(func(s string) []string {
		return []string{base64.StdEncoding.EncodeToString([]byte(s))}
	}),
	"base64offset": eachPlain(base64Offsets),
	"wide":         eachPlain(func(s string) []string { return []string{utf16Bytes(s, false)} }),
	"utf16le":      eachPlain(func(s string) []string { return []string{utf16Bytes(s, false)} }),
	"utf16be":      eachPlain(func(s string) []string { return []string{utf16Bytes(s, true)} }),
	"utf16":        eachPlain(func(s string) []string { return []string{"\xff\xfe" + utf16Bytes(s, false)} }),
}

func eachPlain(f func(string) []string) func([]wildcard) ([]wildcard, error) {
	return func(list []wildcard) ([]wildcard, error) {
		var out []wildcard
		for _, w := range list {
			if !w.isPlain() {
				return nil, errors.New("a value with wildcards cannot be encoded")
			}
			for _, s := range f(w.texts[0]) {
				out = append(out, plain(s))
			}
		}
		return out, nil
	}
}

// parseItem reads the key of an item. A field of "" stands for keywords.
func parseItem(name, keywordField string) (item, error) {
	field, mods, _ := strings.Cut(name, "|")
	it := item{field: field, how: equals}
	if field == "" {
		it.field, it.how, it.free = keywordField, contains, true
	}
	if mods == "" {
		return it, nil
	}
	for _, mod := range strings.Split(mods, "|") {
		if err := it.modify(mod); err != nil {
			return item{}, faultf("detection", "%s: %w", name, err)
		}
	}
	return it, nil
}

func (it *item) modify(mod string) error {
	if place, ok := places[mod]; ok {
		return it.setPlace(mod, place)
	}
	if change, ok := changes[mod]; ok {
		it.change = append(it.change, change)
		return nil
	}
	switch mod {
	case "all":
		it.all = true
	case "cased":
		it.cased = true
	case "neq":
		it.negate = true
	case "i", "m", "s", "ignorecase", "multiline", "dotall":
		if it.how != matches {
			return fmt.Errorf("modifier %q belongs behind re", mod)
		}
		it.flags += map[string]string{"ignorecase": "i", "multiline": "m", "dotall": "s"}[mod]
		if len(mod) == 1 {
			it.flags += mod
		}
	case "expand":
		return errors.New("modifier expand: there are no placeholders to put in")
	default:
		return fmt.Errorf("unknown modifier %q%s", mod, suggest(mod, modifierNames()))
	}
	return nil
}

// setPlace takes one of the modifiers that say how to compare. Only a reference
// to a field goes together with another of them.
func (it *item) setPlace(mod string, place how) error {
	refs := map[how]how{
		equals: refEquals, contains: refContains, startsWith: refStartsWith, endsWith: refEndsWith,
	}
	switch {
	case place == refEquals && it.how <= equals:
		it.how = refs[it.how]
	case it.how == refEquals && place < equals:
		it.how = refs[place]
	case it.how == equals || it.free && it.how == contains:
		it.how = place
	default:
		return fmt.Errorf("modifier %q does not go with the one before it", mod)
	}
	return nil
}

func modifierNames() []string {
	names := []string{"all", "cased", "neq", "i", "m", "s"}
	for name := range places {
		names = append(names, name)
	}
	for name := range changes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// build returns the expression for the values of an item.
func (it *item) build(values *yaml.Node) (*expr, error) {
	values = resolve(values)
	list := []*yaml.Node{values}
	if values.Kind == yaml.SequenceNode {
		list = values.Content
	}
	if len(list) == 0 {
		return nil, faultf("detection", "%s: no values", it.field)
	}
	parts := make([]*expr, len(list))
	for i, n := range list {
		part, err := it.one(resolve(n))
		if err != nil {
			return nil, err
		}
		parts[i] = part
	}
	e := anyOf(parts...)
	if it.all {
		e = allOf(parts...)
	}
	if it.negate {
		e = not(e)
	}
	return e, nil
}

func (it *item) one(n *yaml.Node) (*expr, error) {
	if n.Kind != yaml.ScalarNode {
		return nil, faultf("detection", "%s: line %d: a value must be a scalar", it.field, n.Line)
	}
	s := scalarText(n)
	switch it.how {
	case matches:
		return patternTest(it.field, it.withFlags(s))
	case inNetwork:
		return networkTest(it.field, s)
	case less, lessOrEqual, greater, greaterOrEqual:
		return numberTest(it.field, it.how, s)
	case exists:
		return it.existence(s)
	case refContains, refStartsWith, refEndsWith, refEquals:
		return leaf(test{key: key{field: it.field, how: it.how, cased: it.cased, text: s}}), nil
	}
	if n.ShortTag() == "!!null" {
		if it.free {
			return nil, faultf("detection", "line %d: null is no keyword", n.Line)
		}
		return leaf(test{key: key{field: it.field, how: isNull}}), nil
	}
	return it.compare(s)
}

func (it *item) existence(s string) (*expr, error) {
	switch s {
	case "true":
		return leaf(test{key: key{field: it.field, how: exists}}), nil
	case "false":
		return leaf(test{key: key{field: it.field, how: missing}}), nil
	}
	return nil, faultf("detection", "%s: exists wants true or false, not %q", it.field, s)
}

func (it *item) withFlags(s string) string {
	if it.flags == "" {
		return s
	}
	return "(?" + it.flags + ")" + s
}

func (it *item) compare(s string) (*expr, error) {
	list := []wildcard{parseWildcard(s)}
	for _, change := range it.change {
		var err error
		if list, err = change(list); err != nil {
			return nil, faultf("detection", "%s: %w", it.field, err)
		}
	}
	parts := make([]*expr, len(list))
	for i, w := range list {
		part, err := w.compare(it.field, it.how, it.cased)
		if err != nil {
			return nil, err
		}
		parts[i] = part
	}
	return anyOf(parts...), nil
}
