package sink_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// TestAnnounced_atOnceFromManySides removes the same rows, in different orders,
// as lanes and the sweepers of several workers do, while others are written.
func TestAnnounced_atOnceFromManySides(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		var outbox []string
		for i := range 40 {
			for _, a := range write(t, db, tagged(fmt.Sprintf("e%d", i), 1)).Fresh {
				outbox = append(outbox, a.Outbox)
			}
		}
		var all sync.WaitGroup
		for side := range 4 {
			all.Go(func() {
				for round := 0; len(outbox) > 10*round; round++ {
					ids := slices.Clone(outbox[10*round : min(10*round+20, len(outbox))])
					rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
					if err := db.Announced(t.Context(), ids); err != nil {
						t.Error(err)
					}
					if _, err := db.Write(t.Context(), []ttp.Tagged{tagged(fmt.Sprintf("s%d-%d", side, round), 2)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		left, err := db.Unannounced(t.Context(), -time.Minute, 1000)
		if err != nil || slices.ContainsFunc(left, func(a ttp.Announcement) bool { return slices.Contains(outbox, a.Outbox) }) {
			t.Errorf("rows left that were announced: %d, %v", len(left), err)
		}
	})
}
