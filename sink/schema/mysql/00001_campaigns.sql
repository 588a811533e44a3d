-- +goose Up
CREATE TABLE IF NOT EXISTS campaigns (
  uuid             CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  merged_into_uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
  first_seen_at    DATETIME(6) NULL,
  last_seen_at     DATETIME(6) NULL,
  created_at       DATETIME(6) NOT NULL,
  updated_at       DATETIME(6) NOT NULL
);
