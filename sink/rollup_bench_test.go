package sink_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

var (
	benchRows = flag.Int("rollup.rows", 200_000, "rows of ttp_tag that BenchmarkRollups makes")
	benchKeep = flag.String("rollup.keep", "", "directory that keeps the databases for the next run; empty means none")
)

// The first identity has so many of the rows, all others of the fleet about the same.
const (
	benchTags       = 100_000
	benchIdentities = 1000
	benchCampaign   = 10 // identities

	// The last identity was there in the first twentieth of the time only, with
	// a tenth of the tags of then.
	benchOld = benchIdentities - 1
)

// benchEnd is when the last row was stored; the first was 115 days before if
// there are 10 million.
var benchEnd = time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)

// benchStart returns when the row before the first was stored.
func benchStart() time.Time { return benchEnd.Add(-time.Duration(*benchRows) * time.Second) }

// BenchmarkRollups asks what there is to ask of a table where one identity has
// 100,000 tags: make bench-rollup ROWS=10000000.
func BenchmarkRollups(b *testing.B) {
	for _, name := range []string{"mariadb", "sqlite", "decnet"} {
		b.Run(fmt.Sprintf("db=%s/rows=%d", name, *benchRows), func(b *testing.B) {
			db := openBench(b, name)
			for _, q := range benchQuestions(db) {
				b.Run("ask="+q.name, func(b *testing.B) { percentile(b, db, q.ask) })
			}
		})
	}
}

type benchQuestion struct {
	name string
	ask  func(b *testing.B) error
}

func benchQuestions(db *sink.DB) (list []benchQuestion) {
	add := func(name string, ask func(b *testing.B) error) { list = append(list, benchQuestion{name, ask}) }
	rollups := func(scope ttp.Scope, f ttp.Filter) func(b *testing.B) error {
		return func(b *testing.B) error { _, err := db.Rollups(b.Context(), scope, f); return err }
	}
	tags := func(scope ttp.Scope, technique string, f ttp.Filter) func(b *testing.B) error {
		return func(b *testing.B) error { _, err := db.Tags(b.Context(), scope, technique, f, "", 50); return err }
	}
	identity := ttp.Scope{By: ttp.ByIdentity, ID: uuidOf(1000)}
	attacker := ttp.Scope{By: ttp.ByAttacker, ID: uuidOf(100_000)}
	day := ttp.Filter{Since: benchEnd.AddDate(0, 0, -1)}
	narrow := ttp.Filter{MinConfidence: 0.7, Decky: "decky-07", Since: benchEnd.AddDate(0, 0, -30)}
	add("identity", rollups(identity, ttp.Filter{}))
	add("identity-filtered", rollups(identity, narrow))
	add("attacker", rollups(attacker, ttp.Filter{}))
	add("campaign", rollups(ttp.Scope{By: ttp.ByCampaign, ID: uuidOf(9000)}, ttp.Filter{}))
	add("session", rollups(ttp.Scope{By: ttp.BySession, ID: "s00000077"}, ttp.Filter{}))
	add("phases", func(b *testing.B) error { _, err := db.Phases(b.Context(), identity.ID, ttp.Filter{}); return err })
	add("fleet", rollups(ttp.Scope{}, ttp.Filter{}))
	add("fleet-day", rollups(ttp.Scope{}, day))
	add("fleet-filtered", rollups(ttp.Scope{}, narrow))
	add("tags-identity", tags(identity, "", ttp.Filter{}))
	add("tags-identity-old", tags(ttp.Scope{By: ttp.ByIdentity, ID: uuidOf(1000 + benchOld)}, "", ttp.Filter{}))
	add("tags-identity-technique", tags(identity, "T1000", ttp.Filter{}))
	add("tags-fleet", tags(ttp.Scope{}, "", ttp.Filter{}))
	add("tags-fleet-technique", tags(ttp.Scope{}, "T1000", narrow))
	add("tags-fleet-nothing", tags(ttp.Scope{}, "T1000", ttp.Filter{Decky: "nowhere"}))
	add("tags-fleet-decky-nothing", tags(ttp.Scope{}, "", ttp.Filter{Decky: "nowhere"}))
	add("tags-fleet-unknown", tags(ttp.Scope{}, "T9999", ttp.Filter{}))
	add("tags-identity-deep", func(b *testing.B) error { return deepPage(b, db, identity) })
	return list
}

// deepPage asks for the page behind the thousandth tag.
func deepPage(b *testing.B, db *sink.DB, scope ttp.Scope) error {
	after := sink.After(benchEnd.AddDate(0, 0, -20))
	_, err := db.Tags(b.Context(), scope, "T1000", ttp.Filter{}, after, 50)
	return err
}

// percentile reports how long an answer takes and how long the database works
// on it, which says more on a machine that is busy with other things.
func percentile(b *testing.B, db *sink.DB, ask func(b *testing.B) error) {
	if err := ask(b); err != nil { // reads from the disk what the others find in memory
		b.Fatal(err)
	}
	var took []time.Duration
	busy := processorTime(b, db)
	for b.Loop() {
		start := time.Now()
		if err := ask(b); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((processorTime(b, db)-busy).Microseconds())/1e3/float64(len(took)), "cpu-ms")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1e3, "p95-ms")
}

// openBench returns a database with the rows.
func openBench(b *testing.B, name string) *sink.DB {
	dir := *benchKeep
	if dir == "" {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, fmt.Sprintf("%s-%d", name, *benchRows))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	dsn := "sqlite://" + filepath.Join(dir, "ttp.db")
	if name != "sqlite" {
		dsn = testdb.Kept(b, dir) + "?readTimeout=2h&foreign_key_checks=0"
	}
	_, err := os.Stat(filepath.Join(dir, "loaded"))
	if err != nil && name == "decnet" {
		testdb.MakeDECNET(b, dsn)
	}
	db, openErr := sink.Open(dsn, sink.Options{})
	if openErr != nil {
		b.Fatal(openErr)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err != nil {
		loadBench(b, db, name == "decnet")
		if err := os.WriteFile(filepath.Join(dir, "loaded"), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	sink.SetNow(db, benchEnd.Add(time.Second))
	return db
}

// loadBench fills an empty database. The indexes are made at the end, which is
// much faster. Where the uuid clusters the rows they are inserted in its order.
func loadBench(b *testing.B, db *sink.DB, byUUID bool) {
	start := time.Now()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	must(db.Migrate(b.Context()))
	must(createCampaign(b, db, uuidOf(9000)))
	for n := range benchIdentities {
		uuid, attacker := uuidOf(1000+n), uuidOf(100_000+n)
		must(db.CreateIdentities(b.Context(), []string{uuid}))
		must(db.CreateAttackers(b.Context(), []ttp.Attacker{{UUID: attacker, Address: fmt.Sprint(n), IdentityUUID: uuid}}))
		if n < benchCampaign {
			must(sink.Exec(b.Context(), db, "UPDATE attacker_identities SET campaign_id = ? WHERE uuid = ?", uuidOf(9000), uuid))
		}
	}
	restore, err := sink.DropIndexes(b.Context(), db)
	must(err)
	const chunk = 2000
	for some := range slices.Chunk(benchOrder(byUUID), chunk) {
		must(sink.Exec(b.Context(), db, benchInsert(some)))
	}
	b.Logf("inserted in %s", time.Since(start).Round(time.Second))
	must(restore())
	b.Logf("indexed after %s", time.Since(start).Round(time.Second))
}

// benchOrder returns the numbers of the rows, in the order of their times or of
// their uuids.
func benchOrder(byUUID bool) []int {
	order := make([]int, *benchRows)
	for i := range order {
		order[i] = i
	}
	if byUUID {
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scattered(a), scattered(b)) })
	}
	return order
}

// scattered begins the uuid of a row.
func scattered(i int) uint32 { return uint32(i) * 2_654_435_761 }

// benchInsert makes the statement for rows. Texts hold letters and digits only.
func benchInsert(rows []int) string {
	var text strings.Builder
	text.WriteString("INSERT INTO ttp_tag (uuid, source_kind, source_id, attacker_uuid, identity_uuid, session_id, decky_id, tactic, " +
		"technique_id, sub_technique_id, confidence, rule_id, rule_version, evidence, attack_release, created_at) VALUES ")
	every := max(1, *benchRows/benchTags)
	for n, i := range rows {
		who := 1 + i*7919%(benchIdentities-2)
		switch {
		case i%every == 0:
			who = 0
		case i < *benchRows/20 && i%10 == 1:
			who = benchOld
		}
		rule := i * 7 % 80
		technique, sub, tactic := fmt.Sprintf("T%04d", 1000+rule%40), "NULL", 1+rule%9
		if rule%3 == 0 {
			sub = fmt.Sprintf("'%s.%03d'", technique, 1+rule%3)
		}
		identity := "NULL"
		if i/every%4 != 3 {
			identity = "'" + uuidOf(1000+who) + "'"
		}
		at := benchStart().Add(time.Duration(i) * time.Second).Format("2006-01-02 15:04:05.000000")
		separator := ", "
		if n == 0 {
			separator = ""
		}
		fmt.Fprintf(&text, `%s('%08x-0000-5000-8000-%012d', 'command', '%032d', '%s', %s, 's%08d', 'decky-%02d', 'TA%04d', '%s', %s, 0.%d, 'R%04d', 1, `+
			`'{"command_text":"cat /etc/passwd; uname -a"}', 'v19.2', '%s')`,
			separator, scattered(i), i, i, uuidOf(100_000+who), identity, i/50, i/80*13%20, tactic, technique, sub, 5+rule%5, rule, at)
	}
	return text.String()
}
