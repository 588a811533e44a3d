-- +goose Up
CREATE TABLE IF NOT EXISTS ttp_rule_state (
  rule_id        VARCHAR(255) NOT NULL PRIMARY KEY,
  state          VARCHAR(255) NOT NULL,
  confidence_max FLOAT NULL,
  expires_at     DATETIME NULL,
  reason         VARCHAR(255) NULL,
  set_by         VARCHAR(255) NULL,
  set_at         DATETIME NOT NULL
);
