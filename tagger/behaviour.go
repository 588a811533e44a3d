package tagger

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// Behaviour lifts what was done in a session or by an HTTP request (kinds
// session, http_request). It adds the members
//
//	matched_op     the destructive operation in op_text or command_text, else in
//	               what the session typed at a database
//	ransom_note    true, of a body_text or note_text, else of what the session
//	               typed, that asks for a ransom
//	matched_path   the path asked for, percent-decoded
//	matched_signal the setting that lets a container out (from signals, else from
//	               the request's body)
//
// and asks Rules about the event. What rules for sessions say of a matched_path
// goes for requests, too.
type Behaviour struct{ Rules Tagger }

// Tag implements [Tagger].
func (b Behaviour) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	if ev.Kind == ttp.HTTPRequest {
		return liftTwice(ctx, b.Rules, ev, requestSignals(ev.Payload))
	}
	return lift(ctx, b.Rules, ev, sessionSignals(ev.Payload))
}

func requestSignals(p ttp.Object) []signal {
	return slices.Concat(askedPath(p, "raw_url"), breakoutSignals(p), decnetPath(p))
}

func sessionSignals(p ttp.Object) []signal {
	signals := slices.Concat(askedPath(p, ""), breakoutSignals(p), decnetSession(p))
	typed := typedIn(p)
	if op := firstOf(destructive, p.Text("op_text", "command_text"), typed.statements); op != "" {
		signals = append(signals, textSignal("matched_op", op, pick(p, "target")))
	}
	note, ok := readRansomNote(p.Text("body_text", "note_text"))
	for i := 0; !ok && i < len(typed.texts); i++ {
		note, ok = readRansomNote(typed.texts[i])
	}
	if ok {
		signals = append(signals, note.signal())
	}
	return signals
}

// firstOf returns the first that find finds in text, else in one of others.
func firstOf(find func(string) string, text string, others []string) string {
	found := find(text)
	for i := 0; found == "" && i < len(others); i++ {
		found = find(others[i])
	}
	return found
}

// typed is what was typed in a session.
type typed struct {
	texts      []string
	statements []string // those of them that went to a service with a language of its own
}

// Of a session's commands at most maxTyped are looked at, and of each at most
// maxTypedText bytes.
const (
	maxTyped     = 1000
	maxTypedText = 4096
)

// shells are the services whose commands are lines of a shell: what these run
// against a database, rules for commands see.
var shells = []string{"", "bash", "sh", "ssh", "telnet"}

func typedIn(p ttp.Object) (t typed) {
	list, _ := p.List("commands")
	for _, v := range list[:min(len(list), maxTyped)] {
		entry, _ := v.Object()
		text, isText := v.Text()
		if !isText {
			text = entry.Text("command_text", "text", "command", "cmd")
		}
		text = clip(text, maxTypedText)
		t.texts = append(t.texts, text)
		if entry != nil && !slices.Contains(shells, strings.ToLower(entry.Text("service"))) {
			t.statements = append(t.statements, text)
		}
	}
	return t
}

// textSignal is a signal whose value is itself the evidence, before what else
// belongs to it.
func textSignal(name, text string, more ttp.Object) signal {
	value := ttp.Quote(text)
	return signal{name, value, append(ttp.Object{{Name: name, Value: value}}, more...)}
}

// maxPath bounds the part of a path that is looked at, in bytes.
const maxPath = 2048

// askedPath returns the path that was asked for as a signal, nil if there is
// none. The last resort is the member that has a whole URL.
func askedPath(p ttp.Object, urlMember string) []signal {
	asked := p.Text("matched_path", "request_path", "path", urlMember)
	if asked == "" {
		return nil
	}
	asked = clip(asked, maxPath)
	if decoded, err := url.PathUnescape(asked); err == nil {
		asked = decoded
	}
	return []signal{textSignal("matched_path", asked, pick(p, "namespace"))}
}

// destructiveOps delete what a database holds, in the words of the database.
var destructiveOps = regexp.MustCompile(`(?i)\bFLUSHALL\b|\bDROP\s{1,16}(?:DATABASE|SCHEMA)\b|\bTRUNCATE\s{1,16}TABLE\b|\bdropDatabase\s?\(|\bDELETE\s{1,16}/_all\b`)

func destructive(text string) string { return destructiveOps.FindString(text) }

// breakouts are the settings that give a container its host.
var breakouts = []string{"privileged:true", "bind:/:/", "bind:/etc", "bind:/var/run/docker.sock"}

// asked are the settings as the body of a request to a container engine's
// interface has them.
var asked = []struct {
	in      *regexp.Regexp
	setting string
}{
	{regexp.MustCompile(`"Privileged"\s{0,8}:\s{0,8}true`), breakouts[0]},
	{regexp.MustCompile(`"(?:Binds|Source)"\s{0,8}:[\s\[]{0,8}"/[:"]`), breakouts[1]},
	{regexp.MustCompile(`"(?:Binds|Source)"\s{0,8}:[\s\[]{0,8}"/etc[:/"]`), breakouts[2]},
	{regexp.MustCompile(`"(?:Binds|Source)"\s{0,8}:[\s\[]{0,8}"/var/run/docker\.sock[:"]`), breakouts[3]},
}

var imageAsked = regexp.MustCompile(`"Image"\s{0,8}:\s{0,8}"([\w./:@-]{1,128})"`)

// breakoutSignals returns the first setting that lets a container out, nil if
// there is none.
func breakoutSignals(p ttp.Object) []signal {
	if setting := breakoutIn(p); setting != "" {
		return []signal{textSignal("matched_signal", setting, pick(p, "container_image"))}
	}
	body := p.Text("body")
	for _, a := range asked {
		if !a.in.MatchString(body) {
			continue
		}
		image := pick(p, "container_image")
		if m := imageAsked.FindStringSubmatch(body); m != nil && len(image) == 0 {
			image = ttp.Object{{Name: "container_image", Value: ttp.Quote(m[1])}}
		}
		return []signal{textSignal("matched_signal", a.setting, image)}
	}
	return nil
}

// breakoutIn returns the first of breakouts that the sensor names, or "".
func breakoutIn(p ttp.Object) string {
	list, _ := p.List("signals")
	for _, wanted := range breakouts {
		shown := func(v ttp.Value) bool { s, _ := v.Text(); return s == wanted }
		if slices.ContainsFunc(list, shown) {
			return wanted
		}
	}
	return ""
}

// ransomNote is what makes a text one: an address to pay to and the words
// around it.
type ransomNote struct {
	address  string
	keywords []string
}

var (
	ransomWords    = []string{"bitcoin", "btc", "monero", "ransom", "decrypt"}
	bitcoinAddress = regexp.MustCompile(`\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71})\b`)
	moneroAddress  = regexp.MustCompile(`\b4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b`)
)

func (n ransomNote) signal() signal {
	return signal{"ransom_note", "true", ttp.Object{
		{Name: "btc_address", Value: ttp.Quote(n.address)},
		{Name: "matched_keywords", Value: ttp.Strings(n.keywords)},
	}}
}

func readRansomNote(text string) (note ransomNote, ok bool) {
	note.keywords = wordsIn(text, ransomWords)
	if len(note.keywords) == 0 {
		return note, false
	}
	note.address = bitcoinAddress.FindString(text)
	if note.address == "" {
		note.address = moneroAddress.FindString(text)
	}
	return note, note.address != ""
}

// wordsIn returns which of words, all lower case, text contains.
func wordsIn(text string, words []string) []string {
	text = strings.ToLower(text)
	var found []string
	for _, w := range words {
		if strings.Contains(text, w) {
			found = append(found, w)
		}
	}
	return found
}
