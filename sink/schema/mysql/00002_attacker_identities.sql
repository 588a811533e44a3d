-- +goose Up
CREATE TABLE IF NOT EXISTS attacker_identities (
  uuid             CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  campaign_id      CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
  merged_into_uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
  first_seen_at    DATETIME(6) NULL,
  last_seen_at     DATETIME(6) NULL,
  created_at       DATETIME(6) NOT NULL,
  updated_at       DATETIME(6) NOT NULL,
  KEY ix_attacker_identities_campaign_id (campaign_id),
  KEY ix_attacker_identities_merged_into_uuid (merged_into_uuid)
);
