package sink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ttp-worker/ttp"
)

// ErrNotOwner says that a job has been taken over by another process, or that
// its row is gone. Nothing was stored.
var ErrNotOwner = errors.New("another process has taken this replay over")

// Job returns the row of a replay, an empty one if there is none yet.
func (d *DB) Job(ctx context.Context, id string) (ttp.Job, error) {
	job := ttp.Job{ID: id}
	row := d.write.QueryRowContext(ctx, "SELECT owner, beat, state FROM ttp_replay WHERE id = ?", id)
	err := row.Scan(&job.Owner, &job.Beat, &job.State)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return job, fmt.Errorf("look at the replay's row: %w", err)
	}
	return job, nil
}

// ClaimJob gives a job to owner if it is still as found says. With fresh it
// begins anew. It reports whether owner has the job now.
func (d *DB) ClaimJob(ctx context.Context, found ttp.Job, owner string, fresh bool) (bool, error) {
	before, behind := d.dialect.insert("ttp_replay", "id", false)
	now := timeText(d.now(), 6)
	query := before + " (id, owner, beat, state, updated_at) VALUES (?, '', 0, '', ?)" + behind
	if _, err := d.write.ExecContext(ctx, query, found.ID, now); err != nil {
		return false, fmt.Errorf("make the replay's row: %w", err)
	}
	state := found.State
	if fresh {
		state = ""
	}
	n, err := d.changed(ctx, d.write, "UPDATE ttp_replay SET owner = ?, beat = beat + 1, state = ?, updated_at = ? WHERE id = ? AND owner = ? AND beat = ?",
		owner, state, now, found.ID, found.Owner, found.Beat)
	if err != nil {
		return false, fmt.Errorf("claim the replay: %w", err)
	}
	return n == 1, nil
}

// KeepJob tells others that owner still works on the job.
func (d *DB) KeepJob(ctx context.Context, id, owner string) error {
	return d.ownedJob(ctx, d.write, "UPDATE ttp_replay SET beat = beat + 1, updated_at = ? WHERE id = ? AND owner = ?", timeText(d.now(), 6), id, owner)
}

// ReleaseJob gives the job up.
func (d *DB) ReleaseJob(ctx context.Context, id, owner string) error {
	return d.ownedJob(ctx, d.write, "UPDATE ttp_replay SET owner = '', beat = beat + 1, updated_at = ? WHERE id = ? AND owner = ?", timeText(d.now(), 6), id, owner)
}

// WriteJob stores tags as [DB.Write] does and, in the same transaction, how far
// the job has come then: what state returns, which is called with the number of
// tags that are new and may be called again if the transaction is.
func (d *DB) WriteJob(ctx context.Context, id, owner string, batch []ttp.Tagged, state func(ttp.Written) string) (ttp.Written, error) {
	return d.writeBatch(ctx, batch, func(ctx context.Context, tx *sql.Tx, written ttp.Written) error {
		return d.ownedJob(ctx, tx, "UPDATE ttp_replay SET state = ?, beat = beat + 1, updated_at = ? WHERE id = ? AND owner = ?",
			state(written), timeText(d.now(), 6), id, owner)
	})
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (d *DB) ownedJob(ctx context.Context, on execer, query string, args ...any) error {
	n, err := d.changed(ctx, on, query, args...)
	switch {
	case err != nil:
		return fmt.Errorf("note how far the replay has come: %w", err)
	case n == 0:
		return ErrNotOwner
	}
	return nil
}

func (d *DB) changed(ctx context.Context, on execer, query string, args ...any) (int64, error) {
	result, err := on.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Stored returns which of the tags are in the table.
func (d *DB) Stored(ctx context.Context, uuids []string) (map[string]bool, error) {
	there, err := d.present(ctx, d.read, uuids)
	if err != nil {
		return nil, fmt.Errorf("look for stored tags: %w", err)
	}
	return there, nil
}
