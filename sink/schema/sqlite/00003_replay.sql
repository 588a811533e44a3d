-- +goose Up
CREATE TABLE ttp_replay (
  id TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, beat INTEGER NOT NULL,
  state TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT;
