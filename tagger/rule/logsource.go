package rule

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/ttp"
)

// logsource is where a Sigma rule's events come from.
type logsource struct{ category, product, service string }

func readLogsource(n *yaml.Node) (logsource, error) {
	if n == nil || n.Kind != yaml.MappingNode {
		return logsource{}, faultf("logsource", "a map with category, product or service is wanted")
	}
	get := func(name string) string { return strings.ToLower(strings.Join(scalars(member(n, name)), "")) }
	l := logsource{get("category"), get("product"), get("service")}
	if l == (logsource{}) {
		return l, faultf("logsource", "it has neither category nor product nor service")
	}
	return l, nil
}

func (l logsource) String() string {
	var parts []string
	for _, p := range [][2]string{{"category", l.category}, {"product", l.product}, {"service", l.service}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

// kind returns the kind of event that is of this source, or says why there is
// none.
func (l logsource) kind() (kind ttp.Kind, reason string) {
	switch l.category {
	case "command":
		return ttp.Command, ""
	case "process_creation":
		if (l.product == "" || l.product == "linux" || l.product == "macos") && l.service == "" {
			return ttp.Command, ""
		}
	case "webserver", "proxy", "http":
		return ttp.HTTPRequest, ""
	case "auth":
		return ttp.AuthAttempt, ""
	case "":
		if l.isAuditd() {
			return ttp.Command, ""
		}
	default:
		if kind := ttp.Kind(l.category); kind.Known() && l.product == "" && l.service == "" {
			return kind, ""
		}
	}
	return "", fmt.Sprintf("no events of logsource %s", l)
}

func (l logsource) isAuditd() bool { return l.product == "linux" && l.service == "auditd" }

// auditdReason says why a rule for auditd cannot be judged by the commands that
// are seen, "" if it can: it must be about execve records only, whose words are
// those of a simple command.
func auditdReason(e *expr) string {
	reason, execve := "", false
	e.each(func(t *test) {
		switch {
		case t.field == "type":
			if t.how != equals || !strings.EqualFold(t.text, "execve") {
				reason = "of auditd only EXECVE records can be told from commands"
			}
			execve = true
		case !isArgument(t.field) && t.field != "CommandLine":
			reason = fmt.Sprintf("auditd field %.40q cannot be told from commands", t.field)
		}
	})
	if reason == "" && !execve {
		reason = "of auditd only EXECVE records can be told from commands"
	}
	return reason
}

// isArgument reports whether field is a0, a1, … as auditd names the words of a
// command.
func isArgument(field string) bool {
	_, ok := argumentIndex(field)
	return ok
}

func argumentIndex(field string) (int, bool) {
	digits, ok := strings.CutPrefix(field, "a")
	if !ok || digits == "" || len(digits) > 2 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n := 0
	for _, c := range []byte(digits) {
		n = 10*n + int(c-'0')
	}
	return n, true
}
