package sink

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ttp-worker/internal/failpoint"
	"ttp-worker/ttp"
)

const (
	// maxRows and maxBytes bound one INSERT: beyond these sizes a statement
	// gains nothing, and it stays far below any server's packet.
	maxRows  = 500
	maxBytes = 1 << 20

	// statementRoom is what a statement needs around its rows, or an
	// announcement around the one tag that it carries.
	statementRoom = 4096

	// maxConflicts is how often a transaction that lost to another is begun anew.
	maxConflicts = 5
)

// Write stores the tags of a batch in one transaction and returns what was new,
// with its announcements in the outbox if the DB announces. Rows the database
// does not take as they are come back as refusals, all others are stored. An
// error means that nothing was stored and is never about a single row; the
// same call may succeed later.
func (d *DB) Write(ctx context.Context, batch []ttp.Tagged) (ttp.Written, error) {
	return d.writeBatch(ctx, batch, nil)
}

// writeBatch is Write. also, if set, runs in the transaction, each time it is
// begun; its error is one of the whole batch.
func (d *DB) writeBatch(ctx context.Context, batch []ttp.Tagged, also func(context.Context, *sql.Tx, ttp.Written) error) (ttp.Written, error) {
	w, err := d.prepare(ctx, batch)
	if err != nil {
		return ttp.Written{}, d.failed(err)
	}
	w.also = also
	fresh, err := w.store(ctx, w.rows)
	for err != nil {
		if !ofRow(err) {
			return ttp.Written{}, d.failed(err)
		}
		if err := w.isolate(ctx, w.rows); err != nil {
			return ttp.Written{}, d.failed(err)
		}
		if len(w.refused) == 0 { // together refused, alone none is: not a row's fault
			return ttp.Written{}, d.failed(err)
		}
		w.drop()
		fresh, err = w.store(ctx, w.rows)
	}
	return w.written(fresh), nil
}

// written sums up. A tag that came twice shares the fate of the first.
func (w *writing) written(fresh []*row) ttp.Written {
	result := w.result
	result.Inserted, result.Duplicates = len(fresh), len(w.rows)-len(fresh)
	if len(w.again) == 0 {
		return result
	}
	result.Refused = slices.Clone(w.result.Refused)
	stored := make(map[string]bool, len(w.rows))
	for _, r := range w.rows {
		stored[r.tag.UUID] = true
	}
	fate := make(map[string]ttp.Refusal)
	for _, r := range result.Refused {
		fate[r.Tag.UUID] = r
	}
	for _, again := range w.again {
		if stored[again.tag.UUID] {
			result.Duplicates++
			continue
		}
		r := fate[again.tag.UUID]
		r.Arrived, r.Tag = again.arrived, *again.tag
		result.Refused = append(result.Refused, r)
	}
	return result
}

// failed notes what an error tells about the schema.
func (d *DB) failed(err error) error {
	if c := classify(err); c == classSchema || c == classConnection {
		d.schema.forget()
	}
	return fmt.Errorf("store tags: %w", err)
}

// writing is one call of Write.
type writing struct {
	*DB
	batch   []ttp.Tagged
	arrived []row           // all, in the order of the batch
	text    []byte          // theirs
	rows    []*row          // those to be stored, by uuid: so they are inserted, and nobody waits for each other
	again   []*row          // those whose uuid is that of one among rows
	refused map[string]bool // uuids, since the last drop
	packet  int
	now     string
	careful bool // ask what is there before inserting
	result  ttp.Written
	also    func(context.Context, *sql.Tx, ttp.Written) error // nil: nothing
}

// rowSize is about how many bytes a row takes in a statement.
const rowSize = 512

// prepare makes the rows and sets those apart that would not be stored as they are.
func (d *DB) prepare(ctx context.Context, batch []ttp.Tagged) (*writing, error) {
	columns, err := d.columns(ctx, "ttp_tag")
	if err != nil {
		return nil, err
	}
	packet, err := d.packet(ctx)
	if err != nil {
		return nil, err
	}
	now, n := d.now(), 0
	for i := range batch {
		n += len(batch[i].Tags)
	}
	w := &writing{
		DB: d, batch: batch, packet: packet, now: timeText(now, 6), careful: d.repeats.Load(), refused: make(map[string]bool),
		arrived: make([]row, 0, n), rows: make([]*row, 0, n), text: make([]byte, 0, n*rowSize),
	}
	table, created := tagTableOf(columns), timeText(now, columns["created_at"].precision)
	for i := range batch {
		for j := range batch[i].Tags {
			w.add(row{arrived: i, tag: &batch[i].Tags[j], created: created}, &table)
		}
	}
	clear(w.refused) // they are not among the rows
	w.sort()
	return w, nil
}

// add makes the text of a row, which is refused if it would not be stored as it is.
func (w *writing) add(r row, table *tagTable) {
	r.from = len(w.text)
	w.text = r.tag.Evidence.AppendJSON(w.text) // for a moment
	r.evidence = asciiJSON(string(w.text[r.from:]))
	w.text = r.appendSQL(w.text[:r.from])
	r.to = len(w.text)
	w.arrived = append(w.arrived, r)
	last := &w.arrived[len(w.arrived)-1]
	if err := last.check(table, w.packet); err != nil {
		w.refuse(last, err)
		return
	}
	w.rows = append(w.rows, last)
}

// sort orders the rows and sets those apart that come again.
func (w *writing) sort() {
	slices.SortStableFunc(w.rows, func(a, b *row) int { return strings.Compare(a.tag.UUID, b.tag.UUID) })
	w.rows = slices.CompactFunc(w.rows, func(first, next *row) bool {
		same := first.tag.UUID == next.tag.UUID
		if same {
			w.again = append(w.again, next)
		}
		return same
	})
}

func (w *writing) refuse(r *row, err error) {
	w.refused[r.tag.UUID] = true
	w.result.Refused = append(w.result.Refused, ttp.Refusal{
		Arrived: r.arrived, Tag: *r.tag, Orphan: classify(err) == classOrphan, Code: codeOf(err), Err: err,
	})
}

// drop takes the rows that were refused out.
func (w *writing) drop() {
	w.rows = slices.DeleteFunc(w.rows, func(r *row) bool { return w.refused[r.tag.UUID] })
	clear(w.refused)
}

func ofRow(err error) bool {
	c := classify(err)
	return c == classRow || c == classOrphan
}

// isolate finds, by halves, the rows that are refused alone. It stores nothing.
func (w *writing) isolate(ctx context.Context, rows []*row) error {
	if len(rows) == 0 {
		return nil
	}
	err := w.try(ctx, rows)
	switch {
	case err == nil:
		return nil
	case !ofRow(err):
		return err
	case len(rows) == 1:
		w.refuse(rows[0], err)
		return nil
	}
	half := len(rows) / 2
	if err := w.isolate(ctx, rows[:half]); err != nil {
		return err
	}
	return w.isolate(ctx, rows[half:])
}

var errTried = errors.New("only tried")

// try inserts rows and rolls back.
func (w *writing) try(ctx context.Context, rows []*row) error {
	err := w.transact(ctx, func(tx *sql.Tx) error {
		if _, err := w.insertFresh(ctx, tx, rows); err != nil {
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		return nil
	}
	return err
}

// store inserts rows and announces what is new, in one transaction.
func (w *writing) store(ctx context.Context, rows []*row) (fresh []*row, err error) {
	w.result.Fresh = nil
	if len(rows) == 0 && w.also == nil {
		return nil, nil
	}
	err = w.transact(ctx, func(tx *sql.Tx) error {
		failpoint.Hit(failpoint.AfterBegin)
		var err error
		if fresh, err = w.insertFresh(ctx, tx, rows); err != nil {
			return err
		}
		if w.also != nil {
			if err := w.also(ctx, tx, w.written(fresh)); err != nil {
				return err
			}
		}
		if !w.announce {
			return nil
		}
		failpoint.Hit(failpoint.AfterInsert)
		w.result.Fresh = w.announcements(fresh)
		err = w.enqueue(ctx, tx, w.result.Fresh)
		failpoint.Hit(failpoint.AfterOutbox)
		return err
	})
	if err == nil {
		failpoint.Hit(failpoint.AfterCommit)
	}
	return fresh, err
}

// transact runs do in a transaction, again if it lost to another one.
func (w *writing) transact(ctx context.Context, do func(*sql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := w.once(ctx, do)
		if classify(err) != classConflict || attempt == maxConflicts || ctx.Err() != nil {
			return err
		}
		w.careful = true
	}
}

func (w *writing) once(ctx context.Context, do func(*sql.Tx) error) error {
	conn, err := w.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: w.dialect.isolation()})
	if err != nil {
		return err
	}
	if err = do(tx); err == nil {
		return w.dialect.commit(ctx, tx)
	}
	_ = tx.Rollback() // err says why; a connection that is gone rolls back by itself
	if classify(err) == classReadOnly {
		// The server was demoted. A new connection may find the new primary.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	return err
}

// insertFresh inserts the rows that are not there and returns them. That all
// of them were inserted unchanged is certain: every warning is an error. As
// most batches hold nothing that is there already, what is there is asked only
// after inserting all has failed, or if it was so with the batch before.
func (w *writing) insertFresh(ctx context.Context, tx *sql.Tx, rows []*row) ([]*row, error) {
	fresh := rows
	if w.careful {
		there, err := w.present(ctx, tx, uuidsOf(rows))
		if err != nil {
			return nil, err
		}
		w.repeats.Store(len(there) > 0)
		fresh = slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return there[r.tag.UUID] })
	}
	for rest := fresh; len(rest) > 0; {
		n := w.fitting(rest)
		if err := w.insertRows(ctx, tx, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return fresh, nil
}

func uuidsOf(rows []*row) []string {
	uuids := make([]string, len(rows))
	for i := range rows {
		uuids[i] = rows[i].tag.UUID
	}
	return uuids
}

// present returns which uuids are in the table.
func (d *DB) present(ctx context.Context, q querier, uuids []string) (map[string]bool, error) {
	there := make(map[string]bool)
	for chunk := range slices.Chunk(uuids, maxRows) {
		args := make([]any, len(chunk))
		for i, uuid := range chunk {
			args[i] = uuid
		}
		err := each(ctx, q, "SELECT uuid FROM ttp_tag WHERE uuid IN ("+marks(len(args))+")", args, func(scan func(...any) error) error {
			var uuid string
			err := scan(&uuid)
			there[strings.ToLower(uuid)] = true // a column that folds case finds other spellings, too
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// fitting is how many of the rows go into one statement, at least one.
func (w *writing) fitting(rows []*row) int {
	limit := maxBytes
	if w.packet > 0 {
		limit = min(limit, w.packet/4)
	}
	size := statementRoom
	for i := range rows {
		size += rows[i].size()
		if i > 0 && (size > limit || i == maxRows) {
			return i
		}
	}
	return len(rows)
}

func (w *writing) insertRows(ctx context.Context, tx *sql.Tx, rows []*row) error {
	statement, args := w.dialect.insertTags(w.text, rows)
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if err := w.dialect.warnings(ctx, tx); err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n != int64(len(rows)) {
		return errRaced
	}
	return err
}

var tagColumnList = " (" + strings.Join(tagColumns, ", ") + ") VALUES "

// marks returns n placeholders.
func marks(n int) string {
	return strings.Repeat("?, ", n-1) + "?"
}

// each calls do for every row that query returns.
func each(ctx context.Context, q querier, query string, args []any, do func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
