package sink_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// narrowIndexes are what ttp_tag had if nobody asked for rollups: what finds the
// rows of an attacker, an identity and a time.
var narrowIndexes = map[string][]string{
	"mariadb": {`ALTER TABLE ttp_tag DROP INDEX ix_ttp_tag_attacker_technique, DROP INDEX ix_ttp_tag_identity_technique,
		DROP INDEX ix_ttp_tag_created_at, DROP INDEX ix_ttp_tag_technique_created,
		ADD INDEX ix_ttp_tag_attacker_technique (attacker_uuid, technique_id), ADD INDEX ix_ttp_tag_identity_technique (identity_uuid, technique_id),
		ADD INDEX ix_ttp_tag_created_at (created_at)`},
	"sqlite": {
		"DROP INDEX ix_ttp_tag_attacker_technique", "DROP INDEX ix_ttp_tag_identity_technique",
		"DROP INDEX ix_ttp_tag_created_at", "DROP INDEX ix_ttp_tag_technique_created",
		"CREATE INDEX ix_ttp_tag_attacker_technique ON ttp_tag (attacker_uuid, technique_id)",
		"CREATE INDEX ix_ttp_tag_identity_technique ON ttp_tag (identity_uuid, technique_id)",
		"CREATE INDEX ix_ttp_tag_created_at ON ttp_tag (created_at)",
	},
}

// BenchmarkReadIndexes stores batches in a table of -rollup.rows rows, in turn
// with the indexes that rollups need and without: what those cost who writes.
// Processor time is that of the database, for SQLite that of this process.
//
//	go test ./sink -run '^$' -bench ReadIndexes -benchtime 40x
func BenchmarkReadIndexes(b *testing.B) {
	for _, name := range []string{"mariadb", "sqlite"} {
		db := openBench(b, name)
		wide, err := sink.WideIndexes(db)
		if err != nil {
			b.Fatal(err)
		}
		for round := range 3 {
			for _, indexes := range []struct {
				name string
				make []string
			}{{"narrow", narrowIndexes[name]}, {"wide", wide}} {
				b.Run(fmt.Sprintf("db=%s/indexes=%s/round=%d", name, indexes.name, round), func(b *testing.B) {
					for _, statement := range indexes.make {
						if err := sink.Exec(b.Context(), db, statement); err != nil {
							b.Fatal(err)
						}
					}
					writeBatches(b, db)
				})
			}
		}
	}
}

// writeBatches stores a batch of 500 tags, each of another attacker, over and over.
func writeBatches(b *testing.B, db *sink.DB) {
	const size = 500
	start, n := time.Now(), time.Now().UnixNano() // no other run has these ids
	sink.SetNow(db, benchEnd)
	batches, busy := 0, processorTime(b, db)
	for b.Loop() {
		batch := make([]ttp.Tagged, size)
		for i := range batch {
			n++
			who := int(uint64(n) * 7919 % benchIdentities)
			ev := &ttp.Event{
				Kind: ttp.Command, SourceID: fmt.Sprint(n), AttackerUUID: uuidOf(100_000 + who), IdentityUUID: uuidOf(1000 + who),
				SessionID: fmt.Sprintf("s%d", n/20), DeckyID: fmt.Sprintf("decky-%02d", n%20),
			}
			batch[i] = ttp.Tagged{AttackerUUID: ev.AttackerUUID, IdentityUUID: ev.IdentityUUID, Tags: []ttp.Tag{ttp.NewTag(ev, ttp.Finding{
				Claim: &ttp.Claim{
					RuleID: fmt.Sprintf("R%04d", n%80), RuleVersion: 1, Tactic: "TA0007",
					Technique: fmt.Sprintf("T%04d", 1000+n%40), AttackRelease: "v19.2",
				},
				Confidence: 0.85, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("cat /etc/passwd; uname -a")}},
			})}}
		}
		if _, err := db.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		batches++
	}
	b.ReportMetric(float64((processorTime(b, db)-busy).Microseconds())/float64(batches*size), "cpu-µs/tag")
	b.ReportMetric(float64(batches*size)/time.Since(start).Seconds(), "tags/s")
}

// processorTime is what the database has used since it was started, to 10 ms.
func processorTime(b *testing.B, db *sink.DB) time.Duration {
	b.Helper()
	stat := "/proc/self/stat"
	if rows, err := sink.Rows(b.Context(), db, "SELECT @@pid_file"); err == nil {
		pid, err := os.ReadFile(rows[0])
		if err != nil {
			b.Fatal(err)
		}
		stat = "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	}
	data, err := os.ReadFile(stat)
	if err != nil {
		b.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), ") ") // behind the name
	fields := strings.Fields(text)
	var ticks time.Duration
	for _, field := range fields[11:13] { // user, system
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}
