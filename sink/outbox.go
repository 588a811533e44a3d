package sink

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

// announcements returns what each element of the batch gained.
func (w *writing) announcements(fresh []row) []ttp.Announcement {
	isFresh := make(map[string]int, len(fresh))
	for i := range fresh {
		isFresh[fresh[i].tag.UUID] = fresh[i].arrived
	}
	var list []ttp.Announcement
	for i, arrived := range w.batch {
		var tags []ttp.Tag
		for _, tag := range arrived.Tags {
			if of, ok := isFresh[tag.UUID]; ok && of == i {
				tags = append(tags, tag)
				delete(isFresh, tag.UUID) // an element may name a tag twice
			}
		}
		if len(tags) > 0 {
			arrived.Tags = tags
			list = append(list, ttp.Announcement{ID: announcementID(tags), Tagged: arrived})
		}
	}
	return list
}

// announcementID is the same for the same tags in any order.
func announcementID(tags []ttp.Tag) string {
	uuids := make([]string, len(tags))
	for i := range tags {
		uuids[i] = tags[i].UUID
	}
	slices.Sort(uuids)
	sum := sha256.Sum256([]byte(strings.Join(uuids, " ")))
	return hex.EncodeToString(sum[:])
}

// enqueue writes announcements to the outbox.
func (w *writing) enqueue(ctx context.Context, tx *sql.Tx, list []ttp.Announcement) error {
	before, behind := w.dialect.insert("ttp_outbox", "id", false)
	limit := maxBytes
	if w.packet > 0 {
		limit = min(limit, w.packet/2)
	}
	for len(list) > 0 {
		var args []any
		size, n := 0, 0
		for n < len(list) && n < maxRows {
			payload, err := json.Marshal(list[n].Tagged)
			if err != nil {
				return fmt.Errorf("write announcement: %w", err)
			}
			size += 2 * len(payload) // quotes and backslashes are doubled
			if n > 0 && size > limit {
				break
			}
			args = append(args, list[n].ID, string(payload), w.now)
			n++
		}
		query := before + " (id, payload, created_at) VALUES " + strings.Repeat("(?, ?, ?), ", n-1) + "(?, ?, ?)" + behind
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// Announced removes announcements that have been published from the outbox.
func (d *DB) Announced(ctx context.Context, ids []string) error {
	for chunk := range slices.Chunk(ids, maxRows) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		if _, err := d.write.ExecContext(ctx, "DELETE FROM ttp_outbox WHERE id IN ("+marks(len(args))+")", args...); err != nil {
			return fmt.Errorf("empty the outbox: %w", err)
		}
	}
	return nil
}

// Unannounced returns at most limit announcements that are older than age,
// the oldest first. One that cannot be read is logged and left out.
func (d *DB) Unannounced(ctx context.Context, age time.Duration, limit int) ([]ttp.Announcement, error) {
	var list []ttp.Announcement
	before := timeText(d.now().Add(-age), 6)
	err := each(ctx, d.read, "SELECT id, payload FROM ttp_outbox WHERE created_at <= ? ORDER BY created_at, id LIMIT ?", []any{before, limit},
		func(scan func(...any) error) error {
			var a ttp.Announcement
			var payload string
			if err := scan(&a.ID, &payload); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(payload), &a.Tagged); err != nil {
				d.log.Error("announcement in ttp_outbox cannot be read; remove its row", zap.Error(err), zap.String("id", a.ID))
				return nil
			}
			list = append(list, a)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return list, nil
}

// OutboxStats returns how many announcements wait and the age of the oldest.
func (d *DB) OutboxStats(ctx context.Context) (rows int64, oldest time.Duration, err error) {
	var first sql.NullString
	err = d.read.QueryRowContext(ctx, "SELECT COUNT(*), CAST(MIN(created_at) AS CHAR) FROM ttp_outbox").Scan(&rows, &first)
	if err != nil {
		return 0, 0, fmt.Errorf("look at the outbox: %w", err)
	}
	if at, ok := parseTime(first.String); ok {
		oldest = max(0, d.now().Sub(at))
	}
	return rows, oldest, nil
}

// parseTime reads a time as the databases write it, in UTC.
func parseTime(text string) (time.Time, bool) {
	at, err := time.Parse("2006-01-02 15:04:05.999999", text)
	return at, err == nil
}
