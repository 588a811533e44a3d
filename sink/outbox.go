package sink

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
func (w *writing) announcements(fresh []*row) []ttp.Announcement {
	for i := range w.arrived {
		w.arrived[i].fresh = false
	}
	for _, r := range fresh {
		r.fresh = true
	}
	list := make([]ttp.Announcement, 0, len(w.batch))
	for rest := w.arrived; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].arrived == rest[0].arrived {
			n++
		}
		for gained := rest[:n]; len(gained) > 0; {
			var tags []ttp.Tag
			if tags, gained = announceable(gained, w.batch[rest[0].arrived].Tags); len(tags) > 0 {
				a := ttp.Announcement{Tagged: w.batch[rest[0].arrived]}
				a.Tags = tags
				a.ID = announcementID(a.Tags)
				list = append(list, a)
			}
		}
		rest = rest[n:]
	}
	return list
}

// announceable takes the fresh tags of as many rows as one announcement may
// have; all are the tags of those that arrived together.
func announceable(rows []row, all []ttp.Tag) (tags []ttp.Tag, rest []row) {
	size, fresh := 0, 0
	for i := range rows {
		if size += rows[i].size(); rows[i].fresh {
			fresh++
		}
	}
	if fresh == len(all) && size <= maxAnnouncement {
		return all, nil
	}
	tags, size = make([]ttp.Tag, 0, len(rows)), 0
	for i := range rows {
		r := &rows[i]
		if !r.fresh {
			continue
		}
		if size += r.size(); size > maxAnnouncement && len(tags) > 0 {
			return tags, rows[i:]
		}
		tags = append(tags, *r.tag)
	}
	return tags, nil
}

// announcementID is the same for the same tags in any order.
func announcementID(tags []ttp.Tag) string {
	var few [8]string // most have as few, and stay off the heap
	uuids := few[:0]
	for i := range tags {
		uuids = append(uuids, tags[i].UUID)
	}
	slices.Sort(uuids)
	text := make([]byte, 0, 512)
	for i, uuid := range uuids {
		if i > 0 {
			text = append(text, ' ')
		}
		text = append(text, uuid...)
	}
	sum := sha256.Sum256(text)
	return string(hex.AppendEncode(text[:0], sum[:]))
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
		statement, args := w.dialect.bind(before+" (id, payload, created_at) VALUES (?, ?, ?)"+behind, id, payload, w.now)
		if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
			return fmt.Errorf("write announcements: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// letterSize is about what an announcement takes in the outbox.
const letterSize = 384

// letter makes the payload of an outbox row, a JSON array, of the first n of
// list, at least one. The tags are there by their uuids only: they stand in
// the table, which is read if the row ever is.
func (w *writing) letter(list []ttp.Announcement) (n int, payload string) {
	b := append(make([]byte, 0, min(len(list)*letterSize, w.letterLimit())), '[')
	for n < len(list) {
		end := len(b)
		if n > 0 {
			b = append(b, ',')
		}
		if b = list[n].AppendEntry(b); n > 0 && len(b) > w.letterLimit() {
			b = b[:end]
			break
		}
		n++
	}
	return n, ttp.AsText(append(b, ']'))
}

// letterLimit leaves room for quotes, which a statement escapes, and for a last
// announcement of the largest size.
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
	for chunk := range slices.Chunk(ids, maxRows) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		if err := d.remove(ctx, "DELETE FROM ttp_outbox WHERE id IN ("+marks(len(args))+")", args); err != nil { // #nosec G202 -- only marks
			return fmt.Errorf("empty the outbox: %w", err)
		}
	}
	return nil
}

// remove runs one statement, which is a transaction of its own.
func (d *DB) remove(ctx context.Context, statement string, args []any) error {
	for attempt := 1; ; attempt++ {
		_, err := d.write.ExecContext(ctx, statement, args...)
		if classify(err) != classConflict || attempt == maxConflicts || ctx.Err() != nil {
			return err
		}
	}
}

// Unannounced returns the announcements of at most limit rows of the outbox
// that are older than age, the oldest first. A row that cannot be read is logged
// and left out. Of an announcement whose tags have been deleted since, as those
// of an attacker that was, what is left is returned, without tags if need be.
func (d *DB) Unannounced(ctx context.Context, age time.Duration, limit int) ([]ttp.Announcement, error) {
	list, err := d.letters(ctx, age, limit)
	if err == nil {
		err = d.complete(ctx, list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return list, nil
}

// letters reads rows of the outbox.
func (d *DB) letters(ctx context.Context, age time.Duration, limit int) (list []ttp.Announcement, err error) {
	before := timeText(d.now().Add(-age), 6)
	err = each(ctx, d.read, "SELECT id, payload FROM ttp_outbox WHERE created_at <= ? ORDER BY created_at, id LIMIT ?", []any{before, limit},
		func(scan func(...any) error) error {
			var id, payload string
			if err := scan(&id, &payload); err != nil {
				return err
			}
			var letter []letterEntry
			if err := json.Unmarshal([]byte(payload), &letter); err != nil {
				d.log.Error("announcements in ttp_outbox cannot be read; remove their row", zap.Error(err), zap.String("id", id))
				return nil
			}
			for _, e := range letter {
				list = append(list, ttp.Announcement{ID: announcementID(e.tagged.Tags), Outbox: id, Tagged: e.tagged})
			}
			return nil
		})
	return list, err
}

// letterEntry is one announcement in the outbox. The tags have their uuid and
// nothing else, not even a claim, unless an earlier version of this program wrote
// them whole.
type letterEntry struct{ tagged ttp.Tagged }

// UnmarshalJSON implements [json.Unmarshaler].
func (e *letterEntry) UnmarshalJSON(data []byte) error {
	var head struct {
		UUIDs []string `json:"tag_uuids"`
	}
	if err := errors.Join(json.Unmarshal(data, &head), e.tagged.UnmarshalJSON(data)); err != nil || len(e.tagged.Tags) > 0 {
		return err
	}
	for _, uuid := range head.UUIDs {
		e.tagged.Tags = append(e.tagged.Tags, ttp.Tag{UUID: uuid})
	}
	return nil
}

// complete reads the tags of which list has the uuid only.
func (d *DB) complete(ctx context.Context, list []ttp.Announcement) error {
	var at []position
	for i := range list {
		for j := range list[i].Tags {
			if tag := &list[i].Tags[j]; tag.Claim == nil {
				at = append(at, position{key: tag.UUID})
			}
		}
	}
	stored, err := d.tagsAt(ctx, "uuid", at)
	if err != nil {
		return err
	}
	byUUID := make(map[string]*ttp.Tag, len(stored))
	for i := range stored {
		byUUID[stored[i].UUID] = &stored[i].Tag
	}
	for i := range list {
		list[i].Tags = slices.DeleteFunc(list[i].Tags, func(tag ttp.Tag) bool { return tag.Claim == nil && byUUID[tag.UUID] == nil })
		for j := range list[i].Tags {
			if tag := &list[i].Tags[j]; tag.Claim == nil {
				*tag = *byUUID[tag.UUID]
			}
		}
	}
	return nil
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
