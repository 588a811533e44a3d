package ttp

import (
	"encoding/json"
	"slices"
)

// Object is a JSON object as its members in the order they were written.
// Values stay raw JSON until somebody asks for one, because of a message most
// are never looked at. Objects are small; looking a member up is a scan.
//
// The zero Object is an empty one.
type Object []Member

// Member is one name and its value.
type Member struct {
	Name  string
	Value Value
}

// Get returns the value of the member called name, and whether there is one.
// Of several with the same name the last counts, as in encoding/json.
func (o Object) Get(name string) (Value, bool) {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return "", false
}

// Has reports whether there is a member called name that is not null.
func (o Object) Has(name string) bool {
	v, ok := o.Get(name)
	return ok && !v.IsNull()
}

// Text returns the first of the named members that is a non-empty string, or "".
func (o Object) Text(names ...string) string {
	for _, name := range names {
		v, ok := o.Get(name)
		if !ok {
			continue
		}
		if s, ok := v.Text(); ok && s != "" {
			return s
		}
	}
	return ""
}

// ID returns the first of the named members that names something: a string
// other than "" and "-", which producers send for absent, or an integer.
func (o Object) ID(names ...string) string {
	for _, name := range names {
		v, ok := o.Get(name)
		if !ok {
			continue
		}
		if s, ok := v.Scalar(); ok && s != "" && s != "-" && s != "true" && s != "false" {
			return s
		}
	}
	return ""
}

// Int returns the named member as a whole number; a numeric string counts.
func (o Object) Int(name string) (int64, bool) {
	v, _ := o.Get(name)
	return v.Int()
}

// Float returns the named member as a number; a numeric string counts.
func (o Object) Float(name string) (float64, bool) {
	v, _ := o.Get(name)
	return v.Float()
}

// Bool returns the named member as a truth value; 1, 0 and their strings
// count. An absent or null member is not known: ok is false.
func (o Object) Bool(name string) (value, ok bool) {
	v, _ := o.Get(name)
	return v.Bool()
}

// List returns the elements of the named member; a list inside a string
// counts. ok is false if it is absent, null or no list.
func (o Object) List(name string) (elements []Value, ok bool) {
	v, _ := o.Get(name)
	return v.List()
}

// Object returns the named member as an object; an object inside a string
// counts. ok is false if it is absent, null or no object.
func (o Object) Object(name string) (Object, bool) {
	v, _ := o.Get(name)
	return v.Object()
}

// Set returns o with the member called name set to value, in place if it is
// there. The members of o itself are not changed.
func (o Object) Set(name string, value Value) Object {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].Name == name {
			o = slices.Clone(o)
			o[i].Value = value
			return o
		}
	}
	return append(o[:len(o):len(o)], Member{name, value})
}

// MarshalJSON writes the object with its members in order. Names must be
// distinct for the result to mean the same to every reader.
func (o Object) MarshalJSON() ([]byte, error) {
	return o.AppendJSON(nil), nil
}

// UnmarshalJSON reads an object as [ParseObject] does.
func (o *Object) UnmarshalJSON(data []byte) error {
	parsed, err := ParseObject(string(data))
	if err != nil {
		return err
	}
	*o = parsed
	return nil
}

// AppendJSON appends the object's JSON form to dst.
func (o Object) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(dst, m.Name)
		dst = append(dst, ':')
		if m.Value == "" {
			dst = append(dst, "null"...)
			continue
		}
		dst = append(dst, m.Value...)
	}
	return append(dst, '}')
}

var (
	_ json.Marshaler   = Object(nil)
	_ json.Unmarshaler = (*Object)(nil)
)
