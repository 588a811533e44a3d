package tagger

import (
	"slices"

	"ttp-worker/ttp"
)

// Routes returns the routes of the whole program: a kind that has a lifter goes
// to it, and it asks rules; of the kinds that rules look at the others go to
// rules themselves. artifacts is the directory of stored mail, see [Email].
func Routes(rules Tagger, kinds []ttp.Kind, artifacts string) []Route {
	routes := []Route{
		{"canary", []ttp.Kind{ttp.Canary, ttp.CanaryFingerprint}, Canary{rules}},
		{"intel", []ttp.Kind{ttp.Intel}, Intel{rules}},
		{"email", []ttp.Kind{ttp.Email}, Email{rules, artifacts}},
		{"behaviour", []ttp.Kind{ttp.Session, ttp.HTTPRequest}, Behaviour{rules}},
		{"fingerprint", []ttp.Kind{ttp.JARM, ttp.HASSH, ttp.HTTPFingerprint, ttp.IPv6Leak}, Fingerprint{rules}},
	}
	var plain []ttp.Kind
	for _, kind := range kinds {
		claims := func(r Route) bool { return slices.Contains(r.Kinds, kind) }
		if !slices.ContainsFunc(routes, claims) && !slices.Contains(plain, kind) {
			plain = append(plain, kind)
		}
	}
	if len(plain) > 0 {
		routes = append(routes, Route{"rules", plain, rules})
	}
	return routes
}
