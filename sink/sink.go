// Package sink stores tags in MySQL, MariaDB or SQLite so that storing them
// again changes nothing, and knows what the intake must look up there.
//
// The table of the tags may be ours or that of a DECNET database, which is
// used as it stands. What the database would silently change or leave out is
// refused instead, row by row.
package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// defaultMaxOpen is how many connections a DB opens at most. A lane of the
// worker needs one; the rest is for look-ups and for reads over HTTP.
const defaultMaxOpen = 8

// Options are what a DB may be told beside where it is.
type Options struct {
	Announce bool        // write announcements to ttp_outbox; false for a replay
	Log      *zap.Logger // nil: none
	MaxOpen  int         // connections at most; 0 means 8, less than 2 means 2

	// Renew, if set, is asked for the dsn before each connection to MySQL,
	// and its user and password are used; all else stays as it was opened.
	Renew func() (dsn string, err error)
}

// DB is one database. It is safe for concurrent use.
type DB struct {
	dialect  dialect
	write    *sql.DB
	read     *sql.DB // the same as write but on SQLite, where only one may write
	announce bool
	log      *zap.Logger
	now      func() time.Time
	repeats  atomic.Bool // the last batch held tags that were there already
	schema   schema
	fleet    *fleet
}

// Open makes a DB of dsn, mysql://user:pass@host:port/name?option=value or
// sqlite://PATH, and does not connect: a server that is away is not an error
// here, a dsn that says nothing is. The error never quotes the dsn.
//
// What the name, the password or an option of a mysql dsn holds beyond letters
// and digits is percent-encoded. The port is 3306 if there is none; the option
// socket=PATH takes the place of host and port; ssl-ca, ssl-cert and ssl-key
// name PEM files and ask for an encrypted connection. Every other option goes to the
// driver (tls, timeout, readTimeout, …) or, if that has no such one, to the
// server as a session variable, except for those that storing relies on. The
// path of a sqlite dsn is taken as it is.
func Open(dsn string, o Options) (*DB, error) {
	d := &DB{announce: o.Announce, log: o.Log, now: time.Now, fleet: newFleet()}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	maxOpen := o.MaxOpen
	if maxOpen == 0 {
		maxOpen = defaultMaxOpen
	}
	if err := d.open(dsn, max(maxOpen, 2), o.Renew); err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	return d, nil
}

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.write.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// Pool is the state of the connections that write.
type Pool struct {
	Open, InUse, Limit int
	Waited             time.Duration // altogether, for a free connection
}

// Pool returns the state of the connections.
func (d *DB) Pool() Pool {
	s := d.write.Stats()
	return Pool{s.OpenConnections, s.InUse, s.MaxOpenConnections, s.WaitDuration}
}

// Close waits for the statements under way and closes the connections.
func (d *DB) Close() error {
	if d.read == d.write {
		return d.write.Close()
	}
	return errors.Join(d.read.Close(), d.write.Close())
}
