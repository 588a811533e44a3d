package sink

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"ttp-worker/ttp"
)

// mysqlDialect is MySQL 8 and later, MariaDB 10.11 and later, and TiDB.
type mysqlDialect struct{}

// openMySQL sets up one pool for everything.
func (d *DB) openMySQL(dsn string, maxOpen int, renew func() (string, error)) error {
	cfg, err := mysqlConfig(dsn)
	if err != nil {
		return err
	}
	if err := renewing(cfg, renew); err != nil {
		return err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	pool := sql.OpenDB(connecting{connector})
	pool.SetMaxOpenConns(maxOpen)
	pool.SetMaxIdleConns(maxOpen)
	pool.SetConnMaxLifetime(3 * time.Minute) // the driver's advice: below the 5 minutes of common middleboxes
	d.dialect, d.write, d.read = mysqlDialect{}, pool, pool
	return nil
}

// mysqlConfig turns a dsn into the driver's words. What storing relies on
// wins over the dsn's options.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	a, err := parseAddress(dsn)
	if err != nil {
		return nil, err
	}
	secure, err := secureConfig(a)
	if err != nil {
		return nil, err
	}
	// The address is given to ParseDSN because it names the server that the
	// option tls=true expects a certificate of.
	cfg, err := mysql.ParseDSN(a.network + "(" + a.addr + ")/?" + a.options.Encode())
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	cfg.User, cfg.Passwd, cfg.DBName = a.user, a.password, a.database
	cfg.TLS = cmp.Or(secure, cfg.TLS)
	cfg.Timeout = orDefault(cfg.Timeout, 5*time.Second)
	cfg.ReadTimeout = orDefault(cfg.ReadTimeout, 30*time.Second)
	cfg.WriteTimeout = orDefault(cfg.WriteTimeout, 30*time.Second)
	cfg.Logger = &mysql.NopLogger{} // what it would log is returned, too
	cfg.ParseTime, cfg.Loc = true, time.UTC
	cfg.InterpolateParams = true   // no limit of 65 535 placeholders, no round trip to prepare
	cfg.MaxAllowedPacket = 1 << 30 // the server's limit is the one that is kept to
	cfg.CheckConnLiveness = true   // a connection that died idle is noticed before it is used
	cfg.ClientFoundRows = false    // affected rows are rows inserted
	cfg.MultiStatements = false    // one statement has one list of warnings
	cfg.RejectReadOnly = false     // would hide the reason; see writing.once
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["max_error_count"] = "65535" // warnings beyond it are not listed
	cfg.Params["time_zone"] = "'+00:00'"
	cfg.Params["sql_mode"] = "'TRADITIONAL'"
	return cfg, cfg.Apply(mysql.Charset("utf8mb4", ""))
}

func orDefault(v, def time.Duration) time.Duration {
	if v == 0 {
		return def
	}
	return v
}

//go:embed schema/mysql/*.sql
var mysqlSchema embed.FS

func (m mysqlDialect) migrations() (goose.Dialect, fs.FS, []goose.ProviderOption) {
	files, _ := fs.Sub(mysqlSchema, "schema/mysql") // the path is valid, which is all that can fail
	return goose.DialectMySQL, files, []goose.ProviderOption{
		goose.WithSessionLocker(namedLock{}),
		goose.WithGoMigrations(
			goose.NewGoMigration(4, &goose.GoFunc{RunTx: m.createTags}, nil),
			goose.NewGoMigration(7, &goose.GoFunc{RunTx: m.widenIndexes}, nil),
		),
	}
}

// createTags makes ttp_tag if there is none. Its foreign keys take over the
// type, the character set and the collation of the columns they refer to,
// which in a DECNET database are whatever the server's defaults were.
func (m mysqlDialect) createTags(ctx context.Context, tx *sql.Tx) error {
	attackers, err := m.columns(ctx, tx, "attackers")
	if err != nil {
		return err
	}
	identities, err := m.columns(ctx, tx, "attacker_identities")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf(mysqlTags, attackers["uuid"].definition, identities["uuid"].definition))
	return err
}

// widenIndexes makes the indexes of our ttp_tag have all that a rollup asks
// for, so that its rows are not read. A table of DECNET's stays as it is, and so
// does ours where its keys refer to columns too wide for such an index.
func (m mysqlDialect) widenIndexes(ctx context.Context, tx *sql.Tx) error {
	const widest = 64 // bytes of a uuid
	tags, err := m.columns(ctx, tx, "ttp_tag")
	if err != nil {
		return err
	}
	if _, ours := tags["id"]; !ours || tags["attacker_uuid"].octets > widest || tags["identity_uuid"].octets > widest {
		return nil
	}
	indexes, err := m.indexes(ctx, tx, "ttp_tag")
	if err != nil {
		return err
	}
	for _, statement := range widening(indexes) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (mysqlDialect) indexes(ctx context.Context, q querier, table string) (names []string, err error) {
	rows, err := q.QueryContext(ctx, "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ?", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// namedLock lets one process migrate at a time. DDL can't be rolled back.
type namedLock struct{}

// lockName is one for each database of a server, and at most 64 characters.
const lockName = `CONCAT('ttp-worker:', SHA1(DATABASE()))`

// SessionLock waits for the lock, less long than the driver's read timeout.
func (namedLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", 20)").Scan(&got); err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	if got.Int64 != 1 {
		return errors.New("lock the schema: another process has been migrating for 20 s")
	}
	return nil
}

// SessionUnlock gives the lock back.
func (namedLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var released sql.NullInt64
	return conn.QueryRowContext(ctx, "SELECT RELEASE_LOCK("+lockName+")").Scan(&released)
}

// isolation is one without gap locks, so that lanes do not wait for each other.
func (mysqlDialect) isolation() sql.IsolationLevel { return sql.LevelReadCommitted }

// commit says COMMIT by a statement, which the end of ctx interrupts. The
// driver's own takes no context and would hold up a worker that is to stop,
// for the whole read timeout of a server that hangs.
func (mysqlDialect) commit(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "COMMIT"); err != nil {
		_ = tx.Rollback() // the connection is gone
		return err
	}
	return tx.Commit()
}

const mysqlColumns = `
SELECT column_name, data_type, column_type, is_nullable = 'YES', column_default IS NOT NULL, extra,
       COALESCE(character_maximum_length, 0), COALESCE(character_octet_length, 0),
       COALESCE(character_set_name, ''), COALESCE(collation_name, ''), COALESCE(datetime_precision, 0)
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = ?`

func (mysqlDialect) columns(ctx context.Context, q querier, table string) (columns, error) {
	rows, err := q.QueryContext(ctx, mysqlColumns, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := columns{}
	for rows.Next() {
		var c column
		var name, definition, extra, collation string
		err := rows.Scan(&name, &c.kind, &definition, &c.nullable, &c.hasDefault, &extra,
			&c.chars, &c.octets, &c.charset, &collation, &c.precision)
		if err != nil {
			return nil, err
		}
		c.kind = strings.ToLower(c.kind)
		c.unsigned = strings.Contains(definition, "unsigned")
		c.hasDefault = c.hasDefault || strings.Contains(extra, "auto_increment") || strings.Contains(extra, "GENERATED")
		c.definition = definition
		if c.charset != "" {
			c.definition += " CHARACTER SET " + c.charset + " COLLATE " + collation
		}
		found[strings.ToLower(name)] = c
	}
	return found, rows.Err()
}

func (mysqlDialect) packet(ctx context.Context, q querier) (int, error) {
	var n int
	err := q.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&n)
	return n, err
}

func (mysqlDialect) insert(table, key string, lenient bool) (before, behind string) {
	if lenient {
		return "INSERT IGNORE INTO " + table, ""
	}
	return "INSERT INTO " + table, " ON DUPLICATE KEY UPDATE " + key + " = " + key
}

// insertTags puts all into the statement. The driver would do the same with
// arguments, at several times the cost.
func (m mysqlDialect) insertTags(text []byte, rows []*row) (statement string, args []any) {
	before, behind := m.insert("ttp_tag", "uuid", true)
	size := len(before) + len(tagColumnList) + len(behind)
	for _, r := range rows {
		size += r.size() + 1
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(before)
	b.WriteString(tagColumnList)
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(text[r.from:r.to])
	}
	b.WriteString(behind)
	return b.String(), nil
}

// bind puts the texts into the statement, for the same reason.
func (mysqlDialect) bind(statement string, texts ...string) (string, []any) {
	size := len(statement)
	for _, s := range texts {
		size += len(s) + len(s)/4 // a quarter of JSON, at the most, are quotes
	}
	dst := make([]byte, 0, size)
	for _, s := range texts {
		before, rest, _ := strings.Cut(statement, "?")
		dst = appendLiteral(append(dst, before...), s)
		statement = rest
	}
	return ttp.AsText(append(dst, statement...)), nil
}

// alongTime is nothing: the server looks how many rows a range has.
func (mysqlDialect) alongTime() string { return "" }

// harmless are warnings that are about the statement, not about a row.
var harmless = map[uint16]bool{
	1287: true, // deprecated syntax
	1592: true, // unsafe for statement-based replication
	1681: true, // deprecated
}

// warnings must be the next statement after the insert. It does not ask how many
// there are before: SELECT @@warning_count empties the list it counts on MySQL 9,
// and not every server knows SHOW COUNT(*) WARNINGS.
func (mysqlDialect) warnings(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	defer rows.Close()
	var worst *mysql.MySQLError
	for rows.Next() {
		var level string
		w := &mysql.MySQLError{}
		if err := rows.Scan(&level, &w.Number, &w.Message); err != nil {
			return err
		}
		if !harmless[w.Number] && (worst == nil || w.Number == 1062) {
			worst = w
		}
	}
	if worst == nil {
		return rows.Err()
	}
	return worst
}
