package rule

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// detection reads the detection of a Sigma rule. Keywords are looked for in
// keywordField.
type detection struct {
	keywordField string
	fields       []string // named, in order, "" for keywords
	selections   map[string]*expr
	names        []string
}

// parseDetection returns what the detection asks for and the fields it names.
func parseDetection(n *yaml.Node, keywordField string) (*expr, []string, error) {
	d := detection{keywordField: keywordField, selections: make(map[string]*expr)}
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil, faultf("detection", "a map of selections and a condition is wanted")
	}
	var conditions []string
	err := eachMember(n, func(name string, value *yaml.Node) error {
		switch name {
		case "condition":
			conditions = scalars(value)
			return nil
		case "timeframe":
			return faultf("detection.timeframe", "rules over several events are not supported")
		}
		e, err := d.selection(value)
		if err != nil {
			return inside(name, err)
		}
		e.name = name
		d.selections[name] = e
		d.names = append(d.names, name)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	e, err := d.conditions(conditions)
	return e, d.fields, err
}

// inside puts the name of the selection into the key of a fault.
func inside(name string, err error) error {
	var f *fault
	if errors.As(err, &f) && f.field == "detection" {
		return &fault{"detection." + name, f.err}
	}
	return err
}

func (d *detection) conditions(list []string) (*expr, error) {
	if len(list) == 0 {
		return nil, faultf("detection.condition", "it is missing")
	}
	parts := make([]*expr, len(list))
	for i, c := range list {
		e, err := parseCondition(c, d.names, d.selections)
		if err != nil {
			return nil, &fault{"detection.condition", err}
		}
		parts[i] = e
	}
	return anyOf(parts...), nil
}

// selection reads a map (all of its items), a list of maps (any of them) or
// keywords.
func (d *detection) selection(n *yaml.Node) (*expr, error) {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		return d.items(n)
	case yaml.SequenceNode:
		return d.alternatives(n)
	}
	return d.item("", n)
}

func (d *detection) alternatives(n *yaml.Node) (*expr, error) {
	if len(n.Content) == 0 {
		return nil, faultf("detection", "no values")
	}
	parts := make([]*expr, len(n.Content))
	for i, kid := range n.Content {
		e, err := d.selection(kid)
		if err != nil {
			return nil, err
		}
		parts[i] = e
	}
	return anyOf(parts...), nil
}

func (d *detection) items(n *yaml.Node) (*expr, error) {
	if len(n.Content) == 0 {
		return nil, faultf("detection", "no fields")
	}
	var parts []*expr
	err := eachMember(n, func(name string, value *yaml.Node) error {
		e, err := d.item(name, value)
		parts = append(parts, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return allOf(parts...), nil
}

func (d *detection) item(name string, value *yaml.Node) (*expr, error) {
	it, err := parseItem(name, d.keywordField)
	if err != nil {
		return nil, err
	}
	field, _, _ := strings.Cut(name, "|")
	if !slices.Contains(d.fields, field) {
		d.fields = append(d.fields, field)
	}
	return it.build(value)
}
