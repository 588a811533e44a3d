package tagger

import (
	"context"
	"net/netip"
	"strings"

	"ttp-worker/ttp"
)

// Fingerprint lifts what probes of the attacker's host and his requests found
// (kinds jarm, hassh, http_fingerprint, ipv6_leak). It adds the members
//
//	matched_framework the C2 framework whose TLS server has that JARM hash
//	ja4h_client       the part of a JA4H fingerprint that tells the client
//	settings          true, of HTTP/2 or HTTP/3 settings
//	quic_client       true, of a JA4 fingerprint taken over QUIC
//	link_local        true, of an address in fe80::/10
//
// and asks Rules about the event. What rules for sessions say of a
// matched_framework goes for jarm and hassh, too.
type Fingerprint struct{ Rules Tagger }

// Tag implements [Tagger].
func (f Fingerprint) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	switch ev.Kind {
	case ttp.JARM, ttp.HASSH:
		return liftTwice(ctx, f.Rules, ev, frameworkSignals(ev.Payload))
	case ttp.IPv6Leak:
		return lift(ctx, f.Rules, ev, leakSignals(ev.Payload))
	}
	return lift(ctx, f.Rules, ev, clientSignals(ev.Payload))
}

// frameworks are the JARM hashes that the authors of JARM publish for command
// and control servers as they are delivered
// (https://github.com/salesforce/jarm, README). Others that use the same TLS
// library in the same way have the same hash. No such list is published for
// HASSH.
var frameworks = map[string]string{
	"07d14d16d21d21d07c42d41d00041d24a458a375eef0c576d23a7bab9a9fb1": "cobalt_strike",
	"07d14d16d21d21d00042d43d000000aa99ce74e2c6d013c745aa52b5cc042d": "metasploit",
	"29d21b20d29d29d21c41d21b21b41d494e0df9532e75299f15ba73156cee38": "merlin",
	"22b22b09b22b22b22b22b22b22b22b352842cd5d6b0278445702035e06875c": "trickbot",
	"1dd40d40d00040d1dc1dd40d1dd40d3df2d6a0c2caaa0dc59908f0d3602943": "asyncrat",
}

func frameworkSignals(p ttp.Object) []signal {
	jarm, hassh := p.Text("jarm_hash", "jarm"), p.Text("hassh_server", "hassh")
	framework := p.Text("matched_framework")
	if framework == "" {
		framework = frameworks[strings.ToLower(jarm)]
	}
	if framework == "" {
		return nil
	}
	s := textSignal("matched_framework", clip(framework, 128), nil)
	for _, hash := range []ttp.Member{{Name: "jarm", Value: ttp.Quote(clip(jarm, 128))}, {Name: "hassh", Value: ttp.Quote(clip(hassh, 128))}} {
		if hash.Value != `""` {
			s.evidence = append(s.evidence, hash)
		}
	}
	return []signal{s}
}

func clientSignals(p ttp.Object) []signal {
	var signals []signal
	if ja4h := p.Text("ja4h"); ja4h != "" {
		signals = append(signals, signal{"ja4h_client", ttp.Quote(ja4hClient(ja4h)), clientEvidence(p, "ja4h", ja4h)})
	}
	kind := p.Text("fingerprint_type")
	if kind == "http2_settings" || kind == "http3_settings" {
		signals = append(signals, signal{"settings", "true", clientEvidence(p, kind, p.Text("hash"))})
	}
	if quic := p.Text("ja4_quic"); quic != "" {
		signals = append(signals, signal{"quic_client", "true", clientEvidence(p, "ja4_quic", quic)})
	}
	return signals
}

// ja4hClient is the first part of a JA4H fingerprint: method, version, cookie
// and referer, number of headers and language. A cut one has no end mark.
func ja4hClient(ja4h string) string {
	client, _, marked := strings.Cut(ja4h, "_")
	if !marked {
		client = clip(client, 12)
	}
	return strings.ToLower(clip(client, 64))
}

func clientEvidence(p ttp.Object, kind, hash string) ttp.Object {
	return append(ttp.Object{
		{Name: "kind", Value: ttp.Quote(kind)},
		{Name: "hash", Value: ttp.Quote(clip(hash, 256))},
		{Name: "protocol", Value: ttp.Quote(clip(p.Text("protocol"), 32))},
		{Name: "client_ip", Value: ttp.Quote(clip(p.Text("client_ip", "attacker_ip", "src_ip"), 64))},
		{Name: "seen_at", Value: ttp.Quote(clip(p.Text("seen_at", "observed_at"), 64))},
	}, pick(p, "raw")...)
}

var linkLocal = netip.MustParsePrefix("fe80::/10")

func leakSignals(p ttp.Object) []signal {
	addr := p.Text("addr", "src_ip")
	if !linkLocal.Contains(addrOf(addr)) {
		return nil
	}
	evidence := ttp.Object{{Name: "addr", Value: ttp.Quote(clip(addr, 64))}}
	for _, m := range []struct{ name, value string }{
		{"mac_oui", p.Text("mac_oui")},
		{"iid_kind", orElse(p.Text("iid_kind"), "unknown")},
		{"vector", p.Text("vector")},
		{"on_iface", p.Text("on_iface")},
		{"attacker_v4", p.Text("attacker_v4", "attacker_ip")},
		{"observed_at", p.Text("observed_at")},
	} {
		evidence = append(evidence, ttp.Member{Name: m.name, Value: ttp.Quote(clip(m.value, 64))})
	}
	return []signal{{"link_local", "true", evidence}}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
