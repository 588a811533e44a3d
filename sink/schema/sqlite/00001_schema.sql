-- +goose Up
CREATE TABLE campaigns (
  uuid TEXT NOT NULL PRIMARY KEY, merged_into_uuid TEXT,
  first_seen_at TEXT, last_seen_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE attacker_identities (
  uuid TEXT NOT NULL PRIMARY KEY, campaign_id TEXT, merged_into_uuid TEXT,
  first_seen_at TEXT, last_seen_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX ix_attacker_identities_campaign_id ON attacker_identities (campaign_id);

CREATE TABLE attackers (
  uuid TEXT NOT NULL PRIMARY KEY, ip TEXT NOT NULL, identity_id TEXT,
  first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX ix_attackers_ip ON attackers (ip);
CREATE INDEX ix_attackers_identity_id ON attackers (identity_id);

CREATE TABLE ttp_tag (
  id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,
  source_kind TEXT NOT NULL,
  source_id TEXT NOT NULL,
  attacker_uuid TEXT REFERENCES attackers (uuid) ON DELETE CASCADE,
  identity_uuid TEXT REFERENCES attacker_identities (uuid) ON DELETE CASCADE,
  session_id TEXT,
  decky_id TEXT,
  tactic TEXT NOT NULL,
  technique_id TEXT NOT NULL,
  sub_technique_id TEXT,
  confidence REAL NOT NULL CONSTRAINT ttp_tag_confidence_range CHECK (confidence >= 0 AND confidence <= 1),
  rule_id TEXT NOT NULL,
  rule_version INTEGER NOT NULL,
  evidence TEXT NOT NULL CONSTRAINT ttp_tag_evidence_json CHECK (json_valid(evidence)),
  attack_release TEXT NOT NULL,
  mitre_url TEXT,
  created_at TEXT NOT NULL,
  CONSTRAINT ttp_tag_has_anchor CHECK (attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL)
) STRICT;
CREATE INDEX ix_ttp_tag_attacker_technique ON ttp_tag (attacker_uuid, technique_id);
CREATE INDEX ix_ttp_tag_identity_technique ON ttp_tag (identity_uuid, technique_id);
CREATE INDEX ix_ttp_tag_session_id ON ttp_tag (session_id);
CREATE INDEX ix_ttp_tag_created_at ON ttp_tag (created_at);

CREATE TABLE ttp_outbox (
  id TEXT NOT NULL PRIMARY KEY, payload TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX ix_ttp_outbox_created_at ON ttp_outbox (created_at);

CREATE TABLE ttp_rule_state (
  rule_id TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, confidence_max REAL,
  expires_at TEXT, reason TEXT, set_by TEXT, set_at TEXT NOT NULL
) STRICT;
