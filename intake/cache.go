package intake

import (
	"sync"
	"time"
)

// cache remembers values for a while. It is bounded: when it is full, what
// comes next makes room by pushing out entries at random, expired or not.
type cache[V any] struct {
	max int

	mu      sync.Mutex // guards entries
	entries map[string]cached[V]
}

type cached[V any] struct {
	value   V
	expires time.Time
}

func newCache[V any](max int) *cache[V] {
	return &cache[V]{max: max, entries: make(map[string]cached[V])}
}

func (c *cache[V]) get(key string) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || time.Now().After(e.expires) {
		return value, false
	}
	return e.value, true
}

func (c *cache[V]) put(key string, value V, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.entries[key]; !there && len(c.entries) >= c.max {
		for victim := range c.entries { // the order of a map is random
			delete(c.entries, victim)
			break
		}
	}
	c.entries[key] = cached[V]{value, time.Now().Add(ttl)}
}

func (c *cache[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}
