package sink_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// noon is when the questions about days gone by are asked.
var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// newHistory is a world whose tags are spread over eight days.
func newHistory() *world {
	w := newWorld()
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range w.tags {
		w.tags[i].CreatedAt = noon.Add(-time.Duration(rng.IntN(8*24*3600)) * time.Second)
	}
	return w
}

var historyFilters = map[string]ttp.Filter{
	"all":               {},
	"from a confidence": {MinConfidence: 0.7},
	"a tactic":          {Tactic: "TA0002"},
	"a decky":           {Decky: "web"},
	"half a day on":     {Since: noon.Add(-84 * time.Hour)},
	"from midnight":     {Since: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)},
	"until a time":      {Until: noon.Add(-30 * time.Hour)},
	"until midnight":    {Until: time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)},
	"within a day":      {Since: noon.Add(-50 * time.Hour), Until: noon.Add(-49 * time.Hour)},
	"all at once":       {Since: noon.Add(-150 * time.Hour), Until: noon.Add(-20 * time.Hour), MinConfidence: 0.7, Decky: "db", Tactic: "TA0007"},
	"before all":        {Until: noon.AddDate(-1, 0, 0)},
	"the future":        {Since: noon.AddDate(1, 0, 0)},
}

// sameFleet compares the rollups of the whole fleet with the tags.
func sameFleet(t *testing.T, db *sink.DB, w *world, when string, filters map[string]ttp.Filter) {
	t.Helper()
	for name, f := range filters {
		got, err := db.Rollups(t.Context(), ttp.Scope{}, f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := rollupsDiffer(w.rollups(ttp.Scope{}, f), got); diff != "" {
			t.Errorf("%s, %s:\n%s", when, name, diff)
		}
	}
}

// wholeDays are the filters that cut no day in two: what they ask of days gone by
// is remembered.
func wholeDays() map[string]ttp.Filter {
	whole := maps.Clone(historyFilters)
	maps.DeleteFunc(whole, func(_ string, f ttp.Filter) bool {
		return f.Since.Hour() != 0 || f.Until.Hour() != 0
	})
	return whole
}

// onHistory runs test on each database with a history in it, at noon.
func onHistory(t *testing.T, test func(t *testing.T, db *sink.DB, w *world)) {
	t.Helper()
	onEach(t, func(t *testing.T, db *sink.DB) {
		w := newHistory()
		w.store(t, db)
		sink.SetNow(db, noon)
		test(t, db, w)
	})
}

// takeAway removes tags from the table, behind the back of what is remembered.
func takeAway(t *testing.T, db *sink.DB, which string) {
	t.Helper()
	if err := sink.Exec(t.Context(), db, "DELETE FROM ttp_tag WHERE "+which); err != nil {
		t.Fatal(err)
	}
}

// daysGoneBy are the tags of days gone by, without those of the first day.
const daysGoneBy = "created_at >= '2026-05-02' AND created_at < '2026-05-09'"

// TestRollups_ofTheFleetAreRememberedByDays takes the tags of days gone by
// away, all but the first and the last, and asks again.
func TestRollups_ofTheFleetAreRememberedByDays(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, w *world) {
		sink.RememberAll(db)
		sameFleet(t, db, w, "first", historyFilters)
		takeAway(t, db, daysGoneBy)
		sameFleet(t, db, w, "again", wholeDays())
	})
}

// TestCountDays_remembersThem takes the tags of days gone by
// away, all but the first and the last, once they are counted.
func TestCountDays_remembersThem(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, w *world) {
		sink.RememberAll(db)
		if err := db.CountDays(t.Context()); err != nil {
			t.Fatal(err)
		}
		takeAway(t, db, daysGoneBy)
		sameFleet(t, db, w, "without the rows", wholeDays())
	})
}

func TestRollups_ofTheFleetShowWhatIsStoredNow(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, w *world) {
		sink.RememberAll(db)
		sameFleet(t, db, w, "before", historyFilters)
		again := newWorld()
		again.tags = again.tags[:40]
		for i := range again.tags {
			again.tags[i].SourceID += "again"
			tag := &again.tags[i]
			tag.UUID = ttp.TagUUID(tag.SourceKind, tag.SourceID, tag.RuleID, tag.RuleVersion, tag.Technique, tag.SubTechnique)
			again.tags[i].CreatedAt = noon.Add(time.Duration(i) * time.Second)
		}
		again.storeTags(t, db)
		w.tags = append(w.tags, again.tags...)
		sink.SetNow(db, noon.Add(time.Minute))
		sameFleet(t, db, w, "after", historyFilters)
		sink.SetNow(db, noon.Add(20*time.Hour)) // today has become a day gone by
		sameFleet(t, db, w, "the next day", historyFilters)
	})
}

func TestRollups_ofTheFleetNoticeWhatWasDeleted(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, w *world) {
		sink.RememberAll(db)
		sameFleet(t, db, w, "before", historyFilters)
		takeAway(t, db, "technique_id = 'T1078'")
		w.tags = slices.DeleteFunc(w.tags, func(tag ttp.StoredTag) bool { return tag.Technique == "T1078" })
		sink.SetNow(db, noon.Add(90*time.Minute))
		for range 9 { // a day with each question
			if _, err := db.Rollups(t.Context(), ttp.Scope{}, ttp.Filter{}); err != nil {
				t.Fatal(err)
			}
		}
		sameFleet(t, db, w, "after", historyFilters)
	})
}

// Where there is little to save nothing is remembered: whoever writes to the
// table by hand sees it at once.
func TestRollups_ofTheFleetReadDaysWithFewTags(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, w *world) {
		sameFleet(t, db, w, "before", historyFilters)
		takeAway(t, db, "technique_id = 'T1078'")
		w.tags = slices.DeleteFunc(w.tags, func(tag ttp.StoredTag) bool { return tag.Technique == "T1078" })
		sameFleet(t, db, w, "after", historyFilters)
	})
}

func TestRollups_ofTheFleetWaitForNobodyForEver(t *testing.T) {
	onHistory(t, func(t *testing.T, db *sink.DB, _ *world) {
		release := sink.HoldFleet(db)
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := db.Rollups(ctx, ttp.Scope{}, ttp.Filter{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want that the time is over", err)
		}
	})
}
