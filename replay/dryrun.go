package replay

import (
	"context"
	"encoding/binary"
	"encoding/hex"

	"ttp-worker/ttp"
)

// look counts what a batch would add.
func (r *Replay) look(ctx context.Context, b *batch, counts Counts) error {
	var uuids []string // met for the first time
	var written ttp.Written
	for i := range b.found {
		f := &b.found[i]
		if !f.anchored(&counts) {
			continue
		}
		e, id := &f.event.Event, &f.finding
		uuid := ttp.TagUUID(e.Kind, e.SourceID, id.RuleID, id.RuleVersion, id.Technique, id.SubTechnique)
		if r.seen.add(uuid) {
			uuids = append(uuids, uuid)
		} else {
			written.Duplicates++
		}
	}
	written.Inserted = len(uuids)
	if r.Store != nil && len(uuids) > 0 {
		var there map[string]bool
		err := r.insist(ctx, func(ctx context.Context) (err error) {
			there, err = r.Store.Stored(ctx, uuids)
			return err
		})
		if err != nil {
			return err
		}
		written.Duplicates += len(there)
		written.Inserted -= len(there)
	}
	r.state = r.after(b, counts, written)
	return nil
}

// seen are the tags that a dry run has met, so that one that comes again counts
// once. It is a hash table without links, a sixth of what a map would take. It
// is bounded: beyond that, those that come again count as new again.
type seen struct {
	keys []uint64 // 0: free; the length is a power of two
	used int
}

// The smallest and the largest table, in keys of 8 bytes.
const (
	minSeen = 1 << 12
	maxSeen = 1 << 23
)

// add reports whether the tag is met for the first time. It tells tags apart
// by half of their uuids, which are hashes.
func (s *seen) add(uuid string) bool {
	if len(uuid) != 36 {
		return true
	}
	var half [8]byte
	if _, err := hex.Decode(half[:4], []byte(uuid[:8])); err != nil {
		return true
	}
	if _, err := hex.Decode(half[4:], []byte(uuid[28:])); err != nil {
		return true
	}
	key := binary.BigEndian.Uint64(half[:])
	if 4*(s.used+1) > 3*len(s.keys) {
		if len(s.keys) == maxSeen {
			return !s.has(key)
		}
		s.grow()
	}
	return s.put(key)
}

// slot returns where key is, or would be.
func (s *seen) slot(key uint64) *uint64 {
	mask := uint64(len(s.keys) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		if s.keys[i] == key || s.keys[i] == 0 {
			return &s.keys[i]
		}
	}
}

func (s *seen) has(key uint64) bool { return *s.slot(key) == key }

func (s *seen) put(key uint64) (added bool) {
	place := s.slot(key)
	if *place == key {
		return false
	}
	*place = key
	s.used++
	return true
}

func (s *seen) grow() {
	old := s.keys
	s.keys, s.used = make([]uint64, max(2*len(old), minSeen)), 0
	for _, key := range old {
		if key != 0 {
			s.put(key)
		}
	}
}
