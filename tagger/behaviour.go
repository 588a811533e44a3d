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
//	matched_op     the destructive database operation in op_text or command_text
//	ransom_note    true, of a body_text or note_text that asks for a ransom
//	matched_path   the path asked for, percent-decoded
//	matched_signal the setting that lets a container out (from signals)
//
// and asks Rules about the event. What rules for sessions say of a matched_path
// goes for requests, too.
type Behaviour struct{ Rules Tagger }

// Tag implements [Tagger].
func (b Behaviour) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	if ev.Kind == ttp.HTTPRequest {
		return liftTwice(ctx, b.Rules, ev, askedPath(ev.Payload, "raw_url"))
	}
	return lift(ctx, b.Rules, ev, sessionSignals(ev.Payload))
}

func sessionSignals(p ttp.Object) []signal {
	signals := askedPath(p, "")
	if op := destructive(p.Text("op_text", "command_text")); op != "" {
		signals = append(signals, textSignal("matched_op", op, pick(p, "target")))
	}
	if note, ok := readRansomNote(p.Text("body_text", "note_text")); ok {
		signals = append(signals, signal{"ransom_note", "true", ttp.Object{
			{Name: "btc_address", Value: ttp.Quote(note.address)},
			{Name: "matched_keywords", Value: ttp.Strings(note.keywords)},
		}})
	}
	if s := containerSignal(p); s != "" {
		signals = append(signals, textSignal("matched_signal", s, pick(p, "container_image")))
	}
	return signals
}

// textSignal is a signal whose value is itself the evidence, before what else
// belongs to it.
func textSignal(name, text string, more ttp.Object) signal {
	value := ttp.Quote(text)
	return signal{name, value, append(ttp.Object{{Name: name, Value: value}}, more...)}
}

// askedPath returns the path that was asked for as a signal, nil if there is
// none. The last resort is the member that has a whole URL.
func askedPath(p ttp.Object, urlMember string) []signal {
	asked := p.Text("matched_path", "request_path", "path", urlMember)
	if asked == "" {
		return nil
	}
	asked = clip(asked, 2048)
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

func containerSignal(p ttp.Object) string {
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
