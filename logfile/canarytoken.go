package logfile

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// testToken is what Canarytokens sends when a webhook is set up.
const testToken = "a+test+token"

// readCanarytoken queues the hit that a webhook object of Canarytokens tells.
// What proves the owner's right to the token (manage_url) is left out. An
// object that tells of a key found in public is no hit.
func readCanarytoken(o ttp.Object, queue *[]Record) error {
	if o.Text("token") == testToken || o.Has("public_location") {
		return nil
	}
	if !o.Has("channel") && !o.Has("src_ip") && !o.Has("additional_data") {
		return errors.New("not a webhook object of Canarytokens")
	}
	more, _ := o.Object("additional_data")
	at, ok := parseTime(o.Text("time"))
	if !ok {
		return errors.New("a hit of a canary token without a time")
	}
	token := cmp.Or(o.ID("token"), tokenIn(o.Text("manage_url")))
	m := members{make(ttp.Object, 0, 16)}
	m.text("token_id", token)
	m.text("src_ip", cmp.Or(addressOf(o), addressOf(more)))
	m.text("token_type", o.Text("token_type"))
	m.text("channel", o.Text("channel"))
	m.text("user_agent", cmp.Or(o.Text("useragent"), more.Text("useragent")))
	m.text("occurred_at", at.Format(time.RFC3339))
	m.text("request_path", cmp.Or(more.Text("location"), o.Text("location")))
	for _, part := range []string{"src_data", "additional_info"} {
		for _, source := range []ttp.Object{o, more} {
			if v := get(source, part); len(v) <= maxPart && !m.Has(part) {
				m.value(part, v)
			}
		}
	}
	*queue = append(*queue, made("canary."+subjectToken(token)+".triggered", at, m.Object))
	return nil
}

// maxPart bounds the details of a hit that are taken over, in bytes.
const maxPart = 64 << 10

// addressOf returns the source; some hits say in words that there is none.
func addressOf(o ttp.Object) string {
	s := o.Text("src_ip")
	if strings.HasPrefix(s, "(") {
		return ""
	}
	return s
}

// tokenIn finds the token in the address where its owner manages it.
func tokenIn(url string) string {
	_, rest, _ := strings.Cut(url, "token=")
	token, _, _ := strings.Cut(rest, "&")
	return token
}

// subjectToken makes s one word of a subject.
func subjectToken(s string) string {
	word := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(".*>", r) {
			return '_'
		}
		return r
	}, s[:min(len(s), 128)])
	return cmp.Or(word, "_")
}

// readThinkst queues what an object of the Thinkst console's webhook tells: a
// hit of a token, or an event of a bird, which are numbered as OpenCanary's are.
func readThinkst(o ttp.Object, queue *[]Record) error {
	at, ok := parseTime(o.Text("Timestamp"))
	if !ok {
		return errors.New("an incident without a time")
	}
	details := make(ttp.Object, 0, 16)
	pairs, _ := o.List("AdditionalDetails")
	for _, pair := range pairs {
		if p, ok := pair.List(); ok && len(p) == 2 {
			name, _ := p[0].Text()
			details = details.Set(name, p[1])
		}
	}
	if isToken(o) {
		m := members{make(ttp.Object, 0, 16)}
		token := cmp.Or(o.ID("canarytoken"), o.ID("Canarytoken"), details.ID("Canarytoken", "canarytoken"), o.ID("CanaryID"))
		m.text("token_id", token)
		m.text("src_ip", o.Text("SourceIP"))
		m.text("decky_name", o.Text("CanaryName"))
		m.text("token_type", tokenKind(o.Text("Description")))
		m.text("user_agent", details.Text("User-Agent", "User Agent", "useragent"))
		m.text("request_path", cmp.Or(o.Text("url"), details.Text("URL", "url", "Path")))
		m.text("dns_qname", details.Text("Hostname", "hostname"))
		m.text("occurred_at", at.Format(time.RFC3339))
		*queue = append(*queue, made("canary."+subjectToken(token)+".triggered", at, m.Object))
		return nil
	}
	e := canaryEvent{address: o.Text("SourceIP"), node: o.Text("CanaryName"), port: get(o, "CanaryPort")}
	e.logType, _ = o.Int("LogType")
	e.setTime(o.Text("Timestamp"))
	for _, d := range details {
		e.data = append(e.data, ttp.Member{Name: strings.ToUpper(d.Name), Value: d.Value})
	}
	e.records(queue)
	return nil
}

// isToken tells a token's hit from a bird's event: both use number 17001.
func isToken(o ttp.Object) bool {
	return o.Has("canarytoken") || o.Has("Canarytoken") || strings.Contains(strings.ToLower(o.Text("Description")), "canarytoken") ||
		o.Text("logtype") != ""
}

// tokenWords are words of a person that name the type of a token.
var tokenWords = [][2]string{{"aws", "aws_keys"}, {"azure", "azure_id"}, {"word", "ms_word"}, {"excel", "ms_excel"}, {"pdf", "adobe_pdf"}}

func tokenKind(description string) string {
	description = strings.ToLower(description)
	for _, w := range tokenWords {
		if strings.Contains(description, w[0]) {
			return w[1]
		}
	}
	return ""
}
