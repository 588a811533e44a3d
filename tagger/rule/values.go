package rule

import (
	"strings"

	"ttp-worker/ttp"
)

// maxValues bounds how many elements of a list are looked at.
const maxValues = 1024

// values is what a field has in one record: nothing if it is absent, several
// texts if it is a list.
type values struct {
	list    []string
	present bool // with something other than null
}

func (v *values) reset() { v.list, v.present = v.list[:0], false }

func (v *values) add(s string) {
	v.present = true
	if len(v.list) < maxValues {
		v.list = append(v.list, s)
	}
}

// addText adds s unless it is empty, which in what is derived means absent.
func (v *values) addText(s string) {
	if s != "" {
		v.add(s)
	}
}

// addJSON adds a member of the payload: a string as it is, a number or truth
// value by its JSON text, each element of a list. An object is there and has
// no value.
func (v *values) addJSON(raw ttp.Value) {
	if raw.IsNull() {
		return
	}
	v.present = true
	if s, ok := raw.Scalar(); ok {
		v.add(s)
		return
	}
	if raw[0] != '[' {
		return
	}
	list, _ := raw.List()
	for _, element := range list {
		if s, ok := element.Scalar(); ok {
			v.add(s)
		}
	}
}

// addAll adds every text anywhere in raw.
func (v *values) addAll(raw ttp.Value) {
	if raw.IsNull() {
		return
	}
	switch raw[0] {
	case '[':
		list, _ := raw.List()
		for _, element := range list {
			v.addAll(element)
		}
	case '{':
		o, _ := raw.Object()
		for _, m := range o {
			v.addAll(m.Value)
		}
	default:
		v.addJSON(raw)
	}
}

// memberPath is the name of a payload member; one of a nested object is a.b.
type memberPath struct {
	name   string
	nested bool // it has a dot in it
}

func pathOf(name string) memberPath { return memberPath{name, strings.Contains(name, ".")} }

// in returns the member of o.
func (p memberPath) in(o ttp.Object) (ttp.Value, bool) {
	if v, ok := o.Get(p.name); ok || !p.nested {
		return v, ok
	}
	return lookup(o, p.name)
}

// lookup returns the payload member called name; one of a nested object is
// a.b.
func lookup(o ttp.Object, name string) (ttp.Value, bool) {
	for {
		if v, ok := o.Get(name); ok {
			return v, true
		}
		head, rest, ok := strings.Cut(name, ".")
		if !ok {
			return "", false
		}
		v, _ := o.Get(head)
		if v == "" || v[0] != '{' {
			return "", false
		}
		o, _ = v.Object()
		name = rest
	}
}
