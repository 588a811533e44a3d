package sink

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// class is what kind of trouble an error is, and so who can help.
type class string

const (
	classNone       class = ""
	classConnection class = "connection" // the server is away or hung up
	classConflict   class = "conflict"   // another transaction was in the way
	classSchema     class = "schema"     // a table or a column is not what it should be
	classAccess     class = "access"     // the server does not let us
	classReadOnly   class = "readonly"   // the server takes no writes
	classFull       class = "full"       // no room
	classRow        class = "row"        // the row itself is refused
	classOrphan     class = "orphan"     // the row that it refers to is not there
	classOther      class = "other"
)

// hints tell the operator what can be done.
var hints = map[class]string{
	classConnection: "check that the database server runs, that host, port and TLS options of --db are right and the certificates valid",
	classConflict:   "nothing if it passes; else look for a long transaction that holds locks on ttp_tag",
	classSchema:     "run `ttp-worker migrate`, and check that --db names the right database",
	classAccess:     "check user and password of --db; the user needs SELECT, INSERT, UPDATE and DELETE on the database, and to migrate CREATE, ALTER, INDEX and REFERENCES",
	classReadOnly:   "point --db at the primary, or make the server (for SQLite: the file and its directory) writable",
	classFull:       "make room on the database's disk",
	classRow:        "look at the dead letter: the row does not fit the table",
	classOrphan:     "nothing if it passes: the attacker's row is written by another program; else see --unknown-attacker",
	classOther:      "look the error's number up in the server's manual",
}

// Explain says by err's code which class of trouble it is, connection,
// conflict, schema, access, readonly, full, row, orphan or other, and what the
// operator can do about it. Both are "" for nil.
func Explain(err error) (class, hint string) {
	c := classify(err)
	return string(c), hints[c]
}

// errRaced says that a row was there after all when it was to be inserted.
var errRaced = errors.New("another writer stored the same tags at the same time")

// classify decides by type and number, never by text.
func classify(err error) class {
	if err == nil {
		return classNone
	}
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok && mysqlClasses[my.Number] != classNone {
		return mysqlClasses[my.Number]
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return sqliteClass(lite.Code())
	}
	if _, ok := errors.AsType[*connectError](err); ok {
		return classConnection
	}
	if errors.Is(err, errRaced) {
		return classConflict
	}
	for _, lost := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, io.EOF, io.ErrUnexpectedEOF, sql.ErrConnDone,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, lost) {
			return classConnection
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return classConnection
	}
	return classOther
}

// connecting marks the errors of its connector. Many of them have no number:
// those of certificates, of the client's own files, of a server without TLS.
type connecting struct{ driver.Connector }

func (c connecting) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, &connectError{err}
	}
	return conn, nil
}

// connectError is one that happened before there was a connection, so that no
// row can be to blame.
type connectError struct{ err error }

func (c *connectError) Error() string { return "connect: " + c.err.Error() }
func (c *connectError) Unwrap() error { return c.err }

// mysqlClasses are the errors of MySQL, MariaDB and TiDB by number. What is
// not in it is retried, as all but rows are.
var mysqlClasses = map[uint16]class{
	1040: classConnection, // too many connections
	1053: classConnection, // server shutdown in progress
	1077: classConnection, // normal shutdown
	1129: classConnection, // host is blocked
	1158: classConnection, // network read error
	1159: classConnection, // network read timeout
	1160: classConnection, // network write error
	1161: classConnection, // network write timeout
	1203: classConnection, // too many user connections
	1226: classConnection, // the user's resources are used up
	1317: classConnection, // query was interrupted
	1927: classConnection, // MariaDB: connection was killed
	2006: classConnection, // server has gone away
	2013: classConnection, // lost connection during query
	3168: classConnection, // server isn't available
	3169: classConnection, // session was killed

	1062: classConflict, // duplicate key: somebody was faster
	1205: classConflict, // lock wait timeout
	1213: classConflict, // deadlock
	1020: classConflict, // MariaDB 11: record has changed since last read
	3572: classConflict, // NOWAIT could not lock
	8022: classConflict, // TiDB: commit failed, retry
	8028: classConflict, // TiDB: schema changed meanwhile
	9007: classConflict, // TiDB: write conflict

	1049: classSchema, // unknown database
	1051: classSchema, // unknown table
	1054: classSchema, // unknown column
	1136: classSchema, // column count doesn't match
	1146: classSchema, // table doesn't exist
	1364: classSchema, // a column of somebody else's has no default
	1665: classSchema, // binlog_format=STATEMENT can't be used

	1044: classAccess, // access denied to database
	1045: classAccess, // access denied for user
	1142: classAccess, // command denied on table
	1143: classAccess, // command denied on column
	1227: classAccess, // a privilege is missing
	1251: classAccess, // authentication protocol
	1698: classAccess, // access denied, no password
	1820: classAccess, // password must be changed
	1862: classAccess, // password has expired
	3118: classAccess, // account is locked
	3159: classAccess, // TLS is required
	4151: classAccess, // MariaDB: account is locked

	1223: classReadOnly, // FLUSH TABLES WITH READ LOCK
	1290: classReadOnly, // --read-only, --super-read-only
	1792: classReadOnly, // read-only transaction
	1836: classReadOnly, // read-only mode

	1021: classFull, // disk full
	1030: classFull, // error from the storage engine, mostly this one
	1037: classFull, // out of memory
	1041: classFull, // out of memory
	1114: classFull, // table is full
	1206: classFull, // lock table is full

	1048: classRow, // column can't be null
	1264: classRow, // out of range
	1265: classRow, // data truncated
	1292: classRow, // incorrect value
	1366: classRow, // incorrect value, of another character set
	1406: classRow, // data too long
	1526: classRow, // no partition for the value
	1690: classRow, // out of range in an expression
	3140: classRow, // invalid JSON
	3141: classRow, // invalid JSON in a parameter
	3144: classRow, // JSON from a binary string
	3157: classRow, // JSON nested too deep
	3819: classRow, // MySQL: a check is violated
	4025: classRow, // MariaDB: a check is violated

	1216: classOrphan, // no parent row
	1452: classOrphan, // no parent row
}

// sqliteClass looks at the extended code, then at the primary one.
func sqliteClass(code int) class {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return classOrphan
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return classConflict
	}
	switch code & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return classRow
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return classConflict
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA:
		return classSchema
	case sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PERM:
		return classAccess
	case sqlite3.SQLITE_READONLY:
		return classReadOnly
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM:
		return classFull
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT:
		return classConnection
	}
	return classOther
}

// codeOf returns the server's number for err, 0 if it is not the server's.
func codeOf(err error) int {
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return int(my.Number)
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code()
	}
	return 0
}
