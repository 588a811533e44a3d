package intake

import (
	"errors"

	"ttp-worker/ttp"
)

// hashMembers name, for each kind of fingerprint, the member that holds it.
// The order settles what an event without a type is.
var hashMembers = []struct {
	kind   ttp.Kind
	member string
}{
	{ttp.JARM, "jarm_hash"},
	{ttp.HASSH, "hassh_server"},
	{"tcpfp", "tcpfp_hash"},
	{"tls_certificate", "cert_sha256"},
	{"icmp_error", "icmp_fp_hash"},
	{"icmp6_error", "icmp6_fp_hash"},
	{ttp.IPv6Leak, "addr"},
	{ttp.HTTPFingerprint, "ja4h"},
	{ttp.HTTPFingerprint, "ja4_quic"},
	{ttp.HTTPFingerprint, "hash"},
}

// fingerprinted makes an event whose kind is the probe that took the
// fingerprint. An attacker has one source_id per fingerprint and port.
func (d *decoder) fingerprinted() error {
	p := d.payload
	kind, hash := ttp.Kind(d.env.Type), ""
	if kind == "" || kind == "fingerprinted" {
		kind = ttp.Kind(p.ID("kind"))
	}
	for _, m := range hashMembers {
		if h := p.ID(m.member); h != "" && (kind == "" || kind == m.kind) {
			kind, hash = m.kind, h
			break
		}
	}
	if hash == "" {
		hash = p.ID("hash", "addr", "fingerprint")
	}
	if kind == "" {
		return errors.New("neither the type nor the payload says what kind of fingerprint this is")
	}
	tail := ":" + string(kind) + ":" + hash
	if port := p.ID("port"); port != "" {
		tail += ":" + port
	}
	d.head(kind).sourceID = func(e *Event) string { return e.attacker() + tail }
	return nil
}

// credentialReuse makes one event for each attacker that reused the secret. A
// payload that names a single anchor itself is one event.
func (d *decoder) credentialReuse() error {
	p := d.payload
	uuids, err := d.texts("attacker_uuids")
	if err != nil {
		return err
	}
	addresses, err := d.texts("attacker_ips")
	if err != nil {
		return err
	}
	id := p.ID("id", "credential_id")
	d.reuseID = id
	if len(uuids) == 0 && len(addresses) == 0 {
		e := d.whole(ttp.Credential)
		e.Payload = reusePayload(p, id)
		if p.ID("id") != "" { // a finding of one attacker
			e.sourceID = reuseID(id)
		}
		return nil
	}
	if len(uuids)+len(addresses) > maxEntries {
		return errors.New("too many attackers in one finding")
	}
	if len(uuids) > 0 {
		addresses = nil // they name the same attackers
	}
	for _, uuid := range uuids {
		e := d.reuseOf(id)
		e.AttackerUUID, e.Address = uuid, ""
	}
	for _, a := range addresses {
		e := d.reuseOf(id)
		e.AttackerUUID, e.Address = "", address(a)
	}
	return nil
}

// reuseOf makes the event of one attacker of a finding.
func (d *decoder) reuseOf(id string) *Event {
	e := d.head(ttp.Credential)
	e.Payload = reusePayload(d.payload, id)
	e.sourceID = reuseID(id)
	return e
}

func reuseID(finding string) func(*Event) string {
	return func(e *Event) string { return finding + ":" + e.attacker() }
}

// reusePayload adds what rules read. The hash of the secret is not in the
// message; until Enrich has read the row, the finding's id stands for it.
func reusePayload(p ttp.Object, id string) ttp.Object {
	if p.Text("credential_hash") == "" && id != "" {
		p = p.Set("credential_hash", ttp.Quote(id))
	}
	if _, ok := p.Int("reuse_count"); !ok {
		if n, ok := p.Int("target_count"); ok {
			p = p.Set("reuse_count", ttp.Number(n))
		}
	}
	return p
}

// texts returns the names in a list, which may be absent.
func (d *decoder) texts(member string) ([]string, error) {
	if !d.payload.Has(member) || d.payload.Text(member) == "" && isText(d.payload, member) {
		return nil, nil
	}
	list, ok := d.payload.List(member)
	if !ok {
		return nil, errors.New(member + " is not a list")
	}
	names := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.Text()
		if !ok {
			d.Malformed++
			continue
		}
		if s != "" && s != "-" {
			names = append(names, s)
		}
	}
	return names, nil
}

func isText(p ttp.Object, member string) bool {
	v, _ := p.Get(member)
	return v.IsText()
}

// fingerprintMembers are what a canary's fingerprint is recognised by: the raw
// one, or signals that the sensor worked out itself.
var fingerprintMembers = []string{
	"_fp", "navigator_webdriver", "canvas_audio_hash_match", "matched_tool", "webrtc_geo_mismatch",
	"tz_mismatch_zones", "lang_country_mismatch", "platform_ua_inconsistent", "ua_webgl_mismatch",
}

// canaryTriggered makes the event of the hit, and one of the browser's
// fingerprint if that is in the message; else Enrich looks for it.
func (d *decoder) canaryTriggered() error {
	p := d.payload
	hit := d.head(ttp.Canary)
	hit.sourceID = d.triggerSourceID(hit)
	d.triggerID, d.tokenID, d.wantCountry = p.ID("trigger_id"), p.ID("token_id"), true
	for _, name := range fingerprintMembers {
		if p.Has(name) {
			d.addFingerprint(p)
			return nil
		}
	}
	return nil
}

// triggerSourceID names a hit by its trigger, never by its token, which is the
// same for all hits. A producer that numbers no triggers is known by content.
func (d *decoder) triggerSourceID(hit *Event) func(*Event) string {
	if id := d.payload.ID("trigger_id", "source_id", "uuid"); id != "" {
		return fixedID(id)
	}
	p, decky := d.payload, hit.DeckyID
	second := hit.At.Format(secondLayout)
	text := p.ID("token_id") + " " + p.Text("request_path", "dns_qname") + " " + p.Text("user_agent")
	return func(e *Event) string { return ContentID(e.attacker(), decky, second, text) }
}

// addFingerprint appends the event of the browser's fingerprint to a hit.
func (m *Message) addFingerprint(payload ttp.Object) {
	hit := m.Events[0]
	fp := &Event{Event: hit.Event, Address: hit.Address, sourceID: hit.sourceID}
	fp.Kind, fp.Payload = ttp.CanaryFingerprint, payload
	m.Events = append(m.Events, fp)
	m.triggerID = ""
}
