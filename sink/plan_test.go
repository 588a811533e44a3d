package sink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// TestReads_goByIndexes asks on a table that is large enough for the
// planner to prefer an index.
func TestReads_goByIndexes(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			dsn := fresh(t)
			db := openMigrated(t, dsn)
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
				if strings.Count(q.SQL, "created_at >= ?") > 1 {
					t.Errorf("begins at two times, SQLite at the first:\n%s", q.SQL)
				}
				if name != "decnet" && readsRows(q) {
					t.Errorf("reads rows:\n%s\n%s", q.SQL, q.Plan)
				}
			}
			if len(queries()) < 20 {
				t.Errorf("%d queries were explained", len(queries()))
			}
		})
	}
}

// TestLookUps_goByTheIndexWhateverTheStatisticsSay asks for more keys than the
// server looks into the index for, with statistics of a table that was as good as
// empty, as they are in the first minutes of a wave.
func TestLookUps_goByTheIndexWhateverTheStatisticsSay(t *testing.T) {
	const wave, asked = 3000, 450
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			dsn := fresh(t)
			db := openMigrated(t, dsn)
			identity := uuidOf(9999)
			if err := db.CreateIdentities(t.Context(), []string{identity}); err != nil {
				t.Fatal(err)
			}
			if name != "sqlite" {
				keepStatistics(t, db, "attackers", "ttp_tag")
			}
			var attackers []ttp.Attacker
			var addresses []string
			var arrived []ttp.Tagged
			for n := range wave {
				a := ttp.Attacker{UUID: uuidOf(n), Address: fmt.Sprintf("198.18.%d.%d", n/250, n%250)}
				if n < asked {
					a.IdentityUUID = identity
				}
				attackers, addresses = append(attackers, a), append(addresses, a.Address)
				ev := &ttp.Event{Kind: ttp.Command, SourceID: a.Address, AttackerUUID: a.UUID}
				tag := ttp.NewTag(ev, ttp.Finding{Claim: &ttp.Claim{RuleID: "R1", RuleVersion: 1, Tactic: "TA0007", Technique: "T1083", AttackRelease: "v19.2"}, Confidence: 0.85})
				arrived = append(arrived, ttp.Tagged{AttackerUUID: a.UUID, Tags: []ttp.Tag{tag}})
			}
			if err := db.CreateAttackers(t.Context(), attackers); err != nil {
				t.Fatal(err)
			}
			write(t, db, arrived...)
			queries, err := sink.RecordPlans(db, dsn)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := db.AttackersByAddress(t.Context(), addresses[:asked]); err != nil || len(found) != asked {
				t.Errorf("%d attackers, %v", len(found), err)
			}
			rollups, err := db.Rollups(t.Context(), ttp.Scope{By: ttp.ByIdentity, ID: identity}, ttp.Filter{})
			if err != nil || len(rollups) != 1 || rollups[0].Count != asked {
				t.Errorf("%+v, %v", rollups, err)
			}
			for _, q := range queries() {
				if scans(q.Plan) {
					t.Errorf("scans a table:\n%.200s\n%s", q.SQL, q.Plan)
				}
			}
		})
	}
}

// keepStatistics makes the statistics of tables stay as they are.
func keepStatistics(t *testing.T, db *sink.DB, tables ...string) {
	t.Helper()
	for _, table := range tables {
		if err := sink.Exec(t.Context(), db, "ALTER TABLE "+table+" STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0"); err != nil {
			t.Fatal(err)
		}
	}
}

// The addresses are more than are asked for at once.
func TestHistoryLogins_areThoseOfAllAddresses(t *testing.T) {
	const wave, asked = 3000, 450
	dsn := databases["decnet"](t)
	db := openMigrated(t, dsn)
	keepStatistics(t, db, "credentials")
	var addresses []string
	for n := range wave {
		addresses = append(addresses, fmt.Sprintf("198.18.%d.%d", n/250, n%250))
		err := sink.Exec(t.Context(), db, "INSERT INTO credentials (attacker_ip, decky_name, service, principal_key, secret_kind, secret_sha256, fields, first_seen, last_seen, attempt_count) "+
			"VALUES (?, 'd', 'ssh', 'root', 'plain', 'x', '{}', '2026-05-01', '2026-05-01', 3)", addresses[n])
		if err != nil {
			t.Fatal(err)
		}
	}
	queries, err := sink.RecordPlans(db, dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, principals := range [][]string{{"root"}, nil} {
		counts, err := db.HistoryLogins(t.Context(), addresses[:asked], principals)
		if err != nil || len(counts) != asked {
			t.Fatalf("%d counts, %v", len(counts), err)
		}
		if last := counts[[3]string{addresses[asked-1], "d", "ssh"}]; last.Failed != 3 || len(last.Passwords) != len(principals) {
			t.Errorf("principals %q: %+v", principals, last)
		}
	}
	for _, q := range queries() {
		if scans(q.Plan) {
			t.Errorf("scans a table:\n%.200s\n%s", q.SQL, q.Plan)
		}
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
				Claim: &ttp.Claim{
					RuleID: "R1", RuleVersion: 1, Tactic: "TA0007",
					Technique: fmt.Sprintf("T%04d", 1000+i), AttackRelease: "v19.2",
				},
				Confidence: 0.85, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote(strings.Repeat("x", 200))}},
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

// scans reports whether a plan reads a table that grows, or an index of it, from
// end to end.
func scans(plan string) bool {
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "campaigns") {
			continue
		}
		if strings.Contains(line, "type=ALL") || strings.Contains(line, "type=index ") || strings.Contains(line, "detail=SCAN") {
			return true
		}
	}
	return false
}

// readsRows reports whether a plan reads rows where an index could have all
// that is asked for: what adds tags up, in our own tables.
func readsRows(q sink.Query) bool {
	addsUp := strings.Contains(q.SQL, "GROUP BY") && strings.Contains(q.SQL, "FROM ttp_tag")
	return addsUp && !strings.Contains(q.SQL, "session_id =") && !strings.Contains(q.Plan, "Using index") && !strings.Contains(q.Plan, "COVERING INDEX")
}
