package sink_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/sink"
	"ttp-worker/ttp"
)

var benchRows = flag.Int("rollup.rows", 200_000, "rows of ttp_tag that BenchmarkRollups makes")

// The identity that is asked for and its share of the rows.
const benchTags = 100_000

// BenchmarkRollups asks for one identity of 100,000 tags in a table of many
// more: make bench-rollup ROWS=10000000.
func BenchmarkRollups(b *testing.B) {
	for _, name := range []string{"mariadb", "sqlite"} {
		b.Run(fmt.Sprintf("db=%s/rows=%d", name, *benchRows), func(b *testing.B) {
			db := openBench(b, databases[name](b))
			start := time.Now()
			loadBench(b, db, name == "sqlite")
			b.Logf("loaded in %s", time.Since(start).Round(time.Second))
			identity := ttp.Scope{By: ttp.ByIdentity, ID: uuidOf(1000)}
			for question, ask := range map[string]func() error{
				"rollups": func() error { _, err := db.Rollups(b.Context(), identity, ttp.Filter{}); return err },
				"phases":  func() error { _, err := db.Phases(b.Context(), identity.ID, ttp.Filter{}); return err },
				"tags":    func() error { _, err := db.Tags(b.Context(), identity, "T1000", ttp.Filter{}, "", 50); return err },
				"rare":    func() error { _, err := db.Tags(b.Context(), ttp.Scope{}, "T9999", ttp.Filter{}, "", 50); return err },
				"recent":  func() error { _, err := db.Tags(b.Context(), ttp.Scope{}, "", ttp.Filter{}, "", 50); return err },
				"fleet":   func() error { _, err := db.Rollups(b.Context(), ttp.Scope{}, ttp.Filter{}); return err },
			} {
				b.Run("ask="+question, func(b *testing.B) { percentile(b, ask) })
			}
		})
	}
}

func percentile(b *testing.B, ask func() error) {
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := ask(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1e3, "p95-ms")
}

func openBench(b *testing.B, dsn string) *sink.DB {
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return db
}

// loadBench lets the database make the rows: identities in turn, but the first
// 100,000 rows, which are of the one that is asked for, spread among all.
func loadBench(b *testing.B, db *sink.DB, lite bool) {
	const identities = 1000
	for n := range identities {
		uuid, attacker := uuidOf(1000+n), uuidOf(100_000+n)
		if err := db.CreateIdentities(b.Context(), []string{uuid}); err != nil {
			b.Fatal(err)
		}
		if err := db.CreateAttackers(b.Context(), []ttp.Attacker{{UUID: attacker, Address: fmt.Sprint(n), IdentityUUID: uuid}}); err != nil {
			b.Fatal(err)
		}
	}
	every := max(1, *benchRows/benchTags)
	who := fmt.Sprintf("CASE WHEN n %% %d = 0 THEN 0 ELSE 1 + n %% %d END", every, identities-1)
	text := func(format, n string) string {
		width := strings.TrimSuffix(strings.TrimPrefix(format[strings.Index(format, "%"):], "%0"), "d")
		before := format[:strings.Index(format, "%")]
		if lite {
			return "'" + before + "' || printf('%0" + width + "d', " + n + ")"
		}
		return "CONCAT('" + before + "', LPAD(" + n + ", " + width + ", '0'))"
	}
	at := "DATE_ADD('2026-01-01', INTERVAL n SECOND)"
	if lite {
		at = "datetime('2026-01-01', n || ' seconds') || '.000000'"
	}
	row := strings.Join([]string{
		text("00000000-0000-5000-8000-%012d", "n"), "'command'", text("%012d", "n"),
		text("00000000-0000-4000-8000-%012d", "100000 + who"),
		"CASE WHEN n % 4 = 3 THEN NULL ELSE " + text("00000000-0000-4000-8000-%012d", "1000 + who") + " END",
		text("s%08d", "n / 50"), text("decky-%02d", "n % 20"), "'TA0007'", text("T%04d", "1000 + n * 7 % 40"),
		"0.85", text("R%04d", "n * 7 % 80"), "1", `'{"command_text":"cat /etc/passwd"}'`, "'v19.2'", at,
	}, ", ")
	const digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL " +
		"SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
	const chunk = 10_000 // the driver waits 30 s for a statement
	for base := 0; base < *benchRows; base += chunk {
		numbers := fmt.Sprintf("SELECT %d + a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n FROM %s a, %s b, %s c, %s e",
			base, digits, digits, digits, digits)
		err := sink.Exec(b.Context(), db, "INSERT INTO ttp_tag (uuid, source_kind, source_id, attacker_uuid, identity_uuid, session_id, decky_id, tactic, "+
			"technique_id, confidence, rule_id, rule_version, evidence, attack_release, created_at) SELECT "+row+
			" FROM (SELECT n, "+who+" AS who FROM ("+numbers+") x) y ORDER BY n")
		if err != nil {
			b.Fatal(err)
		}
	}
}
