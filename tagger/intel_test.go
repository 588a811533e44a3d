package tagger_test

import (
	"strings"
	"testing"

	"ttp-worker/ttp"
)

// enriched is an answer of all providers as the platform publishes it, with
// one part replaced.
func enriched(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`{"attacker_uuid":"a1","attacker_ip":"198.51.100.7","aggregate_verdict":null,` +
		`"providers":["greynoise","abuseipdb"],"abuseipdb_score":null,"abuseipdb_categories":[],"greynoise_classification":null,` +
		`"greynoise_name":null,"greynoise_tags":[],"feodo_listed":null,"feodo_malware_family":null,"threatfox_listed":null,` +
		`"threatfox_threat_types":[],"threatfox_ioc_types":[],"threatfox_malware_families":[]}`)
}

func TestIntel_turns_answers_into_techniques(t *testing.T) {
	t.Parallel()
	intel := func(name, payload string, want ...string) shape { return shape{name, ttp.Intel, payload, want} }
	abuse := func(score, categories string) string {
		return `{"abuseipdb_score":` + score + `,"abuseipdb_categories":` + categories + `}`
	}
	noise := func(classification, tags string) string {
		return `{"greynoise_classification":` + classification + `,"greynoise_tags":` + tags + `}`
	}
	fox := func(types string) string { return `{"threatfox_threat_types":` + types + `}` }
	checkShapes(t, []shape{
		intel("nothing known", enriched()),
		intel("Feodo as published", enriched(`"feodo_listed":null`, `"feodo_listed":true`, `"feodo_malware_family":null`, `"feodo_malware_family":"Emotet"`),
			"R0056 TA0011/T1071.001 0.85", "R0056 TA0042/T1588.001 0.85"),
		intel("bare malicious as published", enriched(`"greynoise_classification":null`, `"greynoise_classification":"malicious"`),
			"R0055 TA0011/T1071 0.35"),

		intel("score scales", abuse("50", "[18,22]"), "R0054 TA0006/T1110 0.35"),
		intel("score is clamped above", abuse("150", "[18]"), "R0054 TA0006/T1110 0.7"),
		intel("score is clamped below", abuse("-5", "[18]"), "R0054 TA0006/T1110 0"),
		intel("score and categories in strings", abuse(`"87"`, `"[\"14\"]"`), "R0054 TA0007/T1046 0.609", "R0054 TA0043/T1595 0.609"),
		intel("score that is no number", abuse(`"high"`, "[18]")),
		intel("categories that stand for nothing", abuse("100", "[4,10,12,1,99]")),
		intel("spam", abuse("79", "[11]"), "R0054 TA0040/T1496 0.474"),
		intel("sure spam is phishing", abuse("80", "[11]"), "R0054 TA0001/T1566 0.56", "R0054 TA0040/T1496 0.48"),
		intel("every category", abuse("100", "[5,7,9,13,14,15,16,17,19,20,21,23]"),
			"R0054 TA0006/T1110 0.7", "R0054 TA0001/T1190 0.7", "R0054 TA0001/T1566 0.7", "R0054 TA0007/T1046 0.7",
			"R0054 TA0001/T1078 0.6", "R0054 TA0011/T1090 0.6", "R0054 TA0043/T1595 0.7"),
		intel("categories of single reports", `{"abuseipdb_score":100,"abuseipdb_categories":[],"abuseipdb_raw":{"data":{"reports":[{"categories":[18,22]},{"categories":[18]}]}}}`,
			"R0054 TA0006/T1110 0.7"),
		intel("legacy name of the categories", `{"abuseipdb_score":100,"categories":[9]}`, "R0054 TA0011/T1090 0.6"),

		intel("scanner", noise(`"scanner"`, "[]"), "R0055 TA0043/T1595.002 0.7"),
		intel("scanner is a classification, not a tag", noise("null", `["scanner","malicious"]`)),
		intel("tags in a string", noise(`"malicious"`, `"[\"Tor Exit Node\",\"ssh_bruteforcer\"]"`),
			"R0055 TA0011/T1071 0.35", "R0055 TA0011/T1090 0.7", "R0055 TA0006/T1110 0.7"),
		intel("tag outdoes bare malicious", noise(`"malicious"`, `["cobalt_strike"]`), "R0055 TA0011/T1071 0.7", "R0055 TA0042/T1588 0.7"),
		intel("benign", noise(`"benign"`, "[]")),

		intel("listed as 1", `{"feodo_listed":1}`, "R0056 TA0011/T1071.001 0.85", "R0056 TA0042/T1588.001 0.85"),
		intel("not listed", `{"feodo_listed":false,"feodo_malware_family":"Emotet"}`),

		intel("botnet", fox(`["botnet_cc"]`), "R0057 TA0011/T1071 0.8", "R0057 TA0042/T1588.001 0.8"),
		intel("delivery in a string", fox(`"[\"payload_delivery\"]"`), "R0057 TA0042/T1588.001 0.8", "R0057 TA0011/T1105 0.75"),
		intel("payload", fox(`["payload"]`), "R0057 TA0042/T1588.001 0.8"),
		intel("skimming", fox(`["cc_skimming"]`), "R0057 TA0009/T1056 0.7"),
		intel("legacy threat type", `{"threat_type":"botnet_cc"}`, "R0057 TA0011/T1071 0.8", "R0057 TA0042/T1588.001 0.8"),
		intel("address types alone", `{"threatfox_listed":true,"threatfox_ioc_types":["ip:port"]}`),

		intel("malicious verdict makes surer", `{"feodo_listed":true,"aggregate_verdict":"malicious"}`,
			"R0056 TA0011/T1071.001 0.9", "R0056 TA0042/T1588.001 0.9"),
		intel("benign verdict makes less sure", noise(`"scanner","aggregate_verdict":"benign"`, "[]"), "R0055 TA0043/T1595.002 0.55"),
		intel("verdict does not go below nothing", abuse(`10,"aggregate_verdict":"benign"`, "[18]"), "R0054 TA0006/T1110 0"),
		intel("verdict does not revive what is nothing", abuse(`0,"aggregate_verdict":"malicious"`, "[18]"), "R0054 TA0006/T1110 0"),
		intel("other verdicts change nothing", `{"feodo_listed":true,"aggregate_verdict":"suspicious"}`,
			"R0056 TA0011/T1071.001 0.85", "R0056 TA0042/T1588.001 0.85"),
		intel("a verdict alone says nothing", `{"aggregate_verdict":"malicious"}`),
	})
}

func TestIntel_evidence_is_the_providers_answer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rule, payload, want string }{
		{
			"R0054", `{"abuseipdb_score":87.5,"abuseipdb_categories":[18,14,18,22]}`,
			`{"abuseipdb_categories":[18,18,22],"abuseipdb_score":87.5,"abuse_confidence_score":87}`,
		},
		{
			"R0055", `{"greynoise_classification":"malicious","greynoise_tags":["metasploit","vpn"],"greynoise_name":"x"}`,
			`{"greynoise_classification":"malicious","greynoise_tags":["metasploit"],"greynoise_name":"x"}`,
		},
		{
			"R0056", `{"feodo_listed":1,"feodo_malware_family":"Emotet"}`,
			`{"feodo_listed":true,"feodo_malware_family":"Emotet","malware_family":"Emotet"}`,
		},
		{
			"R0057", `{"threatfox_threat_types":["botnet_cc","payload"],"threatfox_ioc_types":[],"threatfox_malware_families":["win.cobalt_strike"]}`,
			`{"threatfox_threat_types":["botnet_cc","payload"],"threatfox_ioc_types":[],"threatfox_malware_families":["win.cobalt_strike"],` +
				`"threat_types":["botnet_cc"],"malware_families":["win.cobalt_strike"]}`,
		},
		{"R0056", `{"feodo_listed":true,"aggregate_verdict":"malicious"}`, `{"feodo_listed":true,"aggregate_verdict":"malicious"}`},
	} {
		if got := evidenceOf(tag(t, ttp.Intel, tt.payload), tt.rule); got != tt.want {
			t.Errorf("%s on %s:\ngot  %s\nwant %s", tt.rule, tt.payload, got, tt.want)
		}
	}
}

// A flood of tags must not become a flood of evidence.
func TestIntel_evidence_is_bounded(t *testing.T) {
	t.Parallel()
	families := `["` + strings.Repeat(strings.Repeat("x", 500)+`","`, 5000) + `x"]`
	findings := tag(t, ttp.Intel, `{"threatfox_threat_types":["payload"],"threatfox_malware_families":`+families+`}`)
	if got := evidenceOf(findings, "R0057"); len(got) > 8192 {
		t.Errorf("evidence has %d bytes", len(got))
	}
}
