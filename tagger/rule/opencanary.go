package rule

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/ttp"
)

// OpenCanary numbers what its decoys see (logtype). These numbers mean what
// events of ours say in words.

// loginTypes are the numbers of logins, by the service of an auth_attempt.
var loginTypes = map[string]string{
	"ftp": "2000", "http": "3001", "https": "3001", "ssh": "4002", "telnet": "6001", "httpproxy": "7001",
	"mysql": "8001", "mssql": "9001", "vnc": "12001", "rdp": "14001",
}

// requestType is the number of a GET request.
const requestType = "3000"

// openCanaryKind returns the kind of the events that a detection is about, or
// says why there is none.
func openCanaryKind(detection *yaml.Node) (kind ttp.Kind, reason string) {
	types := logtypes(detection)
	if len(types) == 0 {
		return "", "without a logtype nothing tells what OpenCanary event it is about"
	}
	for _, t := range types {
		k := ttp.Kind("")
		switch {
		case t == requestType:
			k = ttp.HTTPRequest
		case isLoginType(t):
			k = ttp.AuthAttempt
		default:
			return "", fmt.Sprintf("no events of OpenCanary's logtype %.20q", t)
		}
		if kind != "" && kind != k {
			return "", "its logtypes are events of different kinds"
		}
		kind = k
	}
	return kind, ""
}

// logtypes returns the values of every item about a logtype.
func logtypes(n *yaml.Node) (list []string) {
	n = resolve(n)
	if n == nil {
		return nil
	}
	for i, kid := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if field, _, _ := strings.Cut(kid.Value, "|"); field == "logtype" {
				list = append(list, scalars(n.Content[i+1])...)
			}
			continue
		}
		list = append(list, logtypes(kid)...)
	}
	return list
}

func isLoginType(number string) bool {
	for _, n := range loginTypes {
		if n == number {
			return true
		}
	}
	return false
}

// readLogtype adds the number of the event: its own, or that of a login to the
// service. That somebody asked for a page is nothing to tell where it was not a
// decoy that was asked, so a request must bring its own.
func readLogtype(ev *event, v *values) {
	if raw, ok := ev.payload.Get("logtype"); ok {
		v.addJSON(raw)
		return
	}
	v.addText(loginTypes[strings.ToLower(ev.payload.Text("service"))])
}

var logtypeField = field{read: readLogtype, uses: []string{"logtype", "service"}}
