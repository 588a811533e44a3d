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
	chunks  []ttp.CanaryTrigger
	spray   ttp.Spraying
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
			found[a] = ttp.Attacker{UUID: known, Address: a, IdentityUUID: "identity", Country: "FR"}
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
	return r.chunks, nil
}

func (r *rows) Spraying(context.Context, string) (ttp.Spraying, bool, error) {
	return r.spray, r.spray.Accounts > 0, nil
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
	if country := m.Events[1].Payload.Text("country_code"); country != "FR" {
		t.Errorf("a fingerprint is held against country %q, want that of the attacker's row", country)
	}
	m = take(t, db, false, "credential.reuse.detected", `{"id":"F","target_count":"3","attacker_ips":["198.51.100.7"]}`)
	if n, _ := m.Events[0].Payload.Int("reuse_count"); n != 3 || m.Events[0].Payload.Text("credential_hash") != "beef" {
		t.Errorf("a finding with a row: %+v", m.Events[0].Payload)
	}
}

func TestEnrich_completes_intelligence_from_the_row(t *testing.T) {
	db := &rows{intel: ttp.Object{
		{Name: "abuseipdb_score", Value: "90"}, {Name: "feodo_listed", Value: "true"}, {Name: "greynoise_name", Value: "null"},
	}}
	p := take(t, db, false, "attacker.intel.enriched", `{"attacker_uuid":"`+known+`","abuseipdb_score":null,"feodo_listed":false}`).Events[0].Payload
	if score, _ := p.Int("abuseipdb_score"); score != 90 {
		t.Errorf("score %d, want that of the row where the message has none", score)
	}
	if listed, _ := p.Bool("feodo_listed"); listed || p.Has("greynoise_name") {
		t.Errorf("the row displaced what the message says: %s", p.AppendJSON(nil))
	}
}

func TestEnrich_tells_how_many_accounts_an_identity_sprayed(t *testing.T) {
	db := &rows{spray: ttp.Spraying{SecretHash: "beef", Accounts: 4}}
	for _, subject := range []string{"identity.formed", "identity.merged"} {
		p := take(t, db, true, subject, `{"identity_uuid":"i","winner_uuid":"i"}`).Events[0].Payload
		if n, _ := p.Int("account_count"); n != 4 || p.Text("shared_password_hash") != "beef" {
			t.Errorf("%s: %s", subject, p.AppendJSON(nil))
		}
	}
}

// chunk is the hit that brought part i of a fingerprint of two.
func chunk(i, text string) ttp.CanaryTrigger {
	return ttp.CanaryTrigger{UUID: "hit" + i, TokenUUID: "t", Headers: ttp.Object{
		{Name: "_fp_sid", Value: `"s"`}, {Name: "_fp_total", Value: `"2"`}, {Name: "_fp_idx", Value: ttp.Quote(i)}, {Name: "_fp_chunk", Value: ttp.Quote(text)},
	}}
}

// {"nav":{"wd":true}} in base64, cut in two.
var parts = []ttp.CanaryTrigger{chunk("0", "eyJuYXYiOnsi"), chunk("1", "d2QiOnRydWV9fQ")}

func TestEnrich_joins_a_fingerprint_whichever_part_comes_last(t *testing.T) {
	for arrived, c := range map[string]struct {
		stored []ttp.CanaryTrigger
		hit    ttp.CanaryTrigger
		want   string // source_id of the fingerprint, "" for none
	}{
		"the last part, all others stored":        {parts, parts[1], "hit1"},
		"an earlier part, all others stored":      {parts, parts[0], "hit1"},
		"the last part, an earlier still missing": {parts[1:], parts[1], ""},
		"the first part alone":                    {parts[:1], parts[0], ""},
	} {
		db := &rows{trigger: &c.hit, chunks: c.stored}
		m := take(t, db, false, "canary.t.triggered", `{"token_id":"t","trigger_id":"`+c.hit.UUID+`","src_ip":"198.51.100.7"}`)
		got := ""
		if len(m.Events) == 2 {
			got = m.Events[1].SourceID
		}
		if got != c.want {
			t.Errorf("%s: fingerprint %q, want %q", arrived, got, c.want)
		}
	}
}

func TestDecode_counts_the_logins_of_a_session(t *testing.T) {
	login := func(password, result string) string {
		return `{"service":"ssh","username":"root","password":"` + password + `","result":"` + result + `"}`
	}
	guesses := login("a", "failed") + "," + login("b", "failed") + "," + login("c", "failed") + "," + login("d", "failed") + "," + login("e", "failed")
	m := take(t, &rows{}, false, "attacker.session.ended",
		`{"session_id":"S","attacker_ip":"198.51.100.7","auth_attempts":[`+guesses+","+login("f", "success")+`,{"service":"ftp","username":"x","fail_count":9}]}`)
	at := func(i int, member string) int64 { n, _ := m.Events[i].Payload.Int(member); return n }
	if at(1, "fail_count") != 0 || at(4, "fail_count") != 0 || at(5, "fail_count") != 5 {
		t.Errorf("the failures of a service stand with the last of them: %d %d %d", at(1, "fail_count"), at(4, "fail_count"), at(5, "fail_count"))
	}
	if at(5, "password_count") != 0 || at(6, "password_count") != 6 {
		t.Errorf("the passwords of a name stand with its last login: %d %d", at(5, "password_count"), at(6, "password_count"))
	}
	if prior, _ := m.Events[6].Payload.Bool("prior_brute"); !prior {
		t.Error("a success behind five failures is not said to be guessed")
	}
	if at(7, "fail_count") != 9 {
		t.Error("what the producer counted was replaced")
	}
	m = take(t, &rows{}, false, "attacker.session.ended", `{"session_id":"S","attacker_ip":"198.51.100.7","auth_attempts":[`+login("f", "success")+`]}`)
	if m.Events[1].Payload.Has("prior_brute") {
		t.Error("a first login is said to be guessed")
	}
}
