package sink

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"go.uber.org/zap"
)

// versionTable is where the migrations that were made are noted.
const versionTable = "ttp_schema_version"

// mysqlTags is ttp_tag where there is none. What clusters the rows is the order
// of arrival; uuids are spread at random and would make every insert touch a
// page of its own once the index outgrows the buffer pool.
const mysqlTags = `CREATE TABLE IF NOT EXISTS ttp_tag (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  uuid             CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  source_kind      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  source_id        VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  attacker_uuid    %s NULL,
  identity_uuid    %s NULL,
  session_id       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  decky_id         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  tactic           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  technique_id     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sub_technique_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  confidence       DOUBLE NOT NULL,
  rule_id          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  rule_version     INT NOT NULL,
  evidence         JSON NOT NULL,
  attack_release   VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  mitre_url        VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
  created_at       DATETIME(6) NOT NULL,
  UNIQUE KEY uq_ttp_tag_uuid (uuid),
  KEY ix_ttp_tag_attacker_technique (attacker_uuid, technique_id),
  KEY ix_ttp_tag_identity_technique (identity_uuid, technique_id),
  KEY ix_ttp_tag_session_id (session_id),
  KEY ix_ttp_tag_created_at (created_at),
  CONSTRAINT ttp_tag_attacker FOREIGN KEY (attacker_uuid) REFERENCES attackers (uuid) ON DELETE CASCADE,
  CONSTRAINT ttp_tag_identity FOREIGN KEY (identity_uuid) REFERENCES attacker_identities (uuid) ON DELETE CASCADE,
  CONSTRAINT ttp_tag_has_anchor CHECK (attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL),
  CONSTRAINT ttp_tag_confidence_range CHECK (confidence >= 0 AND confidence <= 1)
)`

// mysqlWideIndexes adds indexes that have all that a rollup asks for. Those that
// take the place of one of [mysqlTags] get its name last: TiDB refuses to drop
// an index and make another of that name at once, and a foreign key must have
// one at all times.
const mysqlWideIndexes = `ALTER TABLE ttp_tag
  ADD INDEX ix_ttp_tag_attacker_technique_wide (attacker_uuid, identity_uuid, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id, created_at),
  ADD INDEX ix_ttp_tag_identity_technique_wide (identity_uuid, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id, created_at),
  ADD INDEX ix_ttp_tag_created_at_wide (created_at, id, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id),
  ADD INDEX ix_ttp_tag_technique_created (technique_id, created_at, id, sub_technique_id, tactic, confidence, decky_id)`

// widening returns what is left to do of a ttp_tag with these indexes: a process
// may be killed between two of the statements, and DDL is not rolled back.
func widening(indexes []string) (statements []string) {
	replaced := []string{"ix_ttp_tag_attacker_technique", "ix_ttp_tag_identity_technique", "ix_ttp_tag_created_at"}
	if added := slices.Contains(indexes, "ix_ttp_tag_technique_created"); !added {
		statements = append(statements, mysqlWideIndexes)
		for _, name := range replaced {
			indexes = append(indexes, name+"_wide")
		}
	}
	for _, name := range replaced {
		if !slices.Contains(indexes, name+"_wide") {
			continue
		}
		if slices.Contains(indexes, name) {
			statements = append(statements, "ALTER TABLE ttp_tag DROP INDEX "+name)
		}
		statements = append(statements, "ALTER TABLE ttp_tag RENAME INDEX "+name+"_wide TO "+name)
	}
	return statements
}

// Migrate creates the tables that are missing and brings ours up to date. The
// tables of a DECNET database are used as they are. Processes that migrate at
// the same time wait for each other.
func (d *DB) Migrate(ctx context.Context) error {
	provider, err := d.provider()
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := d.noteBeginning(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	results, err := provider.Up(ctx)
	for range maxConflicts {
		if !tripped(err) || ctx.Err() != nil {
			break
		}
		<-time.After(migrateAgain)
		results, err = provider.Up(ctx)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	d.schema.forget()
	if len(results) > 0 {
		d.log.Info("schema brought up to date", zap.Int("migrations", len(results)))
	}
	return nil
}

// noteBeginning gives the table of versions its first row, without which goose
// refuses to work, if a process was killed before it could. Others may be doing
// the same; a second such row does no harm.
func (d *DB) noteBeginning(ctx context.Context) error {
	var noted int
	err := d.write.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+versionTable).Scan(&noted)
	switch {
	case classify(err) == classSchema: // there is no such table yet
		return nil
	case err != nil || noted > 0:
		return err
	}
	_, err = d.write.ExecContext(ctx, "INSERT INTO "+versionTable+" (version_id, is_applied) VALUES (0, 1)")
	return err
}

// migrateAgain is about how long a step of a migration takes.
const migrateAgain = 100 * time.Millisecond

// tripped reports whether err may come of another process that migrates at the
// same time: goose begins before it has the lock, and SQLite has none. Who was
// slower finds the work done.
func tripped(err error) bool {
	switch classify(err) {
	case classConflict, classSchema, classOther:
		return true
	}
	return false
}

// provider knows the migrations.
func (d *DB) provider() (*goose.Provider, error) {
	dialect, files, options := d.dialect.migrations()
	store, err := database.NewStore(database.Dialect(dialect), versionTable)
	if err != nil {
		return nil, err
	}
	options = append(options, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	return goose.NewProvider("", d.write, files, options...)
}
