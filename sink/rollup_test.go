package sink_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// world is a small fleet with every sort of relation that a rollup follows.
type world struct {
	attackers  map[string]string // to its identity
	merged     map[string]string // identity to identity
	campaigns  map[string]string // identity to campaign
	identities []string
	tags       []ttp.StoredTag
}

func uuidOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// The identities, attackers and campaigns of the world.
var (
	iWinner, iMerged, iMergedTwice, iOther, iLoose = uuidOf(1), uuidOf(2), uuidOf(3), uuidOf(4), uuidOf(5)
	campaign, mergedCampaign                       = uuidOf(100), uuidOf(101)
)

func newWorld() *world {
	w := &world{
		identities: []string{iWinner, iMerged, iMergedTwice, iOther, iLoose},
		merged:     map[string]string{iMerged: iWinner, iMergedTwice: iMerged},
		campaigns:  map[string]string{iWinner: campaign, iOther: mergedCampaign},
		attackers: map[string]string{
			uuidOf(10): iWinner, uuidOf(11): iWinner, uuidOf(12): iMerged, uuidOf(13): iMergedTwice,
			uuidOf(14): iOther, uuidOf(15): iLoose, uuidOf(16): "",
		},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	techniques := []ttp.Finding{
		{Technique: "T1083", Tactic: "TA0007"},
		{Technique: "T1059", SubTechnique: "T1059.004", Tactic: "TA0002"},
		{Technique: "T1059", Tactic: "TA0002"},
		{Technique: "T1078", Tactic: "TA0001"},
		{Technique: "T1078", Tactic: "TA0003"},
	}
	for n := range 400 {
		f := techniques[rng.IntN(len(techniques))]
		f.RuleID, f.RuleVersion, f.AttackRelease = fmt.Sprintf("R%d", rng.IntN(3)), 1, "v19.2"
		f.Confidence = []float64{0.3, 0.7, 0.85}[rng.IntN(3)]
		f.Evidence = ttp.Object{{Name: "n", Value: ttp.Number(int64(n))}}
		attacker := []string{"", uuidOf(10 + rng.IntN(7))}[min(1, rng.IntN(4))]
		identity := append(w.identities, w.attackers[attacker], "")[rng.IntN(len(w.identities)+2)]
		if attacker == "" && identity == "" {
			identity = iWinner
		}
		ev := &ttp.Event{
			Kind: ttp.Command, SourceID: fmt.Sprint(n), AttackerUUID: attacker, IdentityUUID: identity,
			SessionID: []string{"", "s1", "s2"}[rng.IntN(3)], DeckyID: []string{"", "web", "db"}[rng.IntN(3)],
		}
		at := time.Date(2026, 5, 1, 0, 0, rng.IntN(200), 0, time.UTC)
		w.tags = append(w.tags, ttp.StoredTag{Tag: ttp.NewTag(ev, f), CreatedAt: at})
	}
	return w
}

// store writes the world.
func (w *world) store(t *testing.T, db *sink.DB) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.CreateIdentities(t.Context(), w.identities))
	for _, c := range []string{campaign, mergedCampaign} {
		must(createCampaign(t, db, c))
	}
	must(sink.Exec(t.Context(), db, "UPDATE campaigns SET merged_into_uuid = ? WHERE uuid = ?", campaign, mergedCampaign))
	for from, into := range w.merged {
		must(sink.Exec(t.Context(), db, "UPDATE attacker_identities SET merged_into_uuid = ? WHERE uuid = ?", into, from))
	}
	for identity, c := range w.campaigns {
		must(sink.Exec(t.Context(), db, "UPDATE attacker_identities SET campaign_id = ? WHERE uuid = ?", c, identity))
	}
	for uuid, identity := range w.attackers {
		must(db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: uuid, Address: "198.51.100." + uuid[34:], IdentityUUID: identity}}))
	}
	for _, tag := range w.tags {
		sink.SetNow(db, tag.CreatedAt)
		write(t, db, ttp.Tagged{AttackerUUID: tag.AttackerUUID, IdentityUUID: tag.IdentityUUID, Tags: []ttp.Tag{tag.Tag}})
	}
}

func createCampaign(t *testing.T, db *sink.DB, uuid string) error {
	const now = "2026-05-01 00:00:00"
	err := sink.Exec(t.Context(), db, "INSERT INTO campaigns (uuid, created_at, updated_at) VALUES (?, ?, ?)", uuid, now, now)
	if err == nil {
		return nil
	}
	return sink.Exec(t.Context(), db, "INSERT INTO campaigns (uuid, created_at, updated_at, schema_version, identity_count) VALUES (?, ?, ?, 1, 0)", uuid, now, now)
}

// end is what the identity was merged into.
func (w *world) end(identity string) string {
	for w.merged[identity] != "" {
		identity = w.merged[identity]
	}
	return identity
}

// within says whether a tag is of scope, and of which identity.
func (w *world) within(tag ttp.StoredTag, scope ttp.Scope) (identity string, ok bool) {
	candidates := []string{tag.IdentityUUID, w.attackers[tag.AttackerUUID]}
	switch scope.By {
	case ttp.ByAttacker:
		return "", tag.AttackerUUID == scope.ID
	case ttp.BySession:
		return "", tag.SessionID == scope.ID
	case ttp.ByIdentity:
		for _, c := range candidates {
			if c != "" && w.end(c) == w.end(scope.ID) {
				return w.end(c), true
			}
		}
		return "", false
	case ttp.ByCampaign:
		for _, c := range candidates {
			if c != "" && w.campaigns[w.end(c)] != "" && scope.ID != uuidOf(999) { // both campaigns are one
				return w.end(c), true
			}
		}
		return "", false
	}
	return "", true
}

func passes(tag ttp.StoredTag, f ttp.Filter) bool {
	return tag.Confidence >= f.MinConfidence && (f.Since.IsZero() || !tag.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || tag.CreatedAt.Before(f.Until)) && (f.Tactic == "" || f.Tactic == tag.Tactic) &&
		(f.Decky == "" || f.Decky == tag.DeckyID)
}

// selected returns the tags of scope with the identities they count for.
func (w *world) selected(scope ttp.Scope, f ttp.Filter) (tags []ttp.StoredTag, identities []string) {
	for _, tag := range w.tags {
		if identity, ok := w.within(tag, scope); ok && passes(tag, f) {
			tags, identities = append(tags, tag), append(identities, identity)
		}
	}
	return tags, identities
}

// rollups counts the slow way.
func (w *world) rollups(scope ttp.Scope, f ttp.Filter) []ttp.Rollup {
	tags, identities := w.selected(scope, f)
	var list []ttp.Rollup
	seen := map[int]map[string]bool{}
	for n, tag := range tags {
		i := slices.IndexFunc(list, func(r ttp.Rollup) bool {
			return r.Technique == tag.Technique && r.SubTechnique == tag.SubTechnique && r.Tactic == tag.Tactic
		})
		if i < 0 {
			i = len(list)
			seen[i] = map[string]bool{}
			list = append(list, ttp.Rollup{Technique: tag.Technique, SubTechnique: tag.SubTechnique, Tactic: tag.Tactic, FirstSeen: tag.CreatedAt})
		}
		r := &list[i]
		r.Count++
		r.MaxConfidence = max(r.MaxConfidence, tag.Confidence)
		if tag.CreatedAt.Before(r.FirstSeen) {
			r.FirstSeen = tag.CreatedAt
		}
		if tag.CreatedAt.After(r.LastSeen) {
			r.LastSeen = tag.CreatedAt
		}
		if scope.By == ttp.ByCampaign && !seen[i][identities[n]] {
			seen[i][identities[n]] = true
			r.Identities++
		}
		j := slices.IndexFunc(r.Rules, func(c ttp.RuleCount) bool { return c.RuleID == tag.RuleID })
		if j < 0 {
			j = len(r.Rules)
			r.Rules = append(r.Rules, ttp.RuleCount{RuleID: tag.RuleID})
		}
		r.Rules[j].Count++
	}
	return list
}

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
				inOrder := cmpopts.SortSlices(func(a, b ttp.RuleCount) bool { return a.RuleID < b.RuleID })
				inAnyOrder := cmpopts.SortSlices(func(a, b ttp.Rollup) bool {
					return a.Technique+a.SubTechnique+a.Tactic < b.Technique+b.SubTechnique+b.Tactic
				})
				if diff := gocmp.Diff(w.rollups(scope, f), got, inOrder, inAnyOrder, cmpopts.EquateEmpty()); diff != "" {
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

// TestReads_goByIndexes asks on a table that is large enough for the
// planner to prefer an index.
func TestReads_goByIndexes(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			dsn := fresh(t)
			db, err := sink.Open(dsn, sink.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			fillFleet(t, db)
			queries, err := sink.RecordPlans(db, dsn)
			if err != nil {
				t.Fatal(err)
			}
			askEverything(t, db, name == "decnet")
			for _, q := range queries() {
				if scans(q.Plan) {
					t.Errorf("scans a table:\n%s\n%s", q.SQL, q.Plan)
				}
			}
			if len(queries()) < 20 {
				t.Errorf("%d queries were explained", len(queries()))
			}
		})
	}
}

// fillFleet stores 100 identities with an attacker each, in 10 campaigns, with
// 60 tags each.
func fillFleet(t *testing.T, db *sink.DB) {
	t.Helper()
	for c := range 10 {
		if err := createCampaign(t, db, uuidOf(9000+c)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for n := range 100 {
		identity, attacker := uuidOf(1000+n), uuidOf(2000+n)
		if err := db.CreateIdentities(t.Context(), []string{identity}); err != nil {
			t.Fatal(err)
		}
		if err := sink.Exec(t.Context(), db, "UPDATE attacker_identities SET campaign_id = ? WHERE uuid = ?", uuidOf(9000+n%10), identity); err != nil {
			t.Fatal(err)
		}
		if err := db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: fmt.Sprintf("198.51.100.%d", n), IdentityUUID: identity}}); err != nil {
			t.Fatal(err)
		}
		arrived := ttp.Tagged{AttackerUUID: attacker, IdentityUUID: identity}
		for i := range 60 {
			ev := &ttp.Event{
				Kind: ttp.Command, SourceID: fmt.Sprintf("%d/%d", n, i), AttackerUUID: attacker, IdentityUUID: identity,
				SessionID: fmt.Sprintf("s%d", n), DeckyID: fmt.Sprintf("decky-%d", n%20),
			}
			arrived.Tags = append(arrived.Tags, ttp.NewTag(ev, ttp.Finding{
				RuleID: "R1", RuleVersion: 1, Tactic: "TA0007", Technique: fmt.Sprintf("T%04d", 1000+i), Confidence: 0.85,
				Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote(strings.Repeat("x", 200))}}, AttackRelease: "v19.2",
			}))
		}
		sink.SetNow(db, start.Add(time.Duration(n)*time.Minute))
		write(t, db, arrived)
	}
	analyze := "ANALYZE"
	if _, ok := databases[strings.TrimPrefix(t.Name(), "TestReads_goByIndexes/")]; ok && !strings.HasSuffix(t.Name(), "/sqlite") {
		analyze = "ANALYZE TABLE ttp_tag, attackers, attacker_identities"
	}
	if err := sink.Exec(t.Context(), db, analyze); err != nil {
		t.Fatal(err)
	}
}

// askEverything asks what there is to ask. DECNET's own indexes answer for the
// whole fleet only where a time is given.
func askEverything(t *testing.T, db *sink.DB, fleetByTime bool) {
	t.Helper()
	since := time.Date(2026, 5, 1, 1, 36, 0, 0, time.UTC)
	for _, scope := range []ttp.Scope{
		{},
		{By: ttp.ByIdentity, ID: uuidOf(1042)},
		{By: ttp.ByAttacker, ID: uuidOf(2042)},
		{By: ttp.ByCampaign, ID: uuidOf(9004)},
		{By: ttp.BySession, ID: "s42"},
	} {
		for _, f := range []ttp.Filter{{}, {MinConfidence: 0.5, Since: since, Tactic: "TA0007", Decky: "decky-2"}} {
			if scope.By == "" && fleetByTime && f.Since.IsZero() {
				continue
			}
			if _, err := db.Rollups(t.Context(), scope, f); err != nil {
				t.Fatal(err)
			}
		}
		for _, technique := range []string{"", "T1010"} {
			page, err := db.Tags(t.Context(), scope, technique, ttp.Filter{}, "", 5)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Tags(t.Context(), scope, technique, ttp.Filter{}, page.Next, 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := db.Phases(t.Context(), uuidOf(1042), ttp.Filter{}); err != nil {
		t.Fatal(err)
	}
}

// scans reports whether a plan reads a table that grows from end to end.
func scans(plan string) bool {
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "type=ALL") && !strings.Contains(line, "table=campaigns") {
			return true
		}
		if strings.Contains(line, "detail=SCAN") && !strings.Contains(line, "INDEX") && !strings.Contains(line, "campaigns") {
			return true
		}
	}
	return false
}
