package tagger

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// Canary lifts hits of canary tokens. Of kind canary it says what the token was
// planted as (member token_class, see [TokenClass]); of kind canary_fingerprint
// it compares what the browser says of itself with what else is known about it
// (see [CanarySignals]). Rules is asked about the event with these members.
//
// The evidence of a rule that names a signal of a fingerprint in its evidence
// list is the metric and the matched_signature of the first one shown.
type Canary struct{ Rules Tagger }

// Tag implements [Tagger].
func (c Canary) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	if ev.Kind == ttp.Canary {
		return lift(ctx, c.Rules, ev, []signal{{name: "token_class", value: ttp.Quote(TokenClass(ev.Payload))}})
	}
	return lift(ctx, c.Rules, ev, canarySignals(ev))
}

// CanarySignals returns the members that [Canary] adds to the event's payload. A signal
// that the sensor sent ready-made is taken as it is; the others come from the
// raw fingerprint (member _fp) and the hit's src_ip, user_agent and
// country_code. What cannot be told, because a part is missing or of another
// type than it should be, has no member.
//
//	navigator_webdriver       the browser says it is automated
//	headless_user_agent       its user agent names a headless browser
//	canvas_audio_hash_match   ready-made only: the tool a hash belongs to
//	webrtc_geo_mismatch       WebRTC shows another public address than the hit's
//	tz_mismatch_zones         whole hours from its time zone to the clocks of country_code
//	lang_country_mismatch     none of its languages is at home in country_code
//	platform_ua_inconsistent  navigator.platform and the user agent differ
//	ua_webgl_mismatch         the user agent's system cannot have that renderer
func CanarySignals(ev *ttp.Event) ttp.Object {
	return members(canarySignals(ev))
}

// canaryFlags are the signals that are true or false.
var canaryFlags = []struct {
	name, metric, signature string
	derive                  func(*fingerprint) (shown, known bool)
}{
	{"navigator_webdriver", "navigator_webdriver", "navigator.webdriver_true", (*fingerprint).webdriver},
	{"headless_user_agent", "headless_user_agent", "userAgent.headless", (*fingerprint).headless},
	{"webrtc_geo_mismatch", "webrtc_geo_mismatch", "webrtc_private_vs_source_ip", (*fingerprint).webrtcLeak},
	{"lang_country_mismatch", "language_country_mismatch", "lang_vs_source_country", (*fingerprint).foreignLanguage},
	{"platform_ua_inconsistent", "platform_ua_mismatch", "navigator.platform_vs_userAgent", (*fingerprint).platformLie},
	{"ua_webgl_mismatch", "ua_webgl_mismatch", "userAgent_vs_webgl_renderer", (*fingerprint).rendererLie},
}

// farZones is from how many hours apart two time zones are evidence; less is
// summer time or a border.
const farZones = 3

func canarySignals(ev *ttp.Event) []signal {
	p := ev.Payload
	signals := make([]signal, 0, len(canaryFlags)+2)
	f := parseFingerprint(p)
	for _, flag := range canaryFlags {
		shown, known := p.Bool(flag.name)
		if !known {
			shown, known = flag.derive(f)
		}
		if known {
			signals = append(signals, canarySignal(flag.name, ttp.Bool(shown), shown, flag.metric, flag.signature))
		}
	}
	if tool := strings.ToLower(p.Text("canvas_audio_hash_match", "matched_tool")); tool != "" {
		signals = append(signals, canarySignal("canvas_audio_hash_match", ttp.Quote(tool), true, "canvas_audio_hash", tool))
	}
	n, ok := p.Int("tz_mismatch_zones")
	if !ok {
		n, ok = f.zonesApart(ev.At)
	}
	if ok {
		signature := "tz_zones>=" + strconv.FormatInt(n, 10)
		signals = append(signals, canarySignal("tz_mismatch_zones", ttp.Number(n), n >= farZones, "timezone_geo_mismatch", signature))
	}
	return signals
}

func canarySignal(name string, value ttp.Value, shown bool, metric, signature string) signal {
	s := signal{name: name, value: value}
	if shown {
		s.evidence = ttp.Object{{Name: "metric", Value: ttp.Quote(metric)}, {Name: "matched_signature", Value: ttp.Quote(clip(signature, 128))}}
	}
	return s
}

// clip cuts s, which an attacker may have written, to at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// fingerprint is the parts of a raw fingerprint that signals are made of, and
// what the hit itself says. An absent part is empty.
type fingerprint struct {
	nav       ttp.Object
	userAgent string // as JavaScript sees it
	requested string // as the request had it
	platform  string
	zone      string // of its clock, "Europe/Paris"
	renderer  string // vendor and renderer of WebGL
	peers     []ttp.Value
	source    netip.Addr // not valid if unknown
	country   string     // ISO 3166, upper case
}

func parseFingerprint(p ttp.Object) *fingerprint {
	raw, _ := p.Object("_fp")
	nav, _ := raw.Object("nav")
	gl, _ := raw.Object("gl")
	rtc, _ := raw.Object("rtc")
	tz, _ := raw.Object("tz")
	peers, _ := rtc.List("ip")
	return &fingerprint{
		nav:       nav,
		userAgent: nav.Text("ua"),
		requested: p.Text("user_agent"),
		platform:  nav.Text("pl"),
		zone:      tz.Text("z"),
		renderer:  rendererOf(gl),
		peers:     peers[:min(len(peers), maxPeers)],
		source:    addrOf(p.Text("src_ip", "attacker_ip")),
		country:   strings.ToUpper(p.Text("country_code")),
	}
}

// rendererOf prefers the unmasked names; the masked ones are the same in every
// browser of a make.
func rendererOf(gl ttp.Object) string {
	return clip(gl.Text("uv", "v")+" "+gl.Text("ur", "r"), 1024)
}

// maxPeers is how many addresses of a WebRTC list are looked at; a browser has
// one per network interface.
const maxPeers = 64

func (f *fingerprint) webdriver() (shown, known bool) { return f.nav.Bool("wd") }

func (f *fingerprint) headless() (shown, known bool) {
	if f.userAgent == "" && f.requested == "" {
		return false, false
	}
	return headlessAgent(f.userAgent) || headlessAgent(f.requested), true
}

// webrtcLeak reports whether WebRTC shows a public address other than the one
// the hit came from: the browser is behind a proxy that carries only its HTTP.
// Private addresses are what everybody behind a router shows. Only addresses of
// the hit's own family are compared, as a host has both, and of IPv6 only the
// network: hosts change the rest.
func (f *fingerprint) webrtcLeak() (shown, known bool) {
	if !public(f.source) {
		return false, false
	}
	for _, peer := range f.peers {
		text, _ := peer.Text()
		addr := addrOf(text)
		if !public(addr) || addr.Is4() != f.source.Is4() {
			continue
		}
		known = true
		if !sameNetwork(addr, f.source) {
			return true, true
		}
	}
	return false, known
}

func sameNetwork(a, b netip.Addr) bool {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	network, err := a.Prefix(bits)
	return err == nil && network.Contains(b)
}

// addrOf returns the address that s is, with or without a port. Zones are cut.
func addrOf(s string) netip.Addr {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// carrierGrade is what providers number customers from who share an address.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether addr names one host on the internet.
func public(addr netip.Addr) bool {
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !carrierGrade.Contains(addr)
}

func (f *fingerprint) platformLie() (shown, known bool) {
	platform := platformSystems(f.platform)
	for _, agent := range []string{f.userAgent, f.requested} {
		claimed := agentSystem(agent)
		if platform == 0 || claimed == 0 {
			continue
		}
		known = true
		if platform&claimed == 0 {
			return true, true
		}
	}
	return false, known
}

func (f *fingerprint) rendererLie() (shown, known bool) {
	agent := f.userAgent
	if agent == "" {
		agent = f.requested
	}
	claimed, possible := agentSystem(agent), rendererSystems(f.renderer)
	if claimed == 0 || possible == 0 {
		return false, false
	}
	return claimed&possible == 0, true
}

func (f *fingerprint) zonesApart(at time.Time) (hours int64, known bool) {
	if at.IsZero() {
		return 0, false
	}
	return zonesApart(f.zone, f.country, at)
}

// foreignLanguage reports whether the browser has languages, none of which is
// English or spoken in the country its address is in.
func (f *fingerprint) foreignLanguage() (shown, known bool) {
	if len(f.country) != 2 {
		return false, false
	}
	tags, _ := f.nav.List("lgs")
	if main, ok := f.nav.Get("lg"); ok {
		tags = append(tags[:min(len(tags), maxPeers)], main)
	}
	for _, v := range tags {
		tag, _ := v.Text()
		home, ok := languageHome(tag)
		if !ok {
			continue
		}
		if home == "" || strings.Contains(home, f.country) {
			return false, true
		}
		known = true
	}
	return known, known
}
