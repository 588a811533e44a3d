package ttp

import (
	"strings"
	"testing"
)

// Members take many times the memory that they take in the text.
func TestParseObject_refusesAFloodOfMembers(t *testing.T) {
	t.Parallel()
	object := func(members int) string {
		return "{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, members), ",") + "}"
	}
	for text, ok := range map[string]bool{
		object(maxMembers):                   true,
		object(maxMembers + 1):               false,
		`{"x":` + object(maxMembers+1) + `}`: false,
	} {
		if _, err := ParseObject(text); (err == nil) != ok {
			t.Errorf("an object of %d bytes: %v", len(text), err)
		}
	}
}
