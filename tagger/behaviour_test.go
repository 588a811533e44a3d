package tagger_test

import (
	"testing"

	"ttp-worker/ttp"
)

func TestBehaviour_tags_sessions_and_requests(t *testing.T) {
	t.Parallel()
	session := func(name, payload string, want ...string) shape { return shape{name, ttp.Session, payload, want} }
	request := func(name, payload string, want ...string) shape { return shape{name, ttp.HTTPRequest, payload, want} }
	const (
		wiped  = "R0032 TA0040/T1485 0.95"
		ransom = "R0033 TA0040/T1486 0.9"
		secret = "R0036 TA0006/T1552.001 0.9"
		kube   = "R0037 TA0006/T1552.007 0.95"
		escape = "R0038 TA0004/T1611 0.95"
	)
	checkShapes(t, []shape{
		session("as the platform ends one", `{"session_id":"s1","attacker_uuid":null,"attacker_ip":"198.51.100.7","decky_id":"omega-decky","service":"ssh","ended_at":"2026-05-02T06:23:30","duration_s":528.1,"commands":[],"shard_path":null}`),
		session("as the platform sees one first", `{"attacker_ip":"198.51.100.7","decky":"omega-decky","service":"ssh","event_type":"connect","first_seen":"2026-05-02T06:22:48+00:00"}`),
		session("beacon", `{"beacon_interval_s":60,"beacon_jitter_pct":"0.1"}`, "R0031 TA0011/T1071 0.8", "R0031 TA0010/T1029 0.85"),
		session("uneven calls", `{"beacon_interval_s":60,"beacon_jitter_pct":0.5}`),
		session("Redis wiped", `{"op_text":"*1 FLUSHALL","service":"redis"}`, wiped),
		session("MongoDB wiped", `{"op_text":"db.dropDatabase()"}`, wiped),
		session("Elasticsearch wiped", `{"command_text":"DELETE /_all HTTP/1.1"}`, wiped),
		session("SQL wiped in small letters", `{"op_text":"drop  database shop;"}`, wiped),
		session("SQL read", `{"op_text":"SELECT * FROM drops"}`),
		session("ransom note", `{"note_text":"Send 0.1 BTC to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT to get it back"}`, ransom),
		session("ransom in Monero", `{"body_text":"monero 44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"}`, ransom),
		session("address without a word", `{"body_text":"1BoatSLRHtKNngkdXEeobR76b53LETtpyT"}`),
		session("word without an address", `{"body_text":"ransom!"}`),
		session("much sent", `{"bytes_out":1048576}`, "R0034 TA0010/T1567 0.85"),
		session("much read", `{"rows_read":"10000"}`, "R0035 TA0009/T1213 0.85"),
		session("path of credentials", `{"matched_path":"/.aws/credentials"}`, secret),
		session("container with the host", `{"signals":"[\"x\",\"bind:/etc\",\"privileged:true\"]"}`, escape),
		session("container with a volume", `{"signals":["bind:/etcetera"]}`),
		session("poisoned names", `{"llmnr_poison_count":2}`, "R0039 TA0009/T1557.001 0.9"),
		session("router configuration", `{"tftp_filename":"r1-confg"}`, "R0040 TA0009/T1602.002 0.9"),
		session("Redis wiped by a verb of the session", `{"commands":[{"command_text":"INFO","service":"redis"},{"command_text":"FLUSHALL","service":"redis"}]}`, wiped),
		session("words for wiping in a shell", `{"commands":["grep -ri flushall .",{"command_text":"man drop database","service":"bash"}]}`),
		session("note left in a table", `{"commands":[{"command_text":"INSERT INTO warning VALUES ('send BTC to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT')","service":"mysql"}]}`, ransom),

		request("container asked of the engine", `{"raw_url":"/v1.41/containers/create","method":"POST","body":"{\"Image\":\"alpine\",\"HostConfig\":{\"Binds\":[\"/:/mnt\"]}}"}`, escape),
		request("container with a volume", `{"raw_url":"/v1.41/containers/create","body":"{\"HostConfig\":{\"Binds\":[\"/srv:/mnt\"],\"Privileged\":false}}"}`),
		request("credentials by path", `{"raw_url":"/a","request_path":"/.env","method":"GET"}`, secret),
		request("credentials by URL, encoded", `{"raw_url":"/static/%2e%65%6e%76"}`, secret),
		request("secrets of a cluster", `{"raw_url":"/api/v1/namespaces/kube-system/secrets?limit=5"}`, kube),
		request("plain page", `{"raw_url":"/index.html","request_path":"/index.html","user_agent":"Mozilla/5.0"}`),
		request("figures of a session", `{"raw_url":"/index.html","bytes_out":99999999}`),
	})
}

func TestBehaviour_evidence_is_what_was_seen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule    string
		kind    ttp.Kind
		payload string
		want    string
	}{
		{"R0032", ttp.Session, `{"op_text":"x; drop database shop","target":"shop"}`, `{"matched_op":"drop database","target":"shop"}`},
		{
			"R0033", ttp.Session, `{"body_text":"bitcoin ransom bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"}`,
			`{"btc_address":"bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq","matched_keywords":["bitcoin","ransom"]}`,
		},
		{"R0036", ttp.HTTPRequest, `{"request_path":"/%2eenv"}`, `{"matched_path":"/.env"}`},
		{
			"R0037", ttp.Session, `{"matched_path":"/api/v1/namespaces/a/secrets","namespace":"a"}`,
			`{"matched_path":"/api/v1/namespaces/a/secrets","namespace":"a"}`,
		},
		{"R0038", ttp.Session, `{"signals":["bind:/:/"],"container_image":"alpine"}`, `{"matched_signal":"bind:/:/","container_image":"alpine"}`},
		{
			"R0038", ttp.HTTPRequest, `{"raw_url":"/containers/create","body":"{\"Image\":\"alpine:3\",\"HostConfig\":{\"Privileged\": true}}"}`,
			`{"matched_signal":"privileged:true","container_image":"alpine:3"}`,
		},
	} {
		if got := evidenceOf(tag(t, tt.kind, tt.payload), tt.rule); got != tt.want {
			t.Errorf("%s on %s:\ngot  %s\nwant %s", tt.rule, tt.payload, got, tt.want)
		}
	}
}

func TestRules_tag_logins_credentials_and_identities(t *testing.T) {
	t.Parallel()
	login := func(name, payload string, want ...string) shape { return shape{name, ttp.AuthAttempt, payload, want} }
	const factory = "R0006 TA0001/T1078.001 0.9"
	checkShapes(t, []shape{
		login("guessing", `{"username":"bob","fail_count":"5","service":"ssh"}`, "R0001 TA0006/T1110 0.85"),
		login("many passwords", `{"username":"bob","password_count":5}`, "R0002 TA0006/T1110.001 0.85"),
		login("in after guessing", `{"username":"bob","result":"success","prior_brute":true}`, "R0005 TA0001/T1078 0.7"),
		login("factory default", `{"username":"root","password":"root"}`, factory),
		login("no password", `{"username":"root","password":""}`, factory),
		login("password not known", `{"username":"root"}`),
		login("own password", `{"username":"bob","password":"bob"}`),
		{
			"reuse as intake completes it", ttp.Credential, `{"id":"c1","secret_kind":"plaintext","target_count":3,"attacker_uuids":"[\"a1\"]","credential_hash":"9f86","reuse_count":3}`,
			[]string{"R0004 TA0006/T1110.004 0.9"},
		},
		{"spraying", ttp.Identity, `{"identity_uuid":"i1","shared_password_hash":"9f86","account_count":3}`, []string{"R0003 TA0006/T1110.003 0.9"}},
		{"identity as published", ttp.Identity, `{"identity_uuid":"i1","observation_uuids":["a1","a2"]}`, nil},
	})
	for _, f := range tag(t, ttp.AuthAttempt, `{"username":"root","password":"root","service":"ssh","fail_count":9}`) {
		if f.Evidence.Has("password") {
			t.Errorf("evidence of %s holds the password", f.RuleID)
		}
	}
}

func TestFingerprint_tags_what_probes_publish(t *testing.T) {
	t.Parallel()
	leak := func(name, payload string, want ...string) shape { return shape{name, ttp.IPv6Leak, payload, want} }
	client := func(name, payload string, want ...string) shape {
		return shape{name, ttp.HTTPFingerprint, payload, want}
	}
	const leaked, scripted = "R0059 TA0011/T1090 0.85", "HFP-0001 TA0043/T1595 0.5"
	framework := []string{"R0030 TA0011/T1071 0.7", "R0030 TA0011/T1071.001 0.7"}
	checkShapes(t, []shape{
		{"JARM of a framework", ttp.JARM, `{"attacker_ip":"198.51.100.7","port":443,"jarm_hash":"07d14d16d21d21d00042d43d000000aa99ce74e2c6d013c745aa52b5cc042d"}`, framework},
		{"JARM of something else", ttp.JARM, `{"attacker_ip":"198.51.100.7","port":443,"jarm_hash":"00000000000000000000000000000000000000000000000000000000000000"}`, nil},
		{"HASSH that the sensor knows", ttp.HASSH, `{"port":22,"hassh_server":"b12d2871a1189eff20364cf5333619ee","matched_framework":"sliver"}`, framework},
		{"HASSH as published", ttp.HASSH, `{"port":22,"hassh_server":"b12d2871a1189eff20364cf5333619ee","ssh_banner":"SSH-2.0-x"}`, nil},
		leak("link-local as published", `{"attacker_ip":"198.51.100.7","addr":"fe80::1","iid_kind":"eui64","mac_oui":"aa:bb:cc","vector":"active_echo","on_iface":"eth0","observed_at":"2026-05-02T06:22:48+00:00"}`, leaked),
		leak("the rest of fe80::/10", `{"addr":"FEBF::1"}`, leaked),
		leak("with a zone", `{"addr":"fe90::1%eth0"}`, leaked),
		leak("in the old member", `{"src_ip":"fe80::2"}`, leaked),
		leak("beyond fe80::/10", `{"addr":"fec0::1"}`),
		leak("IPv4", `{"addr":"198.51.100.7"}`),
		leak("no address", `{"addr":"fe80"}`),
		client("curl", `{"ja4h":"ge11nn020000_a1b2c3d4e5f6_000000000000_000000000000"}`, scripted),
		client("cut short", `{"ja4h":"GE20nn0000"}`, scripted),
		client("browser", `{"ja4h":"ge20cr14enus_a1b2c3d4e5f6_000000000000_000000000000"}`),
		client("HTTP/2 settings", `{"fingerprint_type":"http2_settings","hash":"x"}`, "HFP-0002 TA0011/T1071.001 0.3"),
		client("QUIC", `{"ja4_quic":"q13d0310h3"}`, "HFP-0003 TA0011/T1071.001 0.35"),
	})
	want := `{"addr":"fe80::1","mac_oui":"","iid_kind":"unknown","vector":"","on_iface":"","attacker_v4":"198.51.100.7","observed_at":""}`
	if got := evidenceOf(tag(t, ttp.IPv6Leak, `{"addr":"fe80::1","attacker_ip":"198.51.100.7"}`), "R0059"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `{"kind":"http2_settings","hash":"h","protocol":"h2","client_ip":"198.51.100.7","seen_at":"","raw":"1:2"}`
	if got := evidenceOf(tag(t, ttp.HTTPFingerprint, `{"fingerprint_type":"http2_settings","hash":"h","protocol":"h2","attacker_ip":"198.51.100.7","raw":"1:2"}`), "HFP-0002"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
