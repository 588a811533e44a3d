package replay

import (
	"context"
	"hash/maphash"
	"math/bits"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// look counts what a batch would add.
func (r *Replay) look(ctx context.Context, b *batch, counts Counts) error {
	var uuids []string // met for the first time
	var written ttp.Written
	for i := range b.found {
		f := &b.found[i]
		switch {
		case !f.anchored(&counts):
		case !r.seen.add(f):
			written.Duplicates++
		default:
			written.Inserted++
			if r.Store != nil {
				uuids = append(uuids, f.uuid())
			}
		}
	}
	if len(uuids) > 0 {
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

func (f *found) uuid() string {
	e, id := &f.event.Event, &f.finding
	return ttp.TagUUID(e.Kind, e.SourceID, id.RuleID, id.RuleVersion, id.Technique, id.SubTechnique)
}

// seen are the tags that a dry run has met, so that one that comes again counts
// once. It is a hash table without links, a sixth of what a map would take. It
// is bounded: beyond that, those that come again count as new again.
type seen struct {
	keys []uint64 // 0: free; the length is a power of two
	used int

	event    *intake.Event // that was asked about last; its findings follow each other
	eventKey uint64
}

// The smallest and the largest table, in keys of 8 bytes.
const (
	minSeen = 1 << 12
	maxSeen = 1 << 23
)

// The upper bits of a key are those of the event, so that the tags of one event
// lie side by side; the others are of all that identifies the tag.
const eventBits = 0xffffff << 40

var seed = maphash.MakeSeed()

// keyOf stands for the tag: what enters its uuid enters this, too.
func (s *seen) keyOf(f *found) uint64 {
	e, id := &f.event.Event, &f.finding
	if f.event != s.event {
		s.event, s.eventKey = f.event, blend(maphash.String(seed, string(e.Kind)), e.SourceID)
	}
	tag := blend(blend(blend(s.eventKey, id.RuleID), id.Technique), id.SubTechnique) + uint64(id.RuleVersion)
	return s.eventKey&eventBits | tag&^eventBits
}

// blend makes one hash of a hash and a text.
func blend(h uint64, text string) uint64 {
	const odd = 0x9e3779b97f4a7c15 // so that no two hashes become one
	return h*odd ^ maphash.String(seed, text)
}

// add reports whether the tag is met for the first time.
func (s *seen) add(f *found) bool { return s.addKey(s.keyOf(f)) }

func (s *seen) addKey(key uint64) bool {
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
	for i := key >> bits.LeadingZeros64(mask); ; i = (i + 1) & mask {
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
