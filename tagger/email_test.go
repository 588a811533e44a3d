package tagger_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger"
	"ttp-worker/ttp"
)

const (
	mass    = "R0041 TA0040/T1496 0.85"
	spoofed = "R0045 TA0005/T1036 0.85"
	bulk    = "R0042 TA0001/T1566 0.85"
	lure    = "R0047 TA0001/T1566.003 0.85"
	note    = "R0033 TA0040/T1486 0.9"
)

var (
	kit     = []string{"R0043 TA0001/T1566 0.9", "R0043 TA0042/T1588.001 0.85"}
	idn     = []string{"R0044 TA0005/T1036.005 0.9", "R0044 TA0001/T1566.002 0.9"}
	trigger = []string{"R0046 TA0002/T1204.002 0.9", "R0046 TA0001/T1566.001 0.9"}
	encoded = []string{"R0048 TA0011/T1071.003 0.85", "R0048 TA0005/T1027 0.9"}
)

// published is a mail as the platform publishes it, its lists lost on the way,
// with members added; of two with a name the last counts.
func published(more string) string {
	return `{"source_id":"4ABC","attacker_uuid":"a1","decky_id":"omega-decky","service":"smtp","subject":"hello",` +
		`"from_domain":"example.net","mail_from_domain":"example.net","return_path_domain":"example.net","rcpt_count":1,` +
		`"rcpt_domains":["example.org"],"x_mailer":null,"dkim_signed":false,"spf_pass":false,"urls":[],"attachment_count":null,` +
		`"attachment_sha256s":[],"attachment_extensions":[],"body_simhash":"","body_base64_bytes":0,"attachment_macros":false,` +
		`"attachment_password_protected":false,"html_smuggling":false,"body_sha256":"ab",` +
		`"stored_as":"2026-05-02T10:11:12Z_0123456789ab_4ABC.eml"` + more + `}`
}

func TestEmail_tags_what_the_sensor_says(t *testing.T) {
	t.Parallel()
	mail := func(name, more string, want ...string) shape { return shape{name, ttp.Email, published(more), want} }
	checkShapes(t, []shape{
		mail("plain mail that nobody checked", ``),
		mail("mass mail of another sender", `,"rcpt_count":"10","mail_from_domain":"other.example"`,
			mass, "R0041 TA0042/T1586.002 0.85", spoofed),
		mail("nine recipients", `,"rcpt_count":9,"mail_from_domain":"other.example"`, spoofed),
		mail("addresses in place of domains", `,"from_domain":"A <a@Example.NET>","mail_from_domain":"b@example.net."`),
		mail("sender is a sub-domain", `,"rcpt_count":10,"return_path_domain":"bounce.example.net"`),
		mail("bulk with an empty digest", `,"rcpt_count":25,"body_simhash":""`),
		mail("bulk with a digest", `,"rcpt_count":25,"body_simhash":"a1b2c3d4e5f60718"`, bulk),
		mail("kit by its mailer", `,"x_mailer":"GoPhish"`, kit...),
		mail("kit by the sensor", `,"x_mailer":"x","matched_kit":"evil"`, kit...),
		mail("kit by a flag", `,"x_mailer":"x","xmailer_kit_match":1`, kit...),
		mail("flag without a mailer", `,"xmailer_kit_match":true`),
		mail("ordinary mailer", `,"x_mailer":"Mozilla Thunderbird"`),
		mail("link in another script", `,"urls":["https://example.net/","http://u:p@www.xn--80ak6aa92e.com:8080/x"]`, idn...),
		mail("links in a string", `,"urls":"[\"https://аpple.example/\"]"`, idn...),
		mail("the letters in a path", `,"urls":["https://example.net/xn--a?xn--b"]`),
		mail("one check failed", `,"dkim_signed":true,"spf_pass":false`, spoofed),
		mail("the other check failed", `,"dkim_signed":"0","spf_pass":"1"`, spoofed),
		mail("one check known and failed", `,"dkim_signed":null,"spf_pass":false`, spoofed),
		mail("macros", `,"attachment_macros":"true"`, trigger...),
		mail("known malware", `,"mal_hash_match":1`, trigger...),
		mail("extension without a dot", `,"attachment_extensions":["pdf","ISO"]`, trigger...),
		mail("harmless extension", `,"attachment_extensions":[".pdf",".txt"]`),
		mail("lure", `,"subject":"URGENT wire","body_text":"Please transfer it today"`, lure),
		mail("subject alone", `,"subject":"URGENT wire"`),
		mail("count of the sensor without a body", `,"body_base64_bytes":"4096"`, encoded...),
		mail("small count", `,"body_base64_bytes":4095`),
		mail("ransom note beside a lure", `,"subject":"invoice","body_text":"Send bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"`, lure, note),
	})
}

func TestEmail_counts_wrapped_base64_as_one_run(t *testing.T) {
	t.Parallel()
	load := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("payload ", 600)))
	var wrapped strings.Builder
	for chunk := load; chunk != ""; {
		n := min(76, len(chunk))
		wrapped.WriteString(chunk[:n] + "\r\n")
		chunk = chunk[n:]
	}
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"one line", "see: " + load + " bye", encoded},
		{"wrapped", "hello\r\n\r\n" + wrapped.String() + "\r\nbye\r\n", encoded},
		{"separate short runs", strings.Repeat(load[:76]+"\r\n\r\nand\r\n", 80), []string{}},
		{"prose", strings.Repeat("all work and no play\r\n", 1000), []string{}},
		{"one word a line", strings.Repeat("word\r\n", 2000), []string{}},
	} {
		quoted, err := json.Marshal(tt.body)
		if err != nil {
			t.Fatal(err)
		}
		got := said(tag(t, ttp.Email, published(`,"body_text":`+string(quoted))))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// store puts a mail where the sensor does.
func store(t *testing.T, mail string) (artifacts string) {
	t.Helper()
	artifacts = t.TempDir()
	dir := filepath.Join(artifacts, "omega-decky", "smtp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "2026-05-02T10:11:12Z_0123456789ab_4ABC.eml")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(mail, "\n", "\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return artifacts
}

const head = "From: Boss <boss@example.net>\nTo: x@example.org\nMIME-Version: 1.0\n"

// mixed is a mail with a text and one attachment.
func mixed(text, attachment string) string {
	return head + "Subject: hello\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n" + text +
		"\n--b\n" + attachment + "\n--b--\n"
}

func TestEmail_reads_the_stored_message_where_the_sensor_is_silent(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	page := "<html><script>var b=new Blob([atob(x)]);URL.createObjectURL(b)</script>"
	for _, tt := range []struct {
		name, mail, more string
		want             []string
	}{
		{"lure in plain text", head + "Subject: x\n\nplease send it", `,"subject":"invoice"`, []string{lure}},
		{"lure in base64", head + "Content-Transfer-Encoding: base64\n\n" + b64("please send it"), `,"subject":"invoice"`, []string{lure}},
		{"lure in quoted-printable", head + "Content-Transfer-Encoding: quoted-printable\n\nplease se=\nnd it", `,"subject":"invoice"`, []string{lure}},
		{
			"plain text before the page", mixedAlternative("nothing here", "<p>please send it</p>"), `,"subject":"invoice"`,
			[]string{},
		},
		{"page without a plain text", head + "Content-Type: text/html\n\n<p>update <b>bank</b>ing</p>", `,"subject":"invoice"`, []string{lure}},
		{"subject that was cut", head + "Subject: =?utf-8?q?Urgent_=5Bx=5D?=\n\nplease send it", `,"subject":null`, []string{lure}},
		{"body of bulk mail", head + "\nhello", `,"rcpt_count":30`, []string{bulk}},
		{"link in the text", head + "\nsee https://www.xn--80ak6aa92e.com/x now", ``, idn},
		{"link in a page", head + "Content-Type: text/html\n\n<a href=\"https://xn--80ak6aa92e.com/\">x</a>", ``, idn},
		{"image in a page", head + "Content-Type: text/html\n\n<img src=\"data:image/png;base64," + strings.Repeat("QUJD", 2000) + "\">", ``, []string{}},
		{"kit by its header", head + "X-Gophish-Contact: x\n\nhello", ``, kit},
		{"kit by its mailer", head + "X-Mailer: King Phisher\n\nhello", ``, kit},
		{"failed checks in the header", head + "Authentication-Results: mx; spf=pass; dkim=fail (bad signature)\n\nhello", ``, []string{spoofed}},
		{"nothing checked in the header", head + "Authentication-Results: mx; dkim=none; spf=none\n\nhello", ``, []string{}},
		{"sender that was cut", head + "Return-Path: <x@other.example>\n\nhello", `,"from_domain":null,"return_path_domain":null,"mail_from_domain":null`, []string{spoofed}},
		{"sender behind a false name", "From: \"ceo@example.net\" <x@other.example>\n\nhello", `,"from_domain":null`, []string{spoofed}},
		{"sender that does not parse", "From: =?x?= ceo@example.net, <x@other.example> (\n\nhello", `,"from_domain":null`, []string{spoofed}},
		{"body that builds a file", head + "Content-Type: text/html\n\n" + page, ``, trigger},
		{"attachment by its name", mixed("hi", "Content-Disposition: attachment; filename=\"a.pdf.lnk\"\n\nx"), ``, trigger},
		{"attachment by its encoded name", mixed("hi", "Content-Type: application/octet-stream; name=\"=?utf-8?q?a=2Eiso?=\"\n\nx"), ``, trigger},
		{
			"macros by content", mixed("hi", "Content-Disposition: attachment; filename=a.doc\nContent-Transfer-Encoding: base64\n\n"+b64("PK\x03\x04\x14\x00\x00\x00 word/vbaProject.bin")),
			``, trigger,
		},
		{
			"protected archive", mixed("hi", "Content-Disposition: attachment; filename=a.zip\nContent-Transfer-Encoding: base64\n\n"+b64("PK\x03\x04\x14\x00\x01\x00")),
			``, trigger,
		},
		{"open archive", mixed("hi", "Content-Disposition: attachment; filename=a.zip\nContent-Transfer-Encoding: base64\n\n"+b64("PK\x03\x04\x14\x00\x00\x00")), ``, []string{}},
		{"page that builds a file", mixed("hi", "Content-Disposition: attachment; filename=a.html\n\n"+page), ``, trigger},
		{"mail in a mail", mixed("hi", "Content-Type: message/rfc822\n\n"+mixed("hi", "Content-Disposition: attachment; filename=a.hta\n\nx")), ``, trigger},
		{"ransom note", head + "\nbitcoin: 1BoatSLRHtKNngkdXEeobR76b53LETtpyT", ``, []string{note}},
		{"inline body instead of the file", head + "\nplease send it", `,"subject":"invoice","body_text":"hello"`, []string{}},
		{"no mail at all", "\x00\xff", `,"subject":"invoice"`, []string{}},
		{"boundary that never ends", head + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n", ``, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := said(tagWith(t, program(t, store(t, tt.mail)), ttp.Email, published(tt.more)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func mixedAlternative(plain, page string) string {
	return head + "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n" + page +
		"\n--b\nContent-Type: text/plain\n\n" + plain + "\n--b--\n"
}

func TestEmail_has_no_body_without_a_file_that_follows_the_rules(t *testing.T) {
	t.Parallel()
	artifacts := store(t, head+"\nplease send it")
	outside := filepath.Join(t.TempDir(), "outside.eml")
	if err := os.WriteFile(outside, []byte("From: a@b\r\n\r\nplease send it"), 0o600); err != nil {
		t.Fatal(err)
	}
	smtp := filepath.Join(artifacts, "omega-decky", "smtp")
	if err := os.Symlink(outside, filepath.Join(smtp, "2026-05-02T10:11:12Z_0123456789ab_link.eml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(smtp, "2026-05-02T10:11:12Z_0123456789ab_pipe.eml"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := program(t, artifacts)
	for _, tt := range []struct{ name, decky, stored string }{
		{"missing", "omega-decky", "2026-05-02T10:11:12Z_0123456789ab_none.eml"},
		{"missing decky", "other-decky", "2026-05-02T10:11:12Z_0123456789ab_4ABC.eml"},
		{"traversal", "omega-decky", "../smtp/2026-05-02T10:11:12Z_0123456789ab_4ABC.eml"},
		{"traversal by decky", "../x", "2026-05-02T10:11:12Z_0123456789ab_4ABC.eml"},
		{"link that leads out", "omega-decky", "2026-05-02T10:11:12Z_0123456789ab_link.eml"},
		{"pipe", "omega-decky", "2026-05-02T10:11:12Z_0123456789ab_pipe.eml"},
		{"no name", "omega-decky", ""},
	} {
		ev := &ttp.Event{Kind: ttp.Email, DeckyID: tt.decky, Payload: object(t, fmt.Sprintf(`{"subject":"invoice","stored_as":%q}`, tt.stored))}
		findings, err := all.Tag(t.Context(), ev)
		if err != nil || len(findings) != 0 {
			t.Errorf("%s: %v, %v", tt.name, said(findings), err)
		}
	}
	if got := said(tagWith(t, all, ttp.Email, published(`,"subject":"invoice"`))); len(got) != 1 {
		t.Errorf("the file that is there yields %v", got)
	}
}

// Evidence of mail is read by people who must not see the mail.
func TestEmail_evidence_holds_no_address_and_no_text(t *testing.T) {
	t.Parallel()
	findings := tag(t, ttp.Email, published(`,"subject":"urgent CANARY","rcpt_count":40,"mail_from_domain":"CANARY@other.example",`+
		`"rcpt_domains":["CANARY@Example.org","example.org","b.example"],"x_mailer":"GoPhish CANARY","urls":["https://CANARY:p@xn--a.example/CANARY"],`+
		`"attachment_macros":true,"body_base64_bytes":9999,"body_text":"CANARY send bitcoin 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"`))
	want := map[string]string{
		"R0033": `"matched_headers":["body"],MORE,"matched_body_kw":"bitcoin"`,
		"R0041": `"matched_headers":["From","Mail-From"],MORE`,
		"R0042": `"matched_headers":[],MORE`,
		"R0043": `"matched_headers":["X-Mailer"],MORE,"matched_kit":"gophish"`,
		"R0044": `"matched_headers":["body"],MORE,"matched_url_host":"xn--a.example"`,
		"R0045": `"matched_headers":["From","Return-Path"],MORE,"matched_signals":["from_mail_from_mismatch"]`,
		"R0046": `"matched_headers":[],MORE,"matched_trigger":"office_macro"`,
		"R0047": `"matched_headers":["Subject"],MORE,"matched_subject_kw":"urgent","matched_body_kw":"send"`,
		"R0048": `"matched_headers":["body"],MORE,"encoded_byte_count":9999`,
	}
	got := map[string]string{}
	for _, f := range findings {
		text := string(f.Evidence.AppendJSON(nil))
		if strings.Contains(text, "CANARY") || strings.Contains(text, "Boat") || strings.Contains(text, "@") {
			t.Errorf("evidence of %s: %s", f.RuleID, text)
		}
		text = strings.TrimSuffix(strings.TrimPrefix(text, `{"body_sha256":"ab",`), "}")
		got[f.RuleID] = strings.Replace(text, `"rcpt_domain_set":["b.example","example.org"],"attachment_sha256s":[],"rcpt_count":40`, "MORE", 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEmail_evidence_keeps_to_its_list_whatever_a_rule_asks_for(t *testing.T) {
	t.Parallel()
	greedy := tagger.Email{Rules: tagger.Func(func(context.Context, *ttp.Event) ([]ttp.Finding, error) {
		return []ttp.Finding{{Claim: &ttp.Claim{RuleID: "X1"}, Evidence: ttp.Object{{Name: "subject", Value: `"s"`}, {Name: "rcpt_count", Value: "1"}}}}, nil
	})}
	if got := evidenceOf(tagWith(t, greedy, ttp.Email, `{}`), "X1"); got != `{"rcpt_count":1}` {
		t.Errorf("evidence %s", got)
	}
}

// A mail of the largest size that is read must not hold a lane up.
func BenchmarkEmail(b *testing.B) {
	body := strings.Repeat("All work and no play makes <b>Jack</b> a dull boy https://example.net/x\r\n", 8<<20/75)
	payload, err := json.Marshal(map[string]string{"subject": "invoice", "body_text": body})
	if err != nil {
		b.Fatal(err)
	}
	all := program(b, "")
	ev := &ttp.Event{Kind: ttp.Email, Payload: object(b, string(payload))}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := all.Tag(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
	}
}
