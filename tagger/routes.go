package tagger

import (
	"slices"

	"ttp-worker/ttp"
)

// Routes returns the routes of the whole program: each kind goes to its lifter,
// which asks rules, or where there is no lifter to rules themselves. artifacts
// is the directory of stored mail, see [Email]; more are further kinds that
// rules look at.
func Routes(rules Tagger, artifacts string, more ...ttp.Kind) []Route {
	routes := []Route{
		{"canary", []ttp.Kind{ttp.Canary, ttp.CanaryFingerprint}, Canary{rules}},
		{"intel", []ttp.Kind{ttp.Intel}, Intel{rules}},
		{"email", []ttp.Kind{ttp.Email}, Email{rules, artifacts}},
		{"behaviour", []ttp.Kind{ttp.Session, ttp.HTTPRequest}, Behaviour{rules}},
		{"fingerprint", []ttp.Kind{ttp.JARM, ttp.HASSH, ttp.HTTPFingerprint, ttp.IPv6Leak}, Fingerprint{rules}},
		{"rules", []ttp.Kind{ttp.Command, ttp.AuthAttempt, ttp.Identity, ttp.Credential, ttp.Payload}, rules},
	}
	last := &routes[len(routes)-1]
	for _, kind := range more {
		claims := func(r Route) bool { return slices.Contains(r.Kinds, kind) }
		if !slices.ContainsFunc(routes, claims) {
			last.Kinds = append(last.Kinds, kind)
		}
	}
	return routes
}
