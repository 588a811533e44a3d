package rule

import (
	"encoding/binary"
	"slices"
	"sync"

	"ttp-worker/ttp"
)

// maxMemoKey bounds the size of an event that is remembered, in bytes.
const maxMemoKey = 2 << 10

// memo remembers what was found in an event, by all that the rules read of it.
// It holds two generations: when the recent one is full it becomes the old
// one, and what has not been asked for since is forgotten with the one before.
type memo[V any] struct {
	names map[string]uint64 // the payload members that the rules read
	limit int               // of one generation

	mu     sync.Mutex // guards the two below
	recent map[string][]V
	old    map[string][]V
}

// newMemo returns nil where nothing is to be remembered: by choice, or since a
// rule reads all of the payload, ids included.
func newMemo[V any](entries int, read []field) *memo[V] {
	if entries < 2 {
		return nil
	}
	m := &memo[V]{names: make(map[string]uint64), limit: entries / 2, recent: make(map[string][]V)}
	for i := range read {
		if read[i].uses == nil {
			return nil
		}
		for _, name := range read[i].uses {
			if _, ok := m.names[name]; !ok {
				m.names[name] = uint64(len(m.names))
			}
		}
	}
	return m
}

// appendKey appends the key of an event. ok is false if it is too long.
func (m *memo[V]) appendKey(dst []byte, payload ttp.Object) (key []byte, ok bool) {
	for i := range payload {
		id, used := m.names[payload[i].Name]
		if !used {
			continue
		}
		if len(dst)+len(payload[i].Value) > maxMemoKey {
			return dst, false
		}
		dst = binary.AppendUvarint(dst, id)
		dst = binary.AppendUvarint(dst, uint64(len(payload[i].Value)))
		dst = append(dst, payload[i].Value...)
	}
	return dst, true
}

// get appends what is remembered to dst.
func (m *memo[V]) get(dst []V, key []byte) (all []V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.recent[string(key)]; ok {
		return append(dst, found...), true
	}
	found, ok := m.old[string(key)]
	if ok {
		m.enter(string(key), found)
	}
	return append(dst, found...), ok
}

// put remembers a copy of found.
func (m *memo[V]) put(key []byte, found []V) {
	found = slices.Clone(found)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enter(string(key), found)
}

func (m *memo[V]) enter(key string, found []V) {
	if len(m.recent) >= m.limit {
		m.old, m.recent = m.recent, make(map[string][]V)
	}
	m.recent[key] = found
}
