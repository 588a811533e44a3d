package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"ttp-worker/ttp"
)

// preload fills the empty tables of MariaDB: with the attackers that the events
// are of, and with tags that were there before, spread over these attackers.
// Their uuids are as good as random, as real ones are. Indexes are made at the
// end, which takes minutes instead of hours.
func preload(ctx context.Context, db *sql.DB, attackers, rows int) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := execAll(ctx, conn, "SET foreign_key_checks = 0"); err != nil {
		return err
	}
	const chunk = 1000
	for first := 0; first < attackers; first += chunk {
		if err := execAll(ctx, conn, attackerInsert(first, min(first+chunk, attackers))); err != nil {
			return fmt.Errorf("make attackers: %w", err)
		}
	}
	if rows == 0 {
		return nil
	}
	if err := preloadTags(ctx, conn, attackers, rows); err != nil {
		return fmt.Errorf("make %d tags: %w", rows, err)
	}
	return nil
}

func attackerInsert(first, end int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO attackers (uuid, ip, first_seen, last_seen, updated_at) VALUES ")
	for n := first; n < end; n++ {
		address := addressOf(n)
		if n > first {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "('%s', '%s', NOW(), NOW(), NOW())", ttp.AttackerUUID(address), address)
	}
	return b.String()
}

func preloadTags(ctx context.Context, conn *sql.Conn, attackers, rows int) error {
	drops, adds, err := indexesOf(ctx, conn)
	if err != nil {
		return err
	}
	if err := execAll(ctx, conn, drops, "CREATE TEMPORARY TABLE who (n INT PRIMARY KEY, uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin) "+
		"SELECT ROW_NUMBER() OVER (ORDER BY uuid) - 1 AS n, uuid FROM attackers"); err != nil {
		return err
	}
	const chunk = 250_000
	for first := 0; first < rows; first += chunk {
		if err := execAll(ctx, conn, fmt.Sprintf(tagInsert, first, min(first+chunk, rows)-1, attackers)); err != nil {
			return err
		}
	}
	return execAll(ctx, conn, adds, "ANALYZE TABLE ttp_tag", "SET GLOBAL innodb_old_blocks_time = 0", warm, warm)
}

// warm reads the index of the uuids, which inserts touch all over: a server that
// has been at work has it in memory, as far as it fits.
const warm = "DO (SELECT COUNT(*) FROM ttp_tag FORCE INDEX (uq_ttp_tag_uuid) WHERE uuid > '')"

// tagInsert wants the first and the last number of the rows and how many
// attackers there are.
const tagInsert = `INSERT INTO ttp_tag (uuid, source_kind, source_id, attacker_uuid, decky_id, tactic, technique_id, confidence, rule_id, rule_version,
  evidence, attack_release, mitre_url, created_at)
SELECT CONCAT_WS('-', LEFT(hash, 8), SUBSTR(hash, 9, 4), SUBSTR(hash, 13, 4), SUBSTR(hash, 17, 4), RIGHT(hash, 12)), 'command', hash, who.uuid,
  CONCAT('decky-', seq %% 7), 'TA0007', CONCAT('T1', LPAD(seq %% 40, 3, '0')), 0.8, CONCAT('R', seq %% 80), 1,
  '{"command_text":"cat /etc/passwd; uname -a"}', 'v19.2', 'https://attack.mitre.org/techniques/T1083/', '2026-01-01' + INTERVAL seq SECOND
FROM (SELECT seq, MD5(seq) AS hash FROM seq_%d_to_%d) AS numbers JOIN who ON who.n = seq * 7919 %% %d ORDER BY seq`

// indexesOf returns statements that drop the indexes of ttp_tag and make them
// again.
func indexesOf(ctx context.Context, conn *sql.Conn) (drops, adds string, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT index_name, CONCAT('ADD ', IF(non_unique, '', 'UNIQUE '), 'INDEX ', index_name, ' (', "+
		"GROUP_CONCAT(column_name ORDER BY seq_in_index), ')') FROM information_schema.statistics "+
		"WHERE table_schema = DATABASE() AND table_name = 'ttp_tag' AND index_name <> 'PRIMARY' GROUP BY index_name, non_unique")
	if err != nil {
		return "", "", err
	}
	defer rows.Close()
	var dropping, adding []string
	for rows.Next() {
		var name, add string
		if err := rows.Scan(&name, &add); err != nil {
			return "", "", err
		}
		dropping, adding = append(dropping, "DROP INDEX "+name), append(adding, add)
	}
	return "ALTER TABLE ttp_tag " + strings.Join(dropping, ", "), "ALTER TABLE ttp_tag " + strings.Join(adding, ", "), rows.Err()
}

func execAll(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
