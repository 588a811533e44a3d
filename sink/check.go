package sink

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Report takes one thing that was looked at and what was found; err is nil if
// it is as it should be.
type Report func(what, found string, err error)

// checkWithin is how long one look at the database may take.
const checkWithin = 5 * time.Second

// Check looks at everything that the worker uses of the database and reports
// each thing. It changes nothing. It returns early if the database can't be
// reached.
func (d *DB) Check(ctx context.Context, report Report) {
	ctx, cancel := context.WithTimeout(ctx, 6*checkWithin)
	defer cancel()
	asked := time.Now()
	found, at, err := d.dialect.version(ctx, d.read)
	report("database", found, err)
	if err != nil {
		return
	}
	checkClock(asked, at, report)
	d.checkSchema(ctx, report)
	for _, r := range rightsNeeded {
		d.checkRight(ctx, r, report)
	}
	d.dialect.advise(ctx, d.read, report)
}

// checkSchema compares the migrations that were made with those we have. It
// does not ask the library, which makes its table in order to answer.
func (d *DB) checkSchema(ctx context.Context, report Report) {
	provider, err := d.provider()
	if err != nil {
		report("schema", "", err)
		return
	}
	sources := provider.ListSources()
	latest := sources[len(sources)-1].Version
	var done int64
	err = d.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable+" WHERE is_applied = 1").Scan(&done)
	if classify(err) == classSchema {
		err = nil // there is no such table yet
	}
	if err == nil && done < latest {
		err = fmt.Errorf("at version %d of %d: run `ttp-worker migrate`, or run with --migrate", done, latest)
	}
	report("schema", fmt.Sprintf("at version %d, this program knows %d", done, latest), err)
}

// maxSkew is how far the database's clock may be from ours: the age of what is
// in the outbox is measured from the one to the other.
const maxSkew = 5 * time.Second

// checkClock reports how far the server's clock is off, which said now in
// answer to a question asked at our time asked.
func checkClock(asked, now time.Time, report Report) {
	off := now.Sub(asked.Add(time.Since(asked) / 2))
	var err error
	if off > maxSkew || off < -maxSkew {
		err = errors.New("the clocks are apart: let both hosts take the time from NTP")
	}
	report("clock of the database", fmt.Sprintf("%s off ours", off.Round(time.Millisecond)), err)
}

// right is something that the worker does to a table, done to no row of it.
type right struct {
	what  string
	table string
	query string
	read  bool
}

// rightsNeeded are checked by the server before it looks for rows.
var rightsNeeded = []right{
	{"read attackers", "attackers", "SELECT uuid FROM attackers WHERE 1 = 0", true},
	{"read attacker_identities", "attacker_identities", "SELECT uuid FROM attacker_identities WHERE 1 = 0", true},
	{"read ttp_tag", "ttp_tag", "SELECT uuid FROM ttp_tag WHERE 1 = 0", true},
	{"insert into ttp_tag", "ttp_tag", "INSERT INTO ttp_tag SELECT * FROM ttp_tag WHERE 1 = 0", false},
	{"read ttp_outbox", "ttp_outbox", "SELECT id FROM ttp_outbox WHERE 1 = 0", true},
	{"insert into ttp_outbox", "ttp_outbox", "INSERT INTO ttp_outbox SELECT * FROM ttp_outbox WHERE 1 = 0", false},
	{"delete from ttp_outbox", "ttp_outbox", "DELETE FROM ttp_outbox WHERE 1 = 0", false},
}

func (d *DB) checkRight(ctx context.Context, r right, report Report) {
	pool := d.write
	if r.read {
		pool = d.read
	}
	if _, err := pool.ExecContext(ctx, r.query); err != nil {
		report(r.what, "", err)
		return
	}
	report(r.what, "allowed", nil)
}

func (mysqlDialect) version(ctx context.Context, q querier) (text string, at time.Time, err error) {
	var now string
	if err = q.QueryRowContext(ctx, "SELECT VERSION(), CAST(UTC_TIMESTAMP(6) AS CHAR)").Scan(&text, &now); err != nil {
		return "", at, fmt.Errorf("reach the database: %w", err)
	}
	at, _ = parseTime(now)
	return "version " + text, at, nil
}

func (sqliteDialect) version(ctx context.Context, q querier) (text string, at time.Time, err error) {
	if err := q.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&text); err != nil {
		return "", at, fmt.Errorf("open the database: %w", err)
	}
	return "SQLite " + text, time.Now(), nil
}

// indexSize is what lies between storing from memory and storing from disk:
// uuids are spread over the whole index.
const indexSize = `SELECT COALESCE(SUM(data_length + index_length), 0), @@innodb_buffer_pool_size
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('ttp_tag', 'ttp_outbox')`

func (mysqlDialect) advise(ctx context.Context, q querier, report Report) {
	var tables, pool int64
	if err := q.QueryRowContext(ctx, indexSize).Scan(&tables, &pool); err != nil {
		report("buffer pool", "", err)
		return
	}
	found := fmt.Sprintf("%d MiB, the tables take %d MiB", pool>>20, tables>>20)
	if tables > pool {
		found += ": storing reads from disk; a larger innodb_buffer_pool_size makes it several times faster"
	}
	report("buffer pool", found, nil)
}

func (sqliteDialect) advise(context.Context, querier, Report) {}
