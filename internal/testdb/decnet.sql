-- The tables of a DECNET master that matter to the worker, as its migration makes them where the
-- server's character set is latin1: keys of 255 characters in a folding collation, whole seconds,
-- single precision, no defaults.


CREATE TABLE campaigns (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  schema_version INT NOT NULL,
  first_seen_at DATETIME,
  last_seen_at DATETIME,
  created_at DATETIME NOT NULL,
  updated_at DATETIME NOT NULL,
  confidence FLOAT,
  identity_count INT NOT NULL,
  ja3_hashes TEXT, hassh_hashes TEXT, tls_cert_sha256 TEXT, payload_simhashes TEXT, c2_endpoints TEXT, notes TEXT,
  merged_into_uuid VARCHAR(255),
  KEY ix_campaigns_merged_into_uuid (merged_into_uuid),
  FOREIGN KEY (merged_into_uuid) REFERENCES campaigns (uuid)
) CHARACTER SET latin1;

CREATE TABLE attacker_identities (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  schema_version INT NOT NULL,
  campaign_id VARCHAR(255),
  merged_into_uuid VARCHAR(255),
  first_seen_at DATETIME,
  last_seen_at DATETIME,
  created_at DATETIME NOT NULL,
  updated_at DATETIME NOT NULL,
  confidence FLOAT,
  observation_count INT NOT NULL,
  ja3_hashes TEXT, hassh_hashes TEXT, ja4h_hashes TEXT, ja4_quic_hashes TEXT, http_versions_seen TEXT, tls_cert_sha256 TEXT,
  ipv6_link_local_iids TEXT, payload_simhashes TEXT, c2_endpoints TEXT, notes TEXT,
  kd_digraph_simhash BINARY(8),
  KEY ix_attacker_identities_campaign_id (campaign_id),
  KEY ix_attacker_identities_merged_into_uuid (merged_into_uuid),
  FOREIGN KEY (campaign_id) REFERENCES campaigns (uuid),
  FOREIGN KEY (merged_into_uuid) REFERENCES attacker_identities (uuid)
) CHARACTER SET latin1;

CREATE TABLE attackers (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  ip VARCHAR(255) NOT NULL,
  identity_id VARCHAR(255),
  first_seen DATETIME NOT NULL,
  last_seen DATETIME NOT NULL,
  updated_at DATETIME NOT NULL,
  event_count INT NOT NULL, service_count INT NOT NULL, decky_count INT NOT NULL, bounty_count INT NOT NULL, credential_count INT NOT NULL, rotation_count INT NOT NULL, ipv6_leak_count INT NOT NULL,
  services MEDIUMTEXT NOT NULL, deckies MEDIUMTEXT NOT NULL, fingerprints MEDIUMTEXT NOT NULL, commands MEDIUMTEXT NOT NULL,
  traversal_path TEXT,
  is_traversal TINYINT(1) NOT NULL,
  country_code VARCHAR(2), country_source VARCHAR(16), asn INT, as_name VARCHAR(128), bgp_prefix VARCHAR(43), asn_source VARCHAR(16), rpki_status VARCHAR(16), rpki_source VARCHAR(16), ptr_record VARCHAR(256),
  last_rotation_at DATETIME, last_ipv6_leak_at DATETIME, last_ipv6_link_local VARCHAR(45), last_ipv6_iid_kind VARCHAR(16), last_ipv6_mac_oui VARCHAR(8),
  KEY ix_attackers_ip (ip),
  KEY ix_attackers_identity_id (identity_id),
  KEY ix_attackers_first_seen (first_seen),
  KEY ix_attackers_last_seen (last_seen),
  KEY ix_attackers_updated_at (updated_at),
  FOREIGN KEY (identity_id) REFERENCES attacker_identities (uuid)
) CHARACTER SET latin1;

CREATE TABLE attacker_intel (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  attacker_uuid VARCHAR(255) NOT NULL,
  attacker_ip VARCHAR(255) NOT NULL,
  schema_version INT NOT NULL,
  greynoise_classification VARCHAR(32), greynoise_name VARCHAR(128), greynoise_tags JSON NOT NULL, greynoise_raw JSON NOT NULL, greynoise_queried_at DATETIME,
  abuseipdb_score INT, abuseipdb_categories JSON NOT NULL, abuseipdb_raw JSON NOT NULL, abuseipdb_queried_at DATETIME,
  feodo_listed TINYINT(1), feodo_malware_family VARCHAR(64), feodo_raw JSON NOT NULL, feodo_queried_at DATETIME,
  threatfox_listed TINYINT(1), threatfox_threat_types JSON NOT NULL, threatfox_ioc_types JSON NOT NULL, threatfox_malware_families JSON NOT NULL, threatfox_raw JSON NOT NULL, threatfox_queried_at DATETIME,
  aggregate_verdict VARCHAR(32),
  cached_at DATETIME NOT NULL,
  expires_at DATETIME NOT NULL,
  UNIQUE KEY ix_attacker_intel_attacker_uuid (attacker_uuid),
  KEY ix_attacker_intel_attacker_ip (attacker_ip),
  KEY ix_attacker_intel_aggregate_verdict (aggregate_verdict),
  KEY ix_attacker_intel_cached_at (cached_at),
  KEY ix_attacker_intel_expires_at (expires_at),
  FOREIGN KEY (attacker_uuid) REFERENCES attackers (uuid)
) CHARACTER SET latin1;

CREATE TABLE canary_tokens (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  kind VARCHAR(255) NOT NULL, decky_name VARCHAR(255) NOT NULL, topology_id VARCHAR(255), blob_uuid VARCHAR(255), instrumenter VARCHAR(255), generator VARCHAR(255),
  placement_path VARCHAR(255) NOT NULL, callback_token VARCHAR(255) NOT NULL, secret_seed VARCHAR(255) NOT NULL,
  placed_at DATETIME NOT NULL, last_triggered_at DATETIME, trigger_count INT NOT NULL,
  created_by VARCHAR(255) NOT NULL, state VARCHAR(255) NOT NULL, last_error TEXT, fingerprint_nonce VARCHAR(16),
  UNIQUE KEY ix_canary_tokens_callback_token (callback_token),
  KEY ix_canary_tokens_decky (decky_name, state)
) CHARACTER SET latin1;

CREATE TABLE canary_triggers (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  token_uuid VARCHAR(255) NOT NULL,
  occurred_at DATETIME NOT NULL,
  src_ip VARCHAR(255) NOT NULL,
  user_agent VARCHAR(255), request_path VARCHAR(255), dns_qname VARCHAR(255),
  raw_headers MEDIUMTEXT NOT NULL,
  attacker_id VARCHAR(255),
  KEY ix_canary_triggers_token_ts (token_uuid, occurred_at),
  KEY ix_canary_triggers_src_ip (src_ip),
  KEY ix_canary_triggers_attacker_id (attacker_id),
  FOREIGN KEY (token_uuid) REFERENCES canary_tokens (uuid)
) CHARACTER SET latin1;

CREATE TABLE credentials (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  attacker_ip VARCHAR(255) NOT NULL, attacker_uuid VARCHAR(255), decky_name VARCHAR(255) NOT NULL, service VARCHAR(255) NOT NULL,
  principal VARCHAR(256), principal_key VARCHAR(256) NOT NULL, secret_kind VARCHAR(32) NOT NULL, secret_sha256 VARCHAR(64) NOT NULL,
  secret_b64 VARCHAR(2048), secret_printable VARCHAR(512), outcome VARCHAR(16), fields MEDIUMTEXT NOT NULL,
  first_seen DATETIME NOT NULL, last_seen DATETIME NOT NULL, attempt_count INT NOT NULL,
  UNIQUE KEY uq_credentials_dedup (attacker_ip, decky_name, service, secret_kind, secret_sha256, principal_key),
  KEY ix_credentials_attacker_ip (attacker_ip),
  KEY ix_credentials_attacker_uuid (attacker_uuid),
  KEY ix_credentials_service (service),
  KEY ix_credentials_secret_sha256 (secret_sha256),
  KEY ix_credentials_first_seen (first_seen),
  KEY ix_credentials_last_seen (last_seen),
  FOREIGN KEY (attacker_uuid) REFERENCES attackers (uuid)
) CHARACTER SET latin1;

CREATE TABLE credential_reuse (
  id VARCHAR(36) NOT NULL PRIMARY KEY,
  secret_sha256 VARCHAR(64) NOT NULL, secret_kind VARCHAR(32) NOT NULL, principal VARCHAR(256), principal_key VARCHAR(256) NOT NULL,
  attacker_uuids MEDIUMTEXT NOT NULL, attacker_ips MEDIUMTEXT NOT NULL, deckies MEDIUMTEXT NOT NULL, services MEDIUMTEXT NOT NULL,
  target_count INT NOT NULL, attempt_count INT NOT NULL, confidence FLOAT NOT NULL,
  first_seen DATETIME NOT NULL, last_seen DATETIME NOT NULL, updated_at DATETIME NOT NULL,
  UNIQUE KEY uq_credential_reuse (secret_sha256, secret_kind, principal_key)
) CHARACTER SET latin1;

CREATE TABLE logs (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  timestamp DATETIME NOT NULL,
  decky VARCHAR(255) NOT NULL, service VARCHAR(255) NOT NULL, event_type VARCHAR(255) NOT NULL, attacker_ip VARCHAR(255) NOT NULL,
  raw_line TEXT NOT NULL, fields TEXT NOT NULL, msg TEXT, trace_id VARCHAR(255), span_id VARCHAR(255),
  KEY ix_logs_timestamp (timestamp),
  KEY ix_logs_decky (decky),
  KEY ix_logs_service (service),
  KEY ix_logs_event_type (event_type),
  KEY ix_logs_attacker_ip (attacker_ip)
) CHARACTER SET latin1;

CREATE TABLE ttp_tag (
  uuid VARCHAR(255) NOT NULL PRIMARY KEY,
  source_kind VARCHAR(255) NOT NULL, source_id VARCHAR(255) NOT NULL,
  attacker_uuid VARCHAR(255), identity_uuid VARCHAR(255), session_id VARCHAR(255), decky_id VARCHAR(255),
  tactic VARCHAR(255) NOT NULL, technique_id VARCHAR(255) NOT NULL, sub_technique_id VARCHAR(255),
  confidence FLOAT NOT NULL, rule_id VARCHAR(255) NOT NULL, rule_version INT NOT NULL, evidence JSON NOT NULL,
  attack_release VARCHAR(255) NOT NULL, mitre_url VARCHAR(255), created_at DATETIME NOT NULL,
  KEY ix_ttp_tag_attacker_uuid (attacker_uuid),
  KEY ix_ttp_tag_identity_uuid (identity_uuid),
  KEY ix_ttp_tag_session_id (session_id),
  KEY ix_ttp_tag_decky_id (decky_id),
  KEY ix_ttp_tag_tactic (tactic),
  KEY ix_ttp_tag_technique_id (technique_id),
  KEY ix_ttp_tag_sub_technique_id (sub_technique_id),
  KEY ix_ttp_tag_rule_id (rule_id),
  KEY ix_ttp_tag_attack_release (attack_release),
  KEY ix_ttp_tag_created_at (created_at),
  KEY ix_ttp_tag_identity_technique (identity_uuid, technique_id),
  KEY ix_ttp_tag_attacker_technique (attacker_uuid, technique_id),
  KEY ix_ttp_tag_technique_created (technique_id, created_at),
  FOREIGN KEY (attacker_uuid) REFERENCES attackers (uuid) ON DELETE CASCADE,
  FOREIGN KEY (identity_uuid) REFERENCES attacker_identities (uuid) ON DELETE CASCADE,
  CONSTRAINT ttp_tag_has_anchor CHECK (attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL),
  CONSTRAINT ttp_tag_confidence_range CHECK (confidence >= 0 AND confidence <= 1)
) CHARACTER SET latin1;

CREATE TABLE ttp_rule_state (
  rule_id VARCHAR(255) NOT NULL PRIMARY KEY,
  state VARCHAR(255) NOT NULL, confidence_max FLOAT, expires_at DATETIME, reason VARCHAR(255), set_by VARCHAR(255), set_at DATETIME NOT NULL
) CHARACTER SET latin1;
