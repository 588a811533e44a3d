package tagger

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// Rule files of DECNET leave it to code what makes a rule of a lifter fire, and
// say the same of an event here as there. Where the built-in rules see more,
// the lifters add a second member, decnet_*, that is read as DECNET reads it;
// the detections of package tagger/decnet are about these.

// decnetWiped is what wipes a database, as DECNET knows it.
var decnetWiped = regexp.MustCompile(`FLUSHALL|DROP\s+DATABASE|TRUNCATE\s+TABLE|dropDatabase\(\)|DELETE\s+/_all`)

func decnetSession(p ttp.Object) []signal {
	signals := append(decnetPath(p), decnetBreakout(p)...)
	if op := decnetWiped.FindString(p.Text("op_text", "command_text")); op != "" {
		s := textSignal("matched_op", clip(op, 256), pick(p, "target"))
		signals = append(signals, s.named("decnet_op"))
	}
	if note, ok := readRansomNote(p.Text("body_text", "note_text")); ok {
		signals = append(signals, note.signal().named("decnet_note"))
	}
	return signals
}

func decnetPath(p ttp.Object) []signal {
	asked := p.Text("matched_path", "request_path", "path")
	if asked == "" {
		return nil
	}
	return []signal{
		textSignal("matched_path", clip(asked, maxPath), nil).named("decnet_path"),
		textSignal("matched_path", clip(asked, maxPath), pick(p, "namespace")).named("decnet_cluster_path"),
	}
}

func decnetBreakout(p ttp.Object) []signal {
	setting := breakoutIn(p)
	if setting == "" {
		return nil
	}
	return []signal{textSignal("matched_signal", setting, pick(p, "container_image")).named("decnet_breakout")}
}

// decnetMail are the members that are read as DECNET reads them:
//
//	decnet_sender_mismatch  From and envelope sender are of different domains,
//	                        be the one a part of the other
//	decnet_kit              the kit that the sensor names for this X-Mailer
//	decnet_idn_link         a link with xn-- anywhere
//	decnet_spoofed          how the sender is false, see decnet_sender_mismatch
//	decnet_trigger          what makes an attachment dangerous
var decnetMail = []func(*received) (signal, bool){
	(*received).decnetSenderMismatch, (*received).decnetKit, (*received).decnetLink, (*received).decnetSpoofed, (*received).decnetTrigger,
}

func (r *received) decnetSenderMismatch() (signal, bool) {
	from, _, envelope := r.sender()
	return signal{"decnet_sender_mismatch", "true", r.evidence([]string{"From", "Mail-From"})}, unequal(from, envelope)
}

func unequal(a, b string) bool { return a != "" && b != "" && a != b }

func (r *received) decnetKit() (signal, bool) {
	kit := r.payload.Text("matched_kit")
	flagged, _ := r.payload.Bool("xmailer_kit_match")
	evidence := r.evidence([]string{"X-Mailer"})
	if kit != "" {
		evidence = evidence.Set("matched_kit", ttp.Quote(clip(kit, 128)))
	}
	return signal{"decnet_kit", "true", evidence}, r.payload.Text("x_mailer") != "" && (kit != "" || flagged)
}

func (r *received) decnetLink() (signal, bool) {
	list, _ := r.payload.List("urls")
	for _, v := range list[:min(len(list), maxLinks)] {
		if link, _ := v.Text(); strings.Contains(link, "xn--") {
			host := ttp.Member{Name: "matched_url_host", Value: ttp.Quote(linkAuthority(link))}
			return signal{"decnet_idn_link", "true", r.evidence([]string{"body"}, host)}, true
		}
	}
	return signal{}, false
}

// linkAuthority returns host and port of a web link. A user and a password
// before them are left out.
func linkAuthority(link string) string {
	u, err := url.Parse(strings.TrimSpace(clip(link, 4096)))
	if err != nil || !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https") {
		return ""
	}
	return strings.ToLower(clip(u.Host, 255))
}

func (r *received) decnetSpoofed() (signal, bool) {
	s, shown := r.falseSender(unequal)
	return s.named("decnet_spoofed"), shown
}

// decnetDangerous are the extensions that DECNET knows.
var decnetDangerous = []string{"lnk", "iso", "img"}

func (r *received) decnetTrigger() (signal, bool) {
	name := r.flaggedTrigger()
	for _, e := range texts(r.payload, "attachment_extensions") {
		if e = strings.ToLower(strings.TrimLeft(e, ".")); name == "" && slices.Contains(decnetDangerous, e) {
			name = e
		}
	}
	found := ttp.Member{Name: "matched_trigger", Value: ttp.Quote(name)}
	return signal{"decnet_trigger", "true", r.evidence(nil, found)}, name != ""
}
