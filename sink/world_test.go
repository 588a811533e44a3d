package sink_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

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
	techniques := []ttp.Claim{
		{Technique: "T1083", Tactic: "TA0007"},
		{Technique: "T1059", SubTechnique: "T1059.004", Tactic: "TA0002"},
		{Technique: "T1059", Tactic: "TA0002"},
		{Technique: "T1078", Tactic: "TA0001"},
		{Technique: "T1078", Tactic: "TA0003"},
	}
	for n := range 400 {
		claim := techniques[rng.IntN(len(techniques))]
		f := ttp.Finding{Claim: &claim}
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
	w.storeTags(t, db)
}

// storeTags writes the tags of a world whose other rows are there.
func (w *world) storeTags(t *testing.T, db *sink.DB) {
	t.Helper()
	for _, tag := range w.tags {
		sink.SetNow(db, tag.CreatedAt)
		write(t, db, ttp.Tagged{AttackerUUID: tag.AttackerUUID, IdentityUUID: tag.IdentityUUID, Tags: []ttp.Tag{tag.Tag}})
	}
}

func createCampaign(t testing.TB, db *sink.DB, uuid string) error {
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
