package sink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// byHand is what a rollup says, in one statement that knows no indexes: ends
// leads from each identity to the one it was merged into and to the campaign of
// that, likewise followed to its end. %[1]s is the condition, %[2]s the identity
// that a tag counts for.
const byHand = `
WITH RECURSIVE
campaign_ends (uuid, winner) AS (
  SELECT uuid, uuid FROM campaigns WHERE merged_into_uuid IS NULL
  UNION ALL
  SELECT c.uuid, e.winner FROM campaigns c JOIN campaign_ends e ON c.merged_into_uuid = e.uuid
),
identity_ends (uuid, winner) AS (
  SELECT uuid, uuid FROM attacker_identities WHERE merged_into_uuid IS NULL
  UNION ALL
  SELECT i.uuid, e.winner FROM attacker_identities i JOIN identity_ends e ON i.merged_into_uuid = e.uuid
),
ends (uuid, winner, campaign) AS (
  SELECT e.uuid, e.winner, c.winner
  FROM identity_ends e
  JOIN attacker_identities i ON i.uuid = e.winner
  LEFT JOIN campaign_ends c ON c.uuid = i.campaign_id
)
SELECT t.technique_id, COALESCE(t.sub_technique_id, '-'), t.tactic, COUNT(*), COUNT(DISTINCT %[2]s),
       SUBSTR(MIN(t.created_at), 1, 19), SUBSTR(MAX(t.created_at), 1, 19), ROUND(MAX(t.confidence), 4)
FROM ttp_tag t
LEFT JOIN ends own ON own.uuid = t.identity_uuid
LEFT JOIN attackers a ON a.uuid = t.attacker_uuid
LEFT JOIN ends via ON via.uuid = a.identity_id
WHERE %[1]s
GROUP BY t.technique_id, COALESCE(t.sub_technique_id, '-'), t.tactic`

func TestRollups_areWhatSQLByHandSays(t *testing.T) {
	nobody, whose := "NULL", "CASE WHEN own.campaign = '"+campaign+"' THEN own.winner ELSE via.winner END"
	cases := map[string]struct {
		scope            ttp.Scope
		condition, whose string
	}{
		"fleet":           {ttp.Scope{}, "1 = 1", nobody},
		"identity":        {ttp.Scope{By: ttp.ByIdentity, ID: iWinner}, "own.winner = '" + iWinner + "' OR via.winner = '" + iWinner + "'", nobody},
		"merged identity": {ttp.Scope{By: ttp.ByIdentity, ID: iMerged}, "own.winner = '" + iWinner + "' OR via.winner = '" + iWinner + "'", nobody},
		"attacker":        {ttp.Scope{By: ttp.ByAttacker, ID: uuidOf(12)}, "t.attacker_uuid = '" + uuidOf(12) + "'", nobody},
		"session":         {ttp.Scope{By: ttp.BySession, ID: "s1"}, "t.session_id = 's1'", nobody},
		"campaign":        {ttp.Scope{By: ttp.ByCampaign, ID: campaign}, "own.campaign = '" + campaign + "' OR via.campaign = '" + campaign + "'", whose},
		"merged campaign": {ttp.Scope{By: ttp.ByCampaign, ID: mergedCampaign}, "own.campaign = '" + campaign + "' OR via.campaign = '" + campaign + "'", whose},
	}
	onEach(t, func(t *testing.T, db *sink.DB) {
		newWorld().store(t, db)
		for name, c := range cases {
			want, err := sink.Rows(t.Context(), db, fmt.Sprintf(byHand, c.condition, c.whose))
			if err != nil {
				t.Fatal(err)
			}
			list, err := db.Rollups(t.Context(), c.scope, ttp.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]string, len(list))
			for i := range list {
				got[i] = rollupText(&list[i])
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := gocmp.Diff(want, got); diff != "" || len(got) < 3 {
				t.Errorf("%s: %d rows:\n%s", name, len(got), diff)
			}
		}
	})
}

// rollupText writes a rollup as a row of byHand.
func rollupText(r *ttp.Rollup) string {
	sub := r.SubTechnique
	if sub == "" {
		sub = "-"
	}
	const second = "2006-01-02 15:04:05"
	return strings.Join([]string{
		r.Technique, sub, r.Tactic, fmt.Sprint(r.Count), fmt.Sprint(r.Identities),
		r.FirstSeen.Format(second), r.LastSeen.Format(second), fmt.Sprint(r.MaxConfidence),
	}, " ")
}
