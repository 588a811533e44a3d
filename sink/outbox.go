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

// maxAnnouncement bounds the tags of one announcement, in bytes of their rows.
// With what JSON and the envelope add, it stays below the 1 MiB that a message
// may have on a NATS server as it is installed.
const maxAnnouncement = 512 << 10

// announcements returns what each element of the batch gained. One that gained
// more than a message can carry, such as a session of thousands of commands,
// is announced in parts.
func (w *writing) announcements(fresh []row) []ttp.Announcement {
	isFresh := make(map[string]*row, len(fresh))
	for i := range fresh {
		isFresh[fresh[i].tag.UUID] = &fresh[i]
	}
	var list []ttp.Announcement
	for i, arrived := range w.batch {
		var gained []*row
		for _, tag := range arrived.Tags {
			if r := isFresh[tag.UUID]; r != nil && r.arrived == i {
				gained = append(gained, r)
				delete(isFresh, tag.UUID) // an element may name a tag twice
			}
		}
		for len(gained) > 0 {
			arrived.Tags, gained = announceable(gained)
			a := ttp.Announcement{ID: announcementID(arrived.Tags), Tagged: arrived}
			a.Payload = a.AppendJSON(nil)
			list = append(list, a)
		}
	}
	return list
}

// announceable takes as many tags from rows as one announcement may have, at
// least one.
func announceable(rows []*row) (tags []ttp.Tag, rest []*row) {
	size := 0
	for i, r := range rows {
		if size += r.size; i > 0 && size > maxAnnouncement {
			return tags, rows[i:]
		}
		tags = append(tags, r.tag)
	}
	return tags, nil
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

// enqueue writes announcements to the outbox, as many in one row as fit into a
// statement, and notes which row each is in.
func (w *writing) enqueue(ctx context.Context, tx *sql.Tx, list []ttp.Announcement) error {
	before, behind := w.dialect.insert("ttp_outbox", "id", false)
	for len(list) > 0 {
		n, payload := w.letter(list)
		id := letterID(list[:n])
		for i := range list[:n] {
			list[i].Outbox = id
		}
		if _, err := tx.ExecContext(ctx, before+" (id, payload, created_at) VALUES (?, ?, ?)"+behind, id, payload, w.now); err != nil {
			return fmt.Errorf("write announcements: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// letter makes the payload of an outbox row, a JSON array, of the first n of
// list, at least one.
func (w *writing) letter(list []ttp.Announcement) (n int, payload string) {
	var b strings.Builder
	size := 0
	for i := range list {
		size += len(list[i].Payload) + len(list[i].TraceParent) + 20
	}
	b.Grow(min(size, w.letterLimit()) + 1)
	b.WriteByte('[')
	for n < len(list) {
		// Evidence may hold what a sensor sent, in UTF-8; the column is ASCII.
		element := asciiJSON(list[n].Entry(list[n].Payload))
		if n > 0 && b.Len()+len(element) > w.letterLimit() {
			break
		}
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(element)
		n++
	}
	b.WriteByte(']')
	return n, b.String()
}

// letterLimit leaves room for quotes and backslashes, which are doubled in a
// statement, and for a last announcement of the largest size.
func (w *writing) letterLimit() int {
	if w.packet > 0 {
		return min(maxBytes, w.packet/4)
	}
	return maxBytes
}

func letterID(list []ttp.Announcement) string {
	sum := sha256.New()
	for i := range list {
		sum.Write([]byte(list[i].ID))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Announced removes rows from the outbox, all announcements of which have been
// published. Lanes and sweepers of several workers may name the same ones at
// once, so that the rows are locked in one order and a deadlock is tried again.
func (d *DB) Announced(ctx context.Context, outbox []string) error {
	ids := slices.Sorted(slices.Values(outbox))
	w := &writing{DB: d}
	for chunk := range slices.Chunk(ids, maxRows) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		err := w.transact(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM ttp_outbox WHERE id IN ("+marks(len(args))+")", args...) // #nosec G202 -- only marks
			return err
		})
		if err != nil {
			return fmt.Errorf("empty the outbox: %w", err)
		}
	}
	return nil
}

// Unannounced returns the announcements of at most limit rows of the outbox
// that are older than age, the oldest first. A row has at most 1.5 MiB. One
// that cannot be read is logged and left out.
func (d *DB) Unannounced(ctx context.Context, age time.Duration, limit int) ([]ttp.Announcement, error) {
	var list []ttp.Announcement
	before := timeText(d.now().Add(-age), 6)
	err := each(ctx, d.read, "SELECT id, payload FROM ttp_outbox WHERE created_at <= ? ORDER BY created_at, id LIMIT ?", []any{before, limit},
		func(scan func(...any) error) error {
			var id, payload string
			if err := scan(&id, &payload); err != nil {
				return err
			}
			var letter []ttp.Tagged
			if err := json.Unmarshal([]byte(payload), &letter); err != nil {
				d.log.Error("announcements in ttp_outbox cannot be read; remove their row", zap.Error(err), zap.String("id", id))
				return nil
			}
			for _, t := range letter {
				list = append(list, ttp.Announcement{ID: announcementID(t.Tags), Outbox: id, Tagged: t})
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return list, nil
}

// OutboxStats returns how many rows the outbox has, each of them the
// announcements of one batch, and the age of the oldest.
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
