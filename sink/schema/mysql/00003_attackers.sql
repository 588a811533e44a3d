-- +goose Up
CREATE TABLE IF NOT EXISTS attackers (
  uuid        CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  ip          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  identity_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
  first_seen  DATETIME(6) NOT NULL,
  last_seen   DATETIME(6) NOT NULL,
  updated_at  DATETIME(6) NOT NULL,
  KEY ix_attackers_ip (ip),
  KEY ix_attackers_identity_id (identity_id)
);
