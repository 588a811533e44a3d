package tagger_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/decnet"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// decnetRule writes a rule file as DECNET has them.
func decnetRule(id, applies, kind, tactic, technique string) string {
	parent, _, dotted := strings.Cut(technique, ".")
	emit := fmt.Sprintf("{tactic: %s, technique_id: %s, confidence: 0.5}", tactic, parent)
	if dotted {
		emit = fmt.Sprintf("{tactic: %s, technique_id: %s, sub_technique_id: %s, confidence: 0.5}", tactic, parent, technique)
	}
	return fmt.Sprintf("rule_id: %s\nrule_version: 3\nname: n\napplies_to: [%s]\nmatch: {kind: 'lifter:%s'}\nemits: [%s]\nevidence_fields: [service, target_host]\n",
		id, applies, kind, emit)
}

// decnetRules loads a file for each rule that a lifter of DECNET decides on.
var decnetRules = sync.OnceValue(func() *rule.Set {
	files := fstest.MapFS{}
	for _, r := range [][5]string{
		{"R0001", "auth_attempt", "credential_a", "TA0006", "T1110"},
		{"R0004", "credential", "credential_c", "TA0006", "T1110.004"},
		{"R0005", "auth_attempt", "credential_d", "TA0001", "T1078"},
		{"R0006", "auth_attempt", "credential_b", "TA0001", "T1078.001"},
		{"R0032", "session", "behavioral_a", "TA0040", "T1485"},
		{"R0033", "session, email", "behavioral_b", "TA0040", "T1486"},
		{"R0034", "session", "behavioral_c", "TA0010", "T1567"},
		{"R0036", "session, http_request", "behavioral_d", "TA0006", "T1552.001"},
		{"R0037", "session, http_request", "behavioral_e", "TA0006", "T1552.007"},
		{"R0038", "session", "behavioral_f", "TA0004", "T1611"},
		{"R0040", "session", "behavioral_g", "TA0009", "T1602.002"},
		{"R0041", "email", "email_a", "TA0040", "T1496"},
		{"R0042", "email", "email_b", "TA0001", "T1566"},
		{"R0043", "email", "email_c", "TA0001", "T1566"},
		{"R0044", "email", "email_d", "TA0005", "T1036.005"},
		{"R0045", "email", "email_e", "TA0005", "T1036"},
		{"R0046", "email", "email_f", "TA0002", "T1204.002"},
		{"R0056", "intel", "intel_a", "TA0011", "T1071.001"},
		{"R0058", "intel", "intel_b", "TA0042", "T1588"},
	} {
		files[r[0]+".yaml"] = &fstest.MapFile{Data: []byte(decnetRule(r[0], r[1], r[2], r[3], r[4]))}
	}
	lifters := func() []*rule.File {
		read, problems := rule.ReadFiles(rule.Source{Name: "builtin", FS: builtin.FS}, rule.Source{Name: "decnet", FS: decnet.FS})
		for _, p := range problems {
			panic(p)
		}
		return read
	}
	set, problems := rule.Load(rule.Options{Lifters: lifters}, rule.Source{Name: "decnet", FS: files})
	for _, p := range problems {
		panic(p)
	}
	return set
})

// Rule files in DECNET's format say of an event what they say there, also where
// the built-in rules see more.
func TestRules_of_DECNETs_lifters_fire_as_they_do_there(t *testing.T) {
	t.Parallel()
	rules, err := tagger.NewComposite(tagger.Routes(decnetRules(), decnetRules().Kinds(), "")...)
	if err != nil {
		t.Fatal(err)
	}
	base := `"body_sha256":"","matched_headers":%s,"rcpt_domain_set":[],"attachment_sha256s":[]`
	mail := func(headers, more string) string { return "{" + fmt.Sprintf(base, headers) + more + "}" }
	for _, c := range []struct {
		rule    string
		kind    ttp.Kind
		payload string
		want    string // evidence; "" if the rule says nothing
	}{
		{"R0001", ttp.AuthAttempt, `{"fail_count":5,"service":"ssh","target_host":"a"}`, `{"fail_count":5,"service":"ssh","target_host":"a"}`},
		{"R0001", ttp.AuthAttempt, `{"fail_count":"5"}`, `{"fail_count":"5"}`},
		{"R0001", ttp.AuthAttempt, `{"fail_count":5.0}`, ""},
		{"R0004", ttp.Credential, `{"credential_hash":"h","reuse_count":true}`, `{"credential_hash":"h","reuse_count":true}`},
		{"R0004", ttp.Credential, `{"credential_hash":"h","reuse_count":1.0}`, ""},
		{"R0005", ttp.AuthAttempt, `{"result":"success","prior_brute":true,"username":"u"}`, `{"username":"u"}`},
		{"R0005", ttp.AuthAttempt, `{"result":"SUCCESS","prior_brute":true}`, ""},
		{"R0005", ttp.AuthAttempt, `{"result":"success","prior_brute":1}`, ""},
		{"R0006", ttp.AuthAttempt, `{"username":"root","password":"root"}`, `{"username":"root"}`},
		{"R0006", ttp.AuthAttempt, `{"username":"root","password":"","service":"ssh"}`, `{"username":"root","service":"ssh"}`},
		{"R0006", ttp.AuthAttempt, `{"username":"root","password":"xc3511"}`, ""},
		{"R0006", ttp.AuthAttempt, `{"username":"guest","password":"guest"}`, ""},
		{"R0006", ttp.AuthAttempt, `{"username":"Admin","password":"admin"}`, ""},
		{"R0032", ttp.Session, `{"op_text":"x; DROP  DATABASE shop","target":"db1"}`, `{"matched_op":"DROP  DATABASE","target":"db1"}`},
		{"R0032", ttp.Session, `{"op_text":"drop database shop"}`, ""},
		{"R0032", ttp.Session, `{"commands":[{"command_text":"FLUSHALL","service":"redis"}]}`, ""},
		{
			"R0033", ttp.Session, `{"note_text":"bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT","service":"mongodb"}`,
			`{"btc_address":"1BoatSLRHtKNngkdXEeobR76b53LETtpyT","matched_keywords":["bitcoin"],"service":"mongodb"}`,
		},
		{"R0033", ttp.Session, `{"commands":["bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"]}`, ""},
		{
			"R0033", ttp.Email, `{"body_sha256":"h","body_text":"bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"}`,
			`{"body_sha256":"h","matched_headers":["body"],"rcpt_domain_set":[],"attachment_sha256s":[],"matched_body_kw":"bitcoin"}`,
		},
		{"R0034", ttp.Session, `{"request_count":50,"target_host":"a"}`, `{"request_count":50,"target_host":"a"}`},
		{"R0036", ttp.HTTPRequest, `{"request_path":"/x/.env","namespace":"a"}`, `{"matched_path":"/x/.env"}`},
		{"R0036", ttp.HTTPRequest, `{"request_path":"/%2eenv"}`, ""},
		{"R0036", ttp.HTTPRequest, `{"raw_url":"/.env"}`, ""},
		{"R0036", ttp.Session, `{"path":"/.ENV"}`, ""},
		{"R0037", ttp.Session, `{"matched_path":"/api/v1/namespaces/a/secrets","namespace":"a"}`, `{"matched_path":"/api/v1/namespaces/a/secrets","namespace":"a"}`},
		{"R0037", ttp.Session, `{"path":"/api/v1/namespaces/%61/%73ecrets"}`, ""},
		{"R0038", ttp.Session, `{"signals":["bind:/etc","privileged:true"],"container_image":"alpine"}`, `{"matched_signal":"privileged:true","container_image":"alpine"}`},
		{"R0038", ttp.Session, `{"body":"{\"Privileged\": true}"}`, ""},
		{"R0040", ttp.Session, `{"tftp_filename":"x.cfg\n","source_host":"h"}`, `{"tftp_filename":"x.cfg\n","source_host":"h"}`},
		{"R0040", ttp.Session, `{"tftp_filename":"RUNNING-CONFIG"}`, ""},
		{"R0040", ttp.Session, `{"tftp_filename":"x.cfg\n\n"}`, ""},
		{"R0041", ttp.Email, `{"rcpt_count":10,"from_domain":"a.test","mail_from":"x@sub.a.test"}`, mail(`["From","Mail-From"]`, `,"rcpt_count":10`)},
		{"R0041", ttp.Email, `{"rcpt_count":10,"from_domain":"a.test","mail_from":"x@A.test "}`, ""},
		{"R0042", ttp.Email, `{"rcpt_count":25,"body_simhash":7}`, mail(`[]`, `,"rcpt_count":25`)},
		{"R0042", ttp.Email, `{"rcpt_count":25,"body_simhash":""}`, ""},
		{"R0042", ttp.Email, `{"rcpt_count":25,"body_text":"hello"}`, ""},
		{"R0043", ttp.Email, `{"x_mailer":"x","matched_kit":"evil"}`, mail(`["X-Mailer"]`, `,"matched_kit":"evil"`)},
		{"R0043", ttp.Email, `{"x_mailer":"x","xmailer_kit_match":true}`, mail(`["X-Mailer"]`, ``)},
		{"R0043", ttp.Email, `{"x_mailer":"gophish"}`, ""},
		{"R0043", ttp.Email, `{"matched_kit":"evil"}`, ""},
		{"R0044", ttp.Email, `{"urls":["https://a.test/","https://u:secret@B.test:8443/xn--c"]}`, mail(`["body"]`, `,"matched_url_host":"b.test:8443"`)},
		{"R0044", ttp.Email, `{"urls":["ftp://xn--c.test/"]}`, mail(`["body"]`, `,"matched_url_host":""`)},
		{"R0044", ttp.Email, `{"urls":["https://b.test/"]}`, ""},
		{
			"R0045", ttp.Email, `{"from_domain":"a.test","return_path_domain":"bounce.a.test"}`,
			mail(`["From","Return-Path"]`, `,"matched_signals":["from_return_path_mismatch"]`),
		},
		{"R0045", ttp.Email, `{"from_domain":"a.test","dkim_signed":false,"spf_pass":false}`, ""},
		{"R0046", ttp.Email, `{"attachment_extensions":[".docm",".ISO"]}`, mail(`[]`, `,"matched_trigger":"iso"`)},
		{"R0046", ttp.Email, `{"attachment_extensions":["exe"]}`, ""},
		{"R0046", ttp.Email, `{"html_smuggling":true,"attachment_extensions":["lnk"]}`, mail(`[]`, `,"matched_trigger":"html_smuggling"`)},
		{"R0056", ttp.Intel, `{"feodo_listed":true,"aggregate_verdict":"malicious"}`, `{"feodo_listed":true}`},
		{"R0058", ttp.Intel, `{"feodo_listed":true,"aggregate_verdict":"malicious"}`, ""},
	} {
		t.Run(c.rule+" "+c.payload, func(t *testing.T) {
			t.Parallel()
			var got string
			for _, f := range tagWith(t, rules, c.kind, c.payload) {
				if f.RuleVersion != 3 || f.Confidence != 0.5 || f.AttackRelease != "v15.1" {
					t.Errorf("what is reported is not the file's: %+v", f)
				}
				if f.RuleID == c.rule {
					got += string(f.Evidence.AppendJSON(nil))
				}
			}
			if got != c.want {
				t.Errorf("evidence %s, want %s", got, c.want)
			}
		})
	}
}
