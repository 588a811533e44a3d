package tagger

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"ttp-worker/ttp"
)

func (r *received) recipients() (signal, bool) {
	n, ok := r.payload.Int("rcpt_count")
	return signal{name: "rcpt_count", value: ttp.Number(n)}, ok
}

// sender returns the domains of the From header, of the Return-Path and of the
// envelope sender; "" is not known.
func (r *received) sender() (from, returnPath, envelope string) {
	from = domain(orElse(r.payload.Text("from_domain", "from"), r.stored.from))
	returnPath = domain(orElse(r.payload.Text("return_path_domain", "return_path"), r.stored.returnPath))
	return from, returnPath, domain(r.payload.Text("mail_from_domain", "mail_from"))
}

// differ reports whether two domains are known and neither is a part of the
// other, as the sub-domain is that a service sends mail from.
func differ(a, b string) bool {
	return a != "" && b != "" && a != b && !strings.HasSuffix(a, "."+b) && !strings.HasSuffix(b, "."+a)
}

func (r *received) senderMismatch() (signal, bool) {
	from, _, envelope := r.sender()
	return signal{"sender_mismatch", "true", r.evidence([]string{"From", "Mail-From"})}, differ(from, envelope)
}

// bodyKnown is for rules about mail of which there are many alike. Producers
// send "" for a digest that they did not make.
func (r *received) bodyKnown() (signal, bool) {
	known := r.payload.ID("body_simhash") != "" || r.text != ""
	return signal{"body_known", "true", r.evidence(nil)}, known
}

// kits are names that phishing and mass mail programs sign their mail with.
var kits = []struct{ part, name string }{
	{"gophish", "gophish"},
	{"king phisher", "king_phisher"},
	{"king-phisher", "king_phisher"},
	{"leaf phpmailer", "leaf_phpmailer"},
	{"leafmailer", "leaf_phpmailer"},
	{"dark mailer", "dark_mailer"},
	{"darkmailer", "dark_mailer"},
	{"alexusmailer", "alexusmailer"},
	{"advanced mass sender", "advanced_mass_sender"},
	{"atomic mail sender", "atomic_mail_sender"},
}

func (r *received) kit() (signal, bool) {
	mailer := orElse(r.payload.Text("x_mailer"), r.stored.mailer)
	kit := r.payload.Text("matched_kit")
	header := "X-Mailer"
	switch flagged, _ := r.payload.Bool("xmailer_kit_match"); {
	case kit != "":
	case r.stored.gophish:
		kit, header = "gophish", "X-Gophish-Contact"
	default:
		kit = kitOf(mailer)
		if kit == "" && flagged && mailer != "" {
			kit = "unnamed"
		}
	}
	value := ttp.Quote(clip(kit, 128))
	return signal{"matched_kit", value, r.evidence([]string{header}, ttp.Member{Name: "matched_kit", Value: value})}, kit != ""
}

func kitOf(mailer string) string {
	mailer = strings.ToLower(clip(mailer, 256))
	for _, k := range kits {
		if strings.Contains(mailer, k.part) {
			return k.name
		}
	}
	return ""
}

// maxLinks bounds how many links of a mail are looked at.
const maxLinks = 1000

func (r *received) idnHost() (signal, bool) {
	list, _ := r.payload.List("urls")
	var links []string
	for _, v := range list[:min(len(list), maxLinks)] {
		link, _ := v.Text()
		links = append(links, link)
	}
	if len(links) == 0 {
		links = linksIn(r.text, maxLinks)
	}
	for _, link := range links {
		if host := linkHost(link); foreignScript(host) {
			value := ttp.Quote(host)
			return signal{"idn_host", value, r.evidence([]string{"body"}, ttp.Member{Name: "matched_url_host", Value: value})}, true
		}
	}
	return signal{}, false
}

// linkHost returns the host of a web link without user, password and port.
func linkHost(link string) string {
	u, err := url.Parse(strings.TrimSpace(clip(link, 4096)))
	if err != nil || !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https") {
		return ""
	}
	return strings.ToLower(clip(u.Hostname(), 255))
}

// foreignScript reports whether a label of the host is not in ASCII, or stands
// for one that is not.
func foreignScript(host string) bool {
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			return true
		}
	}
	return strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--")
}

// spoofed lists how the sender is false. The sensor says false for dkim_signed
// and spf_pass alike when no server before it has checked either, so that both
// false together say nothing; one of them alone does, and so do the headers of
// the stored message.
func (r *received) spoofed() (signal, bool) { return r.falseSender(differ) }

// falseSender is [received.spoofed] with differ as what tells domains apart.
func (r *received) falseSender(differ func(a, b string) bool) (signal, bool) {
	var ways, headers []string
	from, returnPath, envelope := r.sender()
	if differ(from, returnPath) {
		ways = append(ways, "from_return_path_mismatch")
	}
	if differ(from, envelope) {
		ways = append(ways, "from_mail_from_mismatch")
	}
	if len(ways) > 0 {
		headers = append(headers, "From", "Return-Path")
	}
	dkim, dkimKnown := r.payload.Bool("dkim_signed")
	spf, spfKnown := r.payload.Bool("spf_pass")
	unchecked := dkimKnown && spfKnown && !dkim && !spf
	if r.stored.results["dkim"] == "fail" || dkimKnown && !dkim && !unchecked {
		ways, headers = append(ways, "dkim_failed"), append(headers, "DKIM-Signature")
	}
	if r.stored.results["spf"] == "fail" || spfKnown && !spf && !unchecked {
		ways, headers = append(ways, "spf_failed"), append(headers, "Authentication-Results")
	}
	value := ttp.Strings(ways)
	return signal{"spoofed", value, r.evidence(headers, ttp.Member{Name: "matched_signals", Value: value})}, len(ways) > 0
}

// triggers are the members by which a sensor says itself what is dangerous.
var triggers = []struct{ member, name string }{
	{"attachment_macros", "office_macro"},
	{"attachment_password_protected", "protected_archive"},
	{"html_smuggling", "html_smuggling"},
	{"mal_hash_match", "mal_hash_match"},
}

func (r *received) attachment() (signal, bool) {
	trigger := r.trigger()
	value := ttp.Quote(trigger)
	return signal{"attachment_trigger", value, r.evidence(nil, ttp.Member{Name: "matched_trigger", Value: value})}, trigger != ""
}

// flaggedTrigger returns what the sensor says itself is dangerous, or "".
func (r *received) flaggedTrigger() string {
	for _, t := range triggers {
		if shown, _ := r.payload.Bool(t.member); shown {
			return t.name
		}
	}
	return ""
}

func (r *received) trigger() string {
	for _, t := range triggers {
		if shown, _ := r.payload.Bool(t.member); shown || r.stored.has(t.name) {
			return t.name
		}
	}
	extensions := texts(r.payload, "attachment_extensions")
	if len(extensions) == 0 {
		extensions = r.stored.extensions()
	}
	for _, e := range extensions {
		if name, ok := dangerous[strings.ToLower(strings.TrimLeft(e, "."))]; ok {
			return name
		}
	}
	return ""
}

// dangerous are the extensions of files that a double click runs, or opens as
// a disk of such files, and what they are called as a trigger.
var dangerous = map[string]string{
	"lnk": "lnk", "iso": "iso", "img": "img", "vhd": "vhd", "vhdx": "vhdx",
	"docm": "office_macro", "dotm": "office_macro", "xlsm": "office_macro", "xltm": "office_macro",
	"xlam": "office_macro", "pptm": "office_macro", "ppam": "office_macro", "xll": "xll",
	"exe": "exe", "scr": "scr", "com": "com", "pif": "pif", "cpl": "cpl", "msi": "msi", "jar": "jar", "chm": "chm",
	"js": "js", "jse": "jse", "vbs": "vbs", "vbe": "vbe", "wsf": "wsf", "hta": "hta",
	"bat": "bat", "cmd": "cmd", "ps1": "ps1",
}

var (
	urgingWords = []string{"urgent", "wire", "invoice", "payroll", "gift card"}
	askingWords = []string{"send", "transfer", "update banking", "confidential"}
)

func (r *received) lure() (signal, bool) {
	urging := wordsIn(orElse(r.payload.Text("subject"), r.stored.subject), urgingWords)
	asking := wordsIn(r.text, askingWords)
	if len(urging) == 0 || len(asking) == 0 {
		return signal{}, false
	}
	return signal{"lure", "true", r.evidence([]string{"Subject"},
		ttp.Member{Name: "matched_subject_kw", Value: ttp.Quote(urging[0])},
		ttp.Member{Name: "matched_body_kw", Value: ttp.Quote(asking[0])})}, true
}

func (r *received) encoded() (signal, bool) {
	said, _ := r.payload.Int("body_base64_bytes")
	n := max(said, int64(encodedBytes(r.text)))
	value := ttp.Number(n)
	return signal{"encoded_byte_count", value, r.evidence([]string{"body"}, ttp.Member{Name: "encoded_byte_count", Value: value})}, n > 0
}
