-- +goose Up
CREATE TABLE IF NOT EXISTS ttp_outbox (
  id         CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  payload    LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at DATETIME(6) NOT NULL,
  KEY ix_ttp_outbox_created_at (created_at)
);
