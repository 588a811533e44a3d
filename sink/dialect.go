package sink

import (
	"context"
	"database/sql"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// dialect is what MySQL and SQLite say in different words.
type dialect interface {
	// migrations returns what makes the schema.
	migrations() (goose.Dialect, fs.FS, []goose.ProviderOption)

	// isolation is the level of the transactions that write.
	isolation() sql.IsolationLevel

	// commit ends tx. It gives up when ctx ends, as far as the database lets it.
	commit(ctx context.Context, tx *sql.Tx) error

	// columns reads the columns of a table; there are none if it is absent.
	columns(ctx context.Context, q querier, table string) (columns, error)

	// packet is the length in bytes of the longest statement the server
	// takes, 0 if there is no limit.
	packet(ctx context.Context, q querier) (int, error)

	// version returns what the server is and its time.
	version(ctx context.Context, q querier) (text string, at time.Time, err error)

	// advise reports what the operator could make better.
	advise(ctx context.Context, q querier, report Report)

	// insert returns what stands before and behind the rows of an insert
	// that passes over rows whose key is there already. Where lenient, the
	// server may pass over or change rows for other reasons, and warnings
	// must be asked for.
	insert(table, key string, lenient bool) (before, behind string)

	// insertTags returns the statement that inserts rows into ttp_tag, as
	// insert says, leniently. text is what the rows were written into.
	insertTags(text []byte, rows []*row) (statement string, args []any)

	// bind returns statement with texts for its question marks.
	bind(statement string, texts ...string) (string, []any)

	// alongTime follows a table in a query whose rows are to be found by
	// created_at, if the planner has to be told.
	alongTime() string

	// warnings returns what the last insert of tx did beyond storing rows,
	// as the error it would have been without leniency.
	warnings(ctx context.Context, tx *sql.Tx) error
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
