package sink_test

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

var scopes = map[string]ttp.Scope{
	"fleet":              {},
	"identity":           {By: ttp.ByIdentity, ID: iWinner},
	"merged identity":    {By: ttp.ByIdentity, ID: iMergedTwice},
	"identity alone":     {By: ttp.ByIdentity, ID: iLoose},
	"attacker":           {By: ttp.ByAttacker, ID: uuidOf(12)},
	"campaign":           {By: ttp.ByCampaign, ID: campaign},
	"merged campaign":    {By: ttp.ByCampaign, ID: mergedCampaign},
	"session":            {By: ttp.BySession, ID: "s1"},
	"unknown identity":   {By: ttp.ByIdentity, ID: uuidOf(999)},
	"unknown campaign":   {By: ttp.ByCampaign, ID: uuidOf(999)},
	"hostile session id": {By: ttp.BySession, ID: `' OR 1=1 -- "\`},
}

var filters = map[string]ttp.Filter{
	"all":                   {},
	"from a confidence":     {MinConfidence: 0.7},
	"a time":                {Since: time.Date(2026, 5, 1, 0, 0, 50, 0, time.UTC), Until: time.Date(2026, 5, 1, 0, 2, 0, 0, time.UTC)},
	"a tactic":              {Tactic: "TA0002"},
	"a decky":               {Decky: "web"},
	"a confidence too high": {MinConfidence: 0.86},
}

// rollupsDiffer says where rollups differ, "" if nowhere. Their order does not count.
func rollupsDiffer(want, got []ttp.Rollup) string {
	inOrder := cmpopts.SortSlices(func(a, b ttp.RuleCount) bool { return a.RuleID < b.RuleID })
	inAnyOrder := cmpopts.SortSlices(func(a, b ttp.Rollup) bool {
		return a.Technique+a.SubTechnique+a.Tactic < b.Technique+b.SubTechnique+b.Tactic
	})
	return gocmp.Diff(want, got, inOrder, inAnyOrder, cmpopts.EquateEmpty())
}

func TestRollups_areWhatTheTagsComeTo(t *testing.T) {
	w := newWorld()
	onEach(t, func(t *testing.T, db *sink.DB) {
		w.store(t, db)
		for scopeName, scope := range scopes {
			for filterName, f := range filters {
				got, err := db.Rollups(t.Context(), scope, f)
				if err != nil {
					t.Fatal(err)
				}
				if diff := rollupsDiffer(w.rollups(scope, f), got); diff != "" {
					t.Errorf("%s, %s:\n%s", scopeName, filterName, diff)
				}
				if !slices.IsSortedFunc(got, func(a, b ttp.Rollup) int { return cmp.Compare(b.Count, a.Count) }) {
					t.Errorf("%s, %s: not sorted by count", scopeName, filterName)
				}
			}
		}
	})
}

func TestRollups_mergedInACircleEnd(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		w := newWorld()
		w.merged[iWinner] = iMergedTwice
		w.tags = w.tags[:0]
		w.store(t, db)
		if _, err := db.Rollups(t.Context(), ttp.Scope{By: ttp.ByIdentity, ID: iMerged}, ttp.Filter{}); err != nil {
			t.Error(err)
		}
	})
}

func TestPhases_areTheFirstTimesOnEachDecky(t *testing.T) {
	w := newWorld()
	var want []ttp.Phase
	tags, _ := w.selected(scopes["identity"], ttp.Filter{})
	for _, tag := range tags {
		i := slices.IndexFunc(want, func(p ttp.Phase) bool { return p.DeckyID == tag.DeckyID && p.Tactic == tag.Tactic })
		if tag.DeckyID == "" {
			continue
		}
		if i < 0 {
			i = len(want)
			want = append(want, ttp.Phase{DeckyID: tag.DeckyID, Tactic: tag.Tactic, At: tag.CreatedAt})
		}
		p := &want[i]
		p.Count++
		if tag.CreatedAt.Before(p.At) {
			p.At = tag.CreatedAt
		}
		if tag.CreatedAt.After(p.LastSeen) {
			p.LastSeen = tag.CreatedAt
		}
	}
	slices.SortFunc(want, func(a, b ttp.Phase) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.DeckyID, b.DeckyID), cmp.Compare(a.Tactic, b.Tactic))
	})
	onEach(t, func(t *testing.T, db *sink.DB) {
		w.store(t, db)
		got, err := db.Phases(t.Context(), iMergedTwice, ttp.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTags_pagesHoldEveryTagOnce(t *testing.T) {
	w := newWorld()
	onEach(t, func(t *testing.T, db *sink.DB) {
		w.store(t, db)
		for name, scope := range scopes {
			for _, technique := range []string{"", "T1059", "T1059.004"} {
				tags, _ := w.selected(scope, ttp.Filter{MinConfidence: 0.7})
				want := map[string]ttp.StoredTag{}
				for _, tag := range tags {
					if technique == "" || tag.Technique == technique || tag.SubTechnique == technique {
						want[tag.UUID] = tag
					}
				}
				got := everyPage(t, db, scope, technique)
				for i, tag := range got {
					if diff := gocmp.Diff(want[tag.UUID], tag); diff != "" {
						t.Fatalf("%s, %q: %s", name, technique, diff)
					}
					if i > 0 && tag.CreatedAt.After(got[i-1].CreatedAt) {
						t.Errorf("%s, %q: tag %d is later than the one before it", name, technique, i)
					}
					delete(want, tag.UUID)
				}
				if len(want) > 0 {
					t.Errorf("%s, %q: %d tags are on no page", name, technique, len(want))
				}
			}
		}
	})
}

func everyPage(t *testing.T, db *sink.DB, scope ttp.Scope, technique string) (tags []ttp.StoredTag) {
	t.Helper()
	next := ""
	for {
		page, err := db.Tags(t.Context(), scope, technique, ttp.Filter{MinConfidence: 0.7}, next, 7)
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, page.Tags...)
		if next = page.Next; next == "" {
			return tags
		}
		if len(page.Tags) != 7 {
			t.Fatalf("a page that is not the last has %d tags", len(page.Tags))
		}
	}
}

func TestTags_refusesWhatNoPageEndedWith(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		for _, after := range []string{"x", "!!", "MjAyNi0wNS0wMXw", "fA"} {
			if _, err := db.Tags(t.Context(), ttp.Scope{}, "", ttp.Filter{}, after, 10); !errors.Is(err, ttp.ErrPage) {
				t.Errorf("%q: %v, want ErrPage", after, err)
			}
		}
	})
}
