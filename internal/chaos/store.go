package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// store is the harness's own view of the database.
type store struct{ db *sql.DB }

// openSQLite opens the file that the worker uses, too.
func openSQLite(path string) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=20000&_foreign_keys=1&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &store{db}, nil
}

// addActors gives attackers and their identities rows.
func (s *store) addActors(ctx context.Context, actors []actor) error {
	const at = "2026-05-01 00:00:00.000000"
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("add attackers: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing is left to roll back after Commit
	for _, a := range actors {
		if a.identity != "" {
			if _, err := tx.ExecContext(ctx, "INSERT INTO attacker_identities (uuid, created_at, updated_at) VALUES (?, ?, ?)", a.identity, at, at); err != nil {
				return fmt.Errorf("add an identity: %w", err)
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO attackers (uuid, ip, identity_id, first_seen, last_seen, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
			a.uuid, a.ip, sql.NullString{String: a.identity, Valid: a.identity != ""}, at, at, at)
		if err != nil {
			return fmt.Errorf("add an attacker: %w", err)
		}
	}
	return tx.Commit()
}

// columns are those of a tag that are compared.
var columns = []string{
	"uuid", "source_kind", "source_id", "attacker_uuid", "identity_uuid", "session_id", "decky_id", "tactic", "technique_id",
	"sub_technique_id", "confidence", "rule_id", "rule_version", "evidence", "attack_release", "mitre_url",
}

// tags returns what is stored, by uuid.
func (s *store) tags(ctx context.Context) (map[string]object, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM ttp_tag")
	if err != nil {
		return nil, fmt.Errorf("read the tags: %w", err)
	}
	defer rows.Close()
	tags := make(map[string]object)
	for rows.Next() {
		tag, err := scanTag(rows)
		if err != nil {
			return nil, err
		}
		tags[tag["uuid"].(string)] = tag
	}
	return tags, rows.Err()
}

func scanTag(rows *sql.Rows) (object, error) {
	texts := make([]sql.NullString, len(columns))
	targets := make([]any, len(columns))
	for i := range texts {
		targets[i] = &texts[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, fmt.Errorf("read a tag: %w", err)
	}
	tag := make(object)
	for i, name := range columns {
		tag[name] = nil
		if !texts[i].Valid {
			continue
		}
		tag[name] = texts[i].String
		switch name {
		case "confidence", "rule_version", "evidence":
			var v any
			if err := json.Unmarshal([]byte(texts[i].String), &v); err != nil {
				return nil, fmt.Errorf("read %s of a tag: %w", name, err)
			}
			tag[name] = v
		}
	}
	return tag, nil
}

func (s *store) outbox(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM ttp_outbox").Scan(&n)
	return n, err
}
