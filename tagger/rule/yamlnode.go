package rule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// resolve returns what n stands for if it is an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// checkDocument returns what decoding the document into values says, which is
// what a walk over the nodes would trip over: aliases that lead in circles or
// multiply, keys that are there twice or are no texts, tags that are not true.
// As that takes long, documents that have no such thing are not decoded.
func checkDocument(doc *yaml.Node) error {
	if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode && isPlainYAML(doc.Content[0]) {
		return nil
	}
	var values map[string]any
	return doc.Decode(&values)
}

// isPlainYAML reports whether n is made of scalars, lists and maps from texts,
// and nothing else.
func isPlainYAML(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0 {
		return false
	}
	if n.Kind == yaml.MappingNode {
		names := make([]string, 0, 16) // stays off the heap
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || slices.Contains(names, key.Value) {
				return false
			}
			names = append(names, key.Value)
		}
	}
	for _, kid := range n.Content {
		if !isPlainYAML(kid) {
			return false
		}
	}
	return true
}

// appendCanonical appends what n says, in the same words however it is written.
func appendCanonical(dst []byte, n *yaml.Node) []byte {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		for _, i := range sortedKeys(n) {
			dst = append(appendCanonical(dst, n.Content[i]), ':')
			dst = append(appendCanonical(dst, n.Content[i+1]), ',')
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for _, kid := range n.Content {
			dst = append(appendCanonical(dst, kid), ',')
		}
		return append(dst, ']')
	}
	dst = binary.AppendUvarint(append(dst, n.ShortTag()...), uint64(len(n.Value)))
	return append(dst, n.Value...)
}

// sortedKeys returns where the keys of a map are, by their texts.
func sortedKeys(n *yaml.Node) []int {
	keys := make([]int, 0, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		keys = append(keys, i)
	}
	slices.SortFunc(keys, func(a, b int) int { return strings.Compare(n.Content[a].Value, n.Content[b].Value) })
	return keys
}

// eachMember calls f for each member of a map, in order, and stops at an error.
// A key that is there twice is one.
func eachMember(n *yaml.Node, f func(name string, value *yaml.Node) error) error {
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if slices.Contains(seen, name) {
			return faultf(name, "line %d: the key is there twice", n.Content[i].Line)
		}
		seen = append(seen, name)
		if err := f(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// member returns the value of a map's key, nil if there is none.
func member(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

// scalars returns a scalar, or the scalars of a list, as texts.
func scalars(n *yaml.Node) []string {
	n = resolve(n)
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		if n.ShortTag() == "!!null" {
			return nil
		}
		return []string{scalarText(n)}
	}
	var list []string
	for _, kid := range n.Content {
		if kid = resolve(kid); kid.Kind == yaml.ScalarNode {
			list = append(list, scalarText(kid))
		}
	}
	return list
}

// scalarText returns a scalar as an event would write it.
func scalarText(n *yaml.Node) string {
	if n.ShortTag() == "!!bool" {
		return strings.ToLower(n.Value)
	}
	return n.Value
}

// suggest returns `, did you mean "x"?` for the name that word was likely
// meant to be, "" if there is none.
func suggest(word string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(word, name); d < least && d < len(name) {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the number of bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
