package sink

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// SetNow sets the clock of d.
func SetNow(d *DB, now time.Time) { d.now = func() time.Time { return now } }

// Exec runs a statement on d.
func Exec(ctx context.Context, d *DB, statement string, args ...any) error {
	_, err := d.write.ExecContext(ctx, statement, args...)
	return err
}

// Query is a query that was asked, with what the database says about how it
// would answer it.
type Query struct{ SQL, Plan string }

// RecordPlans makes d read through a driver that explains every query.
func RecordPlans(d *DB, dsn string) (queries func() []Query, err error) {
	e := &explainer{prefix: "EXPLAIN QUERY PLAN "}
	pool, source := d.read, strings.TrimPrefix(dsn, "sqlite://")
	if _, ok := d.dialect.(mysqlDialect); ok {
		cfg, err := mysqlConfig(dsn)
		if err != nil {
			return nil, err
		}
		e.prefix, source = "EXPLAIN ", cfg.FormatDSN()
	}
	e.Driver = pool.Driver()
	d.read = sql.OpenDB(dsnConnector{e, source})
	return func() []Query { return e.queries }, nil
}

type dsnConnector struct {
	driver *explainer
	source string
}

// Connect implements [driver.Connector].
func (c dsnConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.source)
	return explainedConn{conn, c.driver}, err
}

// Driver implements [driver.Connector].
func (c dsnConnector) Driver() driver.Driver { return c.driver }

// explainer is a driver for one connection at a time.
type explainer struct {
	driver.Driver
	prefix  string
	queries []Query
}

type explainedConn struct {
	driver.Conn
	explainer *explainer
}

// QueryContext explains the query, then asks it.
func (c explainedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	inner := c.Conn.(driver.QueryerContext)
	rows, err := inner.QueryContext(ctx, c.explainer.prefix+query, args)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(rows)
	if err != nil {
		return nil, err
	}
	c.explainer.queries = append(c.explainer.queries, Query{query, plan})
	return inner.QueryContext(ctx, query, args)
}

// planOf returns the rows as text, one a line.
func planOf(rows driver.Rows) (string, error) {
	defer rows.Close()
	var plan strings.Builder
	values := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			return plan.String(), nil
		}
		if err != nil {
			return "", err
		}
		for i, name := range rows.Columns() {
			if b, ok := values[i].([]byte); ok {
				values[i] = string(b)
			}
			fmt.Fprintf(&plan, "%s=%v ", name, values[i])
		}
		plan.WriteByte('\n')
	}
}

// RememberAll remembers days of the whole fleet that have few tags, too.
func RememberAll(d *DB) { d.fleet.many = 1 }

// HoldFleet keeps what is remembered of the whole fleet from all others until
// release is called.
func HoldFleet(d *DB) (release func()) {
	d.fleet.turn <- struct{}{}
	return d.fleet.give
}

// After is the Next of a page that ended at a time.
func After(at time.Time) string { return position{timeText(at, 6), "0"}.String() }

// DropIndexes drops the indexes of ttp_tag until restore is called. On MySQL d
// must not check foreign keys.
func DropIndexes(ctx context.Context, d *DB) (restore func() error, err error) {
	query := "SELECT 'DROP INDEX ' || name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'ttp_tag' AND sql IS NOT NULL"
	_, isMySQL := d.dialect.(mysqlDialect)
	if isMySQL {
		query = "SELECT CONCAT('ALTER TABLE ttp_tag DROP INDEX ', index_name), CONCAT('ADD ', IF(non_unique, '', 'UNIQUE '), 'INDEX ', index_name, " +
			"' (', GROUP_CONCAT(column_name ORDER BY seq_in_index), ')') FROM information_schema.statistics " +
			"WHERE table_schema = DATABASE() AND table_name = 'ttp_tag' AND index_name <> 'PRIMARY' GROUP BY index_name, non_unique"
	}
	var drops, adds []string
	err = each(ctx, d.read, query, nil, func(scan func(...any) error) error {
		var drop, add string
		err := scan(&drop, &add)
		drops, adds = append(drops, drop), append(adds, add)
		return err
	})
	if isMySQL {
		adds = []string{"ALTER TABLE ttp_tag " + strings.Join(adds, ", "), "ANALYZE TABLE ttp_tag"}
	} else {
		adds = append(adds, "ANALYZE")
	}
	run := func(statements []string) (err error) {
		for _, s := range statements {
			if err == nil {
				err = Exec(ctx, d, s)
			}
		}
		return err
	}
	return func() error { return run(adds) }, errors.Join(err, run(drops))
}

// Rows returns what a query finds, the columns of a row with a blank between.
func Rows(ctx context.Context, d *DB, query string) (list []string, err error) {
	rows, err := d.read.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]string, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, strings.Join(values, " "))
	}
	return list, rows.Err()
}

// narrow are the indexes of [mysqlTags] that others take the place of.
var narrow = []string{"ix_ttp_tag_attacker_technique", "ix_ttp_tag_identity_technique", "ix_ttp_tag_created_at"}

// Migrations returns what each migration does, by its name.
func Migrations() (map[string]string, error) {
	texts := map[string]string{"mysql/00004 createTags": mysqlTags, "mysql/00007 widenIndexes": strings.Join(widening(narrow), "; ")}
	for _, files := range []embed.FS{mysqlSchema, sqliteSchema} {
		err := fs.WalkDir(files, "schema", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := files.ReadFile(path)
			texts[strings.TrimPrefix(path, "schema/")] = string(data)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// WideIndexes are the statements that make the indexes of ttp_tag what rollups
// need, where there are others of the same names.
func WideIndexes(d *DB) (statements []string, err error) {
	if _, ok := d.dialect.(mysqlDialect); ok {
		return widening(narrow), nil
	}
	data, err := sqliteSchema.ReadFile("schema/sqlite/00002_rollups.sql")
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "DROP") || strings.Contains(line, "ON ttp_tag") {
			statements = append(statements, line)
		}
	}
	return statements, err
}
