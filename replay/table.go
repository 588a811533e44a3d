package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"time"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// Database is the history in the tables of a DECNET master.
type Database interface {
	// HistoryEnd returns the greatest key of a table, "" if it has no rows,
	// or an error that is [ttp.ErrNoHistory] if there is no such table.
	HistoryEnd(ctx context.Context, table string) (string, error)

	// HistoryPage returns rows behind a key in the order of their keys, and
	// the key that the next page begins behind.
	HistoryPage(ctx context.Context, table, after, end string, limit int) (rows []ttp.Object, last string, err error)

	HistoryCommands(ctx context.Context, uuids []string) (map[string]string, error)
	HistoryLogins(ctx context.Context, addresses, principals []string) (map[[3]string]ttp.LoginCounts, error)
}

// Table is a [Source] of the rows of one table.
type Table struct {
	name   string
	table  string
	column string // of the key
	page   int
	db     Database
	window Window

	// MayLack says that a database without the table is one without rows.
	MayLack bool

	// Complain, if set, is told which rows could not be read.
	Complain func(table, key string, err error)

	// read queues the parts of a page of rows.
	read func(ctx context.Context, t *Table, rows []ttp.Object) error

	queue   []tablePart
	at      tablePlace   // behind the part that was returned last
	resumed tablePlace   // where reading began
	rows    []ttp.Object // attackers whose commands are still to be read
	lists   []storedList // their commands
	after   string       // the key that the next page begins behind
	noted   bool         // that all of the page has been read
	done    bool
}

// tablePart is a part that is to be returned.
type tablePart struct {
	Part
	key     string // of the row that it ends, or is within
	entries int    // of the row's list that were read; 0 at the end of the row
}

// tablePlace is where a table was read to, and how far it is read: rows that
// come meanwhile are not history yet.
type tablePlace struct {
	After string `json:"after"`
	End   string `json:"end"`

	// Of the row with the key Within, so many entries were read.
	Within  string `json:"within,omitempty"`
	Entries int    `json:"entries,omitempty"`
}

// DatabaseSources are the names that [FromDatabase] knows.
var DatabaseSources = []string{"command", "canary", "logs", "credentials"}

// FromDatabase returns the history of one of [DatabaseSources].
func FromDatabase(name string, db Database, window Window) *Table {
	t := &Table{name: name, db: db, window: window, column: "id", page: 500, noted: true}
	switch name {
	case "command":
		t.table, t.column, t.read = "attackers", "uuid", readAttackers
	case "canary":
		t.table, t.column, t.read = "canary_triggers", "uuid", readTriggers
	case "logs":
		t.table, t.read, t.page = "logs", readLogs, 200 // a row may have 128 KiB
	case "credentials":
		t.table, t.read = "credentials", readCredentials
	default:
		panic("no such source: " + name)
	}
	return t
}

// Name implements [Source].
func (t *Table) Name() string { return t.name }

// Resume implements [Source].
func (t *Table) Resume(_ context.Context, place string) error {
	if err := json.Unmarshal([]byte(place), &t.resumed); err != nil {
		return fmt.Errorf("resume: the place in %s cannot be read: %w", t.table, err)
	}
	t.at, t.after = t.resumed, t.resumed.After
	t.done = t.after == t.at.End
	return nil
}

// Next implements [Source].
func (t *Table) Next(ctx context.Context) (part Part, err error) {
	for len(t.queue) == 0 && err == nil {
		switch {
		case len(t.lists) > 0:
			t.nextChunk()
		case len(t.rows) > 0:
			err = t.readCommands(ctx)
		case !t.noted:
			t.queue, t.noted = append(t.queue, tablePart{key: t.after}), true
		case t.done:
			return Part{}, io.EOF
		default:
			err = t.next(ctx)
		}
	}
	if err != nil {
		return Part{}, err
	}
	next := t.queue[0]
	t.queue = t.queue[1:]
	t.at.Within, t.at.Entries = next.key, next.entries
	if next.entries == 0 {
		t.at.Within, t.at.After = "", next.key
	}
	return next.Part, nil
}

// next reads a page.
func (t *Table) next(ctx context.Context) (err error) {
	if t.at.End == "" {
		t.at.End, err = t.db.HistoryEnd(ctx, t.table)
		if t.MayLack && errors.Is(err, ttp.ErrNoHistory) {
			err = nil
		}
		if t.done = t.at.End == ""; err != nil || t.done {
			return err
		}
	}
	rows, last, err := t.db.HistoryPage(ctx, t.table, t.after, t.at.End, t.page)
	if err != nil {
		return err
	}
	t.after = last
	t.done = last == t.at.End
	t.noted = false
	return t.read(ctx, t, rows)
}

// Place implements [Source].
func (t *Table) Place() string {
	if t.at.After == "" && t.at.Within == "" {
		return ""
	}
	text, _ := json.Marshal(t.at) // of strings and a number
	return string(text)
}

// malformed queues what could not be read.
func (t *Table) malformed(row ttp.Object, err error) {
	t.queue = append(t.queue, tablePart{Part{Rows: 1, Malformed: 1}, row.Text(t.column), 0})
	if t.Complain != nil {
		t.Complain(t.table, row.Text(t.column), err)
	}
}

// message queues the message that a row would have been on the bus.
func (t *Table) message(row ttp.Object, subject string, at time.Time, payload ttp.Object) {
	m, err := intake.DecodeEnvelope(subject, ttp.Envelope{At: at, Payload: payload})
	if err != nil {
		t.malformed(row, err)
		return
	}
	t.queue = append(t.queue, tablePart{Part{Message: m, Rows: 1}, row.Text(t.column), 0})
}

// Progress implements [Source]: keys as numbers, the first digits of a uuid
// being as good as random.
func (t *Table) Progress() (done, total int64) {
	if t.at.End == "" {
		return 0, 0
	}
	if t.column == "uuid" {
		return uuidRank(t.at.After), uuidRank(t.at.End)
	}
	done, _ = strconv.ParseInt(t.at.After, 10, 64)
	total, _ = strconv.ParseInt(t.at.End, 10, 64)
	return done, total
}

func uuidRank(uuid string) int64 {
	n, ok := new(big.Int).SetString(uuid[:min(len(uuid), 8)], 16)
	if !ok {
		return 0
	}
	return n.Int64()
}

// Close implements [Source].
func (t *Table) Close() {}

// timeOf reads a column with a time; zero if it has none.
func timeOf(text string) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}

// with adds a member that has a value.
func with(o ttp.Object, name, value string) ttp.Object {
	if value == "" {
		return o
	}
	return append(o, ttp.Member{Name: name, Value: ttp.Quote(value)})
}
