package rule

import (
	"maps"
	"slices"

	"ttp-worker/ttp"
)

// everywhere are payload members that any event may have.
var everywhere = []string{
	"id", "uuid", "source_id", "attacker_uuid", "identity_uuid", "attacker_ip", "src_ip", "src", "session_id", "decky_id", "decky", "decky_name",
	"service", "ts", "timestamp", "type", "country_code",
}

// sent are the payload members that known producers send or the intake adds,
// by kind.
var sent = map[ttp.Kind][]string{
	ttp.Command: {"command_text", "text", "command", "cmd", "command_id", "uid", "user", "pwd", "line", "User", "CurrentDirectory"},
	ttp.Session: {
		"commands", "auth_attempts", "http_requests", "ended_at", "duration_s", "bruteforce", "success", "command_count", "auth_count",
		"fail_count", "services", "deckies", "event_count", "password_count", "prior_brute",
	},
	ttp.AuthAttempt: {"username", "password", "result", "fail_count", "password_count", "prior_brute", "account_count", "shared_password_hash"},
	ttp.HTTPRequest: {"raw_url", "url", "request_path", "path", "method", "user_agent", "headers", "body", "status", "status_code", "referer", "host", "cookie", "header"},
	ttp.Intel: {
		"verdict", "aggregate_verdict", "providers", "abuseipdb_score", "abuseipdb_categories", "abuseipdb_raw", "abuseipdb_techniques",
		"greynoise_classification", "greynoise_name", "greynoise_tags", "greynoise_techniques", "feodo_listed", "feodo_malware_family",
		"feodo_techniques", "threatfox_listed", "threatfox_threat_types", "threatfox_ioc_types", "threatfox_malware_families", "threatfox_techniques",
	},
	ttp.Email: {
		"subject", "from_domain", "mail_from_domain", "return_path_domain", "rcpt_count", "rcpt_domains", "x_mailer", "user_agent", "body_simhash",
		"body_length", "urls", "url_domains", "attachments", "attachment_sha256s", "dkim_signed", "spf_pass", "stored_as", "message_id", "received_count",
		"attachment_count", "attachment_extensions", "attachment_magics",
	},
	ttp.Canary:            {"token_id", "trigger_id", "token_type", "placement_path", "user_agent", "request_path", "dns_qname", "raw_headers", "kind"},
	ttp.CanaryFingerprint: {"token_id", "trigger_id", "ua_signature", "user_agent", "nav", "gl", "tz", "langs", "fingerprint", "_fp"},
	ttp.Identity:          {"winner_uuid", "loser_uuid", "observation_count", "attacker_uuids", "attacker_ips", "deckies", "services", "asns", "account_count", "shared_password_hash"},
	ttp.Credential: {
		"secret_kind", "target_count", "attacker_uuids", "attacker_ips", "deckies", "services", "reuse_count", "credential_hash", "credential_id", "secret_sha256",
	},
	ttp.Payload:         {"payload_text", "sha256", "size", "filename", "mime"},
	ttp.HTTPFingerprint: {"fingerprint_type", "hash", "signals", "matched_framework", "user_agent"},
	ttp.IPv6Leak:        {"addr", "iid_kind", "mac_oui", "vector", "on_iface", "observed_at", "client_ip"},
	ttp.JARM:            {"jarm_hash", "hash", "port", "matched_framework", "target_ip"},
	ttp.HASSH:           {"hassh_server", "hash", "port", "matched_framework", "banner"},
}

// knownFields returns the names that a rule for the kind can sensibly use.
func knownFields(kind ttp.Kind) []string {
	list := slices.Concat(everywhere, sent[kind])
	switch kind {
	case ttp.Command:
		list = slices.AppendSeq(list, maps.Keys(simpleReaders))
		for _, n := range "0123456789" {
			list = append(list, "a"+string(n))
		}
	case ttp.HTTPRequest:
		list = slices.AppendSeq(list, maps.Keys(requestFields))
	}
	return list
}
