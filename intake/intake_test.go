package intake_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// rows is a database that knows one attacker.
type rows struct {
	intel   ttp.Object
	trigger *ttp.CanaryTrigger
	reuse   ttp.Object
	created []ttp.Attacker
}

const (
	knownIP = "198.51.100.7"
	known   = "a1a1a1a1-0000-4000-8000-000000000001"
)

func (r *rows) AttackersByAddress(_ context.Context, addresses []string) (map[string]ttp.Attacker, error) {
	found := map[string]ttp.Attacker{}
	for _, a := range addresses {
		if a == knownIP {
			found[a] = ttp.Attacker{UUID: known, Address: a, IdentityUUID: "identity"}
		}
	}
	return found, nil
}

func (r *rows) AttackersByUUID(_ context.Context, uuids []string) (map[string]ttp.Attacker, error) {
	found := map[string]ttp.Attacker{}
	for _, u := range uuids {
		if u == known {
			found[u] = ttp.Attacker{UUID: known, Address: knownIP, IdentityUUID: "identity"}
		}
	}
	return found, nil
}

func (r *rows) CreateAttackers(_ context.Context, list []ttp.Attacker) error {
	r.created = append(r.created, list...)
	return nil
}
func (r *rows) CreateIdentities(context.Context, []string) error { return nil }
func (r *rows) Intel(context.Context, string) (ttp.Object, bool, error) {
	return r.intel, r.intel != nil, nil
}

func (r *rows) CanaryTrigger(context.Context, string) (ttp.CanaryTrigger, bool, error) {
	if r.trigger == nil {
		return ttp.CanaryTrigger{}, false, nil
	}
	return *r.trigger, true, nil
}

func (r *rows) CanaryChunks(context.Context, string, string) ([]ttp.CanaryTrigger, error) {
	return nil, nil
}

func (r *rows) CanaryToken(context.Context, string) (ttp.Object, bool, error) {
	return nil, false, nil
}

func (r *rows) CredentialReuse(context.Context, string) (ttp.Object, bool, error) {
	return r.reuse, r.reuse != nil, nil
}

// take decodes, enriches and anchors one message.
func take(t *testing.T, db *rows, create bool, subject, payload string) *intake.Message {
	t.Helper()
	typ := ""
	if subject == "attacker.fingerprinted" {
		typ = "jarm"
	}
	m, err := intake.Decode(subject, `{"v":1,"type":"`+typ+`","ts":1764000000.5,"payload":`+payload+`}`)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	r := intake.NewResolver(db, create)
	if err := r.Enrich(t.Context(), []*intake.Message{m}); err != nil {
		t.Fatal(err)
	}
	if err := r.Anchor(t.Context(), m.Events); err != nil {
		t.Fatal(err)
	}
	return m
}

// content is the id of an event with a time, made as the contract says.
func content(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x1f")))
	return hex.EncodeToString(sum[:])[:32]
}

func TestDecode_kindsAndSourceIDs(t *testing.T) {
	type event struct{ kind, id string }
	for name, c := range map[string]struct {
		subject, payload string
		want             []event
	}{
		"a command with a time is known by what happened": {
			"attacker.command", `{"command_text":"ls","id":"x#1","attacker_ip":"198.51.100.7","decky_id":"d","ts":"2026-05-02T06:22:48.123+02:00"}`,
			[]event{{"command", content(known, "d", "2026-05-02T06:22:48", "ls")}},
		},
		"a command without a time is known by its id": {
			"attacker.command", `{"cmd":"ls","id":"x#1","attacker_uuid":"` + known + `"}`, []event{{"command", "x#1"}},
		},
		"a session as the collector sends it, attacker_uuid null": {
			"attacker.session.ended", `{"session_id":"S","attacker_uuid":null,"attacker_ip":"198.51.100.7","decky_id":"node","ended_at":"2026-05-02T06:23:30",
				"commands":[{"id":"S#0","command_text":"id","ts":"2026-05-02T06:22:48","decky":"SRV"},"w","",{"command_text":""}],
				"auth_attempts":[{"service":"ssh","username":"root","result":"failed","ts":"2026-05-02T06:22:40"}],"http_requests":"[]"}`,
			[]event{
				{"session", "S"},
				{"command", content(known, "SRV", "2026-05-02T06:22:48", "id")},
				{"command", "S#cmd1"},
				{"auth_attempt", content(known, "node", "2026-05-02T06:22:40", "ssh root failed")},
			},
		},
		"a session without an id": {
			"attacker.session.ended", `{"session_id":null,"attacker_ip":"198.51.100.7","commands":["id"]}`, []event{{"session", known}, {"command", known + "#cmd0"}},
		},
		"a canary is known by its trigger": {
			"canary.tok1.triggered", `{"token_id":"tok1","trigger_id":"trig9","src_ip":"198.51.100.7","decky_name":"d"}`, []event{{"canary", "trig9"}},
		},
		"credential reuse, lists in strings": {
			"credential.reuse.detected", `{"id":"F","target_count":3,"attacker_uuids":"[\"` + known + `\"]","attacker_ips":"[\"198.51.100.7\"]"}`, []event{{"credential", "F:" + known}},
		},
		"a fingerprint": {
			"attacker.fingerprinted", `{"attacker_ip":"198.51.100.7","port":443,"jarm_hash":"abc"}`, []event{{"jarm", known + ":jarm:abc:443"}},
		},
		"intel": {"attacker.intel.enriched", `{"attacker_uuid":"` + known + `"}`, []event{{"intel", known}}},
		"mail":  {"email.received", `{"source_id":"M","attacker_uuid":"` + known + `"}`, []event{{"email", "M"}}},
		"a request": {
			"attacker.http", `{"attacker_ip":"198.51.100.7","method":"GET","raw_url":"/x","ts":1764000000}`,
			[]event{{"http_request", content(known, "", "2025-11-24T16:00:00", "GET /x")}},
		},
		"housekeeping": {"canary.tok1.placed", `{"token_id":"tok1"}`, nil},
	} {
		m := take(t, &rows{}, false, c.subject, c.payload)
		if len(m.Events) != len(c.want) {
			t.Errorf("%s: %d events, want %d", name, len(m.Events), len(c.want))
			continue
		}
		for i, e := range m.Events {
			if string(e.Kind) != c.want[i].kind || e.SourceID != c.want[i].id {
				t.Errorf("%s: event %d is %s %s, want %s", name, i, e.Kind, e.SourceID, c.want[i])
			}
			if e.AttackerUUID != known || e.IdentityUUID != "identity" {
				t.Errorf("%s: event %d anchored on %q, %q", name, i, e.AttackerUUID, e.IdentityUUID)
			}
		}
	}
}

func TestDecode_refusesWhatItCannotRead(t *testing.T) {
	for _, c := range [][2]string{
		{"attacker.command", "no"},
		{"attacker.command", `{"payload":{}}`},
		{"attacker.command", `{"v":2,"payload":{"command_text":"ls"}}`},
		{"attacker.command", `{"payload":[]}`},
		{"attacker.session.ended", `{"payload":{"commands":7}}`},
		{"attacker.fingerprinted", `{"payload":{}}`},
		{"something.else", `{"payload":{}}`},
		{"canary..triggered", `{"payload":{}}`},
		{"attacker.command", `{"payload":{"command_text":"` + strings.Repeat("x", intake.MaxMessage) + `"}}`},
	} {
		if _, err := intake.Decode(c[0], c[1]); !ttp.IsPermanent(err) {
			t.Errorf("%s %.40s: %v, want a permanent error", c[0], c[1], err)
		}
	}
}

func TestAnchor(t *testing.T) {
	command := func(ip string) string { return `{"command_text":"ls","attacker_ip":"` + ip + `"}` }
	if e := take(t, &rows{}, false, "attacker.command", command("203.0.113.9")).Events[0]; !e.Unknown || e.Anchored() {
		t.Errorf("an attacker without a row: %+v", e)
	}
	for _, ip := range []string{"", "-", "Unknown", "evil.example"} {
		if e := take(t, &rows{}, true, "attacker.command", command(ip)).Events[0]; e.Unknown || e.Anchored() {
			t.Errorf("address %q: %+v", ip, e)
		}
	}
	db := &rows{}
	e := take(t, db, true, "attacker.command", command("203.0.113.9")).Events[0]
	if !e.Anchored() || e.AttackerUUID != ttp.AttackerUUID("203.0.113.9") || len(db.created) != 1 || db.created[0].Address != "203.0.113.9" {
		t.Errorf("create: %+v, made %+v", e, db.created)
	}
}

func TestEnrich(t *testing.T) {
	db := &rows{
		intel:   ttp.Object{{Name: "feodo_listed", Value: "true"}},
		trigger: &ttp.CanaryTrigger{Headers: ttp.Object{{Name: "_fp", Value: `{"nav":{"wd":true}}`}}},
		reuse:   ttp.Object{{Name: "secret_sha256", Value: `"beef"`}},
	}
	m := take(t, db, false, "attacker.session.ended", `{"session_id":"S","attacker_ip":"198.51.100.7","commands":[]}`)
	if len(m.Events) != 2 || m.Events[1].Kind != ttp.Intel || m.Events[1].SourceID != known || m.Events[1].SessionID != "S" {
		t.Errorf("a session of somebody known: %+v", m.Events)
	}
	m = take(t, db, false, "canary.t.triggered", `{"token_id":"t","trigger_id":"T","src_ip":"198.51.100.7"}`)
	if len(m.Events) != 2 || m.Events[1].Kind != ttp.CanaryFingerprint || m.Events[1].SourceID != "T" || !m.Events[1].Payload.Has("_fp") {
		t.Errorf("a hit with a stored fingerprint: %+v", m.Events)
	}
	m = take(t, db, false, "credential.reuse.detected", `{"id":"F","target_count":"3","attacker_ips":["198.51.100.7"]}`)
	if n, _ := m.Events[0].Payload.Int("reuse_count"); n != 3 || m.Events[0].Payload.Text("credential_hash") != "beef" {
		t.Errorf("a finding with a row: %+v", m.Events[0].Payload)
	}
}
