package bus

import (
	"cmp"
	"strings"
)

// telemetry lists the subjects that are consumed.
func telemetry() []string {
	return []string{
		"attacker.command",
		"attacker.session.ended",
		"attacker.observed",
		"attacker.auth",
		"attacker.http",
		"attacker.intel.enriched",
		"attacker.fingerprinted",
		"identity.formed",
		"identity.merged",
		"credential.reuse.detected",
		"email.received",
		"canary.*.triggered",
		"canary.*.placed",
		"canary.*.revoked",
	}
}

// The subjects that are published.
const (
	tagged     = "ttp.tagged"
	fired      = "ttp.rule.fired."
	suppressed = "ttp.rule.suppressed"
	deadLetter = "ttp.dlq."
)

// maxSubject bounds a subject that is made from another's: a server ends the
// connection over a protocol line of more than 4 KiB.
const maxSubject = 2048

// validSubject reports whether s can be published on: words with dots between
// them, no wildcards, nothing that would end the protocol line.
func validSubject(s string) bool {
	if s == "" || len(s) > maxSubject || strings.ContainsAny(s, " \t\r\n\x00*>") {
		return false
	}
	return !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}

// token makes s one word of a subject.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '.' || r == '*' || r == '>' {
			return '_'
		}
		return r
	}, cmp.Or(s, "_"))
}

// covers reports whether every subject that matches narrow matches wide, too.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		if token == ">" {
			return i < len(n)
		}
		if i >= len(n) || n[i] == ">" || token != "*" && token != n[i] {
			return false
		}
	}
	return len(w) == len(n)
}

// uncovered returns those of want that none of have covers.
func uncovered(have, want []string) []string {
	var missing []string
	for _, subject := range want {
		if !coveredBy(have, subject) {
			missing = append(missing, subject)
		}
	}
	return missing
}

func coveredBy(have []string, subject string) bool {
	for _, h := range have {
		if covers(h, subject) {
			return true
		}
	}
	return false
}
