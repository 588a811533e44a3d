package sink

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sqliteDialect is SQLite 3.37 (STRICT tables) and later.
type sqliteDialect struct{}

// openSQLite sets up one connection that writes and a pool that reads, which
// with a write-ahead log don't wait for each other.
func (d *DB) openSQLite(path string, maxOpen int) error {
	switch {
	case path == "" || path == ":memory:":
		return errors.New("no path: want sqlite://PATH")
	case strings.ContainsAny(path, "?#\x00"):
		return errors.New("a sqlite path takes no options")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	write, err := sql.Open("sqlite", sqliteURI(path, "_txlock=immediate"))
	if err != nil {
		return err
	}
	read, err := sql.Open("sqlite", sqliteURI(path, "_query_only=1"))
	if err != nil {
		return err
	}
	write.SetMaxOpenConns(1)
	read.SetMaxOpenConns(maxOpen)
	read.SetMaxIdleConns(maxOpen)
	d.dialect, d.write, d.read = sqliteDialect{}, write, read
	return nil
}

func sqliteURI(path, option string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	u.RawQuery = "_busy_timeout=5000&_foreign_keys=1&_journal_mode=WAL&_synchronous=FULL&" + option
	return u.String()
}

//go:embed schema/sqlite/*.sql
var sqliteSchema embed.FS

func (sqliteDialect) migrations() (goose.Dialect, fs.FS, []goose.ProviderOption) {
	files, _ := fs.Sub(sqliteSchema, "schema/sqlite") // the path is valid, which is all that can fail
	return goose.DialectSQLite3, files, nil
}

// commit waits for nobody but the disk.
func (sqliteDialect) commit(_ context.Context, tx *sql.Tx) error { return tx.Commit() }

func (sqliteDialect) isolation() sql.IsolationLevel { return sql.LevelDefault }

func (sqliteDialect) columns(ctx context.Context, q querier, table string) (columns, error) {
	rows, err := q.QueryContext(ctx,
		`SELECT name, lower(type), "notnull" = 0, dflt_value IS NOT NULL OR pk = 1 AND type = 'INTEGER' FROM pragma_table_info(?)`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := columns{}
	for rows.Next() {
		c := column{precision: 6}
		var name string
		if err := rows.Scan(&name, &c.kind, &c.nullable, &c.hasDefault); err != nil {
			return nil, err
		}
		found[strings.ToLower(name)] = c
	}
	return found, rows.Err()
}

func (sqliteDialect) packet(context.Context, querier) (int, error) { return 0, nil }

// insert is never lenient: DO NOTHING passes over that one key only.
func (sqliteDialect) insert(table, key string, _ bool) (before, behind string) {
	return "INSERT INTO " + table, " ON CONFLICT (" + key + ") DO NOTHING"
}

// insertTags passes arguments: a text in a statement ends at a NUL here.
func (d sqliteDialect) insertTags(_ []byte, rows []*row) (statement string, args []any) {
	before, behind := d.insert("ttp_tag", "uuid", true)
	group := "(" + marks(len(tagColumns)) + ")"
	args = make([]any, 0, len(rows)*len(tagColumns))
	for _, r := range rows {
		args = r.args(args)
	}
	return before + tagColumnList + strings.Repeat(group+", ", len(rows)-1) + group + behind, args
}

func (sqliteDialect) bind(statement string, texts ...string) (string, []any) {
	args := make([]any, len(texts))
	for i, s := range texts {
		args[i] = s
	}
	return statement, args
}

func (sqliteDialect) warnings(context.Context, *sql.Tx) error { return nil }

// alongTime keeps the planner, which takes every range for a large one, from
// reading all rows in the order of another index.
func (sqliteDialect) alongTime() string { return " INDEXED BY ix_ttp_tag_created_at" }
