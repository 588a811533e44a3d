package sink_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// databases are those that every test here runs against.
var databases = map[string]func(t testing.TB) string{
	"mariadb": testdb.MySQL,
	"sqlite":  testdb.SQLite,
	"decnet":  testdb.DECNET,
}

func onEach(t *testing.T, test func(t *testing.T, db *sink.DB)) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			test(t, openMigrated(t, fresh(t)))
		})
	}
}

// openMigrated opens a database, makes the tables, twice, and adds an attacker.
func openMigrated(t *testing.T, dsn string) *sink.DB {
	t.Helper()
	db, err := sink.Open(dsn, sink.Options{Announce: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatalf("migrating again: %v", err)
	}
	if err := db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: "198.51.100.7"}}); err != nil {
		t.Fatal(err)
	}
	return db
}

var attacker = ttp.AttackerUUID("198.51.100.7")

// tagged makes an event with n tags.
func tagged(id string, n int) ttp.Tagged {
	ev := &ttp.Event{Kind: ttp.Command, SourceID: id, AttackerUUID: attacker, SessionID: "s1"}
	t := ttp.Tagged{AttackerUUID: attacker, SessionID: "s1", SourceKind: ttp.Session, SourceID: "s1"}
	for i := range n {
		t.Tags = append(t.Tags, ttp.NewTag(ev, ttp.Finding{
			Claim: &ttp.Claim{
				RuleID: fmt.Sprintf("R%04d", i), RuleVersion: 1, Tactic: "TA0007",
				Technique: "T1083", AttackRelease: "v19.2",
			},
			Confidence: 0.85, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("cat '/etc/passwd' \"é名😀\u202e\x00\\")}},
		}))
	}
	return t
}

func write(t *testing.T, db *sink.DB, batch ...ttp.Tagged) ttp.Written {
	t.Helper()
	w, err := db.Write(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func pending(t *testing.T, db *sink.DB) []ttp.Announcement {
	t.Helper()
	list, err := db.Unannounced(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestWrite_storesOnceAndAnnouncesWhatIsNew(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		w := write(t, db, tagged("a", 3), tagged("b", 600), tagged("a", 1))
		if w.Inserted != 603 || w.Duplicates != 1 || len(w.Fresh) != 2 || len(w.Refused) != 0 {
			t.Fatalf("first write: %d inserted, %d duplicates, %d announcements, refused %v", w.Inserted, w.Duplicates, len(w.Fresh), w.Refused)
		}
		if rows, _, err := db.OutboxStats(t.Context()); rows != 1 || err != nil {
			t.Errorf("outbox: %d rows, %v", rows, err)
		}
		left := pending(t, db)
		if len(left) != 2 || len(left[0].Tags)+len(left[1].Tags) != 603 {
			t.Fatalf("outbox holds %d announcements", len(left))
		}
		if err := db.Announced(t.Context(), []string{left[0].Outbox}); err != nil {
			t.Fatal(err)
		}
		again := write(t, db, tagged("a", 4), tagged("b", 600))
		if again.Inserted != 1 || again.Duplicates != 603 || len(again.Fresh) != 1 || len(again.Fresh[0].Tags) != 1 || again.Fresh[0].Tags[0].RuleID != "R0003" {
			t.Errorf("second write: %d inserted, %d duplicates, fresh %d", again.Inserted, again.Duplicates, len(again.Fresh))
		}
		if n := len(pending(t, db)); n != 1 {
			t.Errorf("outbox holds %d announcements, want 1", n)
		}
	})
}

func TestUnannounced_keepsTheTrace(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	onEach(t, func(t *testing.T, db *sink.DB) {
		traced := tagged("a", 1)
		traced.TraceParent = trace
		written := write(t, db, traced, tagged("b", 1))
		left := pending(t, db)
		if len(left) != 2 || left[0].TraceParent != trace || left[1].TraceParent != "" {
			t.Fatalf("outbox holds %+v", left)
		}
		for i, a := range left {
			if payload := string(a.AppendJSON(nil)); payload != string(written.Fresh[i].AppendJSON(nil)) || strings.Contains(payload, trace) {
				t.Errorf("the payload became %s", payload)
			}
		}
	})
}

// What an attacker's row takes with it need not be announced any more.
func TestUnannounced_leavesOutWhatWasDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		write(t, db, tagged("a", 3), tagged("b", 2))
		whole := pending(t, db)
		gone := whole[0].Tags[1].UUID
		if err := sink.Exec(t.Context(), db, "DELETE FROM ttp_tag WHERE uuid IN (?, ?, ?)", gone, whole[1].Tags[0].UUID, whole[1].Tags[1].UUID); err != nil {
			t.Fatal(err)
		}
		left := pending(t, db)
		if len(left) != 2 || len(left[0].Tags) != 2 || slices.Contains(uuidsOf(left[0].Tags), gone) || len(left[1].Tags) != 0 {
			t.Fatalf("outbox holds %+v", left)
		}
		if left[0].ID != whole[0].ID || left[1].Outbox != whole[1].Outbox {
			t.Error("what is left goes by another id, and would be announced again")
		}
	})
}

// Rows of earlier versions, which a worker that was killed has left, hold the
// tags themselves.
func TestUnannounced_readsWhatEarlierVersionsWrote(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		a := tagged("a", 2)
		payload := "[" + string(a.AppendJSON(nil)) + "]"
		insert := "INSERT INTO ttp_outbox (id, payload, created_at) VALUES ('old', ?, '2026-01-01 00:00:00')"
		if err := sink.Exec(t.Context(), db, insert, payload); err != nil {
			t.Fatal(err)
		}
		left := pending(t, db)
		if len(left) != 1 || left[0].Outbox != "old" || !slices.Equal(uuidsOf(left[0].Tags), uuidsOf(a.Tags)) || left[0].Tags[1].RuleID != a.Tags[1].RuleID {
			t.Errorf("outbox holds %+v", left)
		}
	})
}

func TestWrite_setsBadRowsApart(t *testing.T) {
	bad := map[string]func(*ttp.Tag){
		"confidence above 1":   func(t *ttp.Tag) { t.Confidence = 1.5 },
		"no anchor":            func(t *ttp.Tag) { t.AttackerUUID = "" },
		"unknown attacker":     func(t *ttp.Tag) { t.AttackerUUID = ttp.AttackerUUID("203.0.113.1") },
		"unknown identity":     func(t *ttp.Tag) { t.IdentityUUID = ttp.AttackerUUID("nobody") },
		"source_id is not UTF": func(t *ttp.Tag) { t.SourceID = "a\xff" },
	}
	onEach(t, func(t *testing.T, db *sink.DB) {
		n := 0
		for name, spoil := range bad {
			for _, at := range []int{0, 2, 4} {
				n++
				batch := []ttp.Tagged{tagged(fmt.Sprint(n, "x"), 2), tagged(fmt.Sprint(n, "y"), 5)}
				spoil(&batch[1].Tags[at])
				w := write(t, db, batch...)
				if w.Inserted != 6 || len(w.Refused) != 1 || w.Refused[0].Arrived != 1 || w.Refused[0].Tag.UUID != batch[1].Tags[at].UUID {
					t.Fatalf("%s at %d: %d inserted, refused %+v", name, at, w.Inserted, w.Refused)
				}
				if orphan := strings.HasPrefix(name, "unknown"); w.Refused[0].Orphan != orphan {
					t.Errorf("%s: orphan = %v (%v)", name, w.Refused[0].Orphan, w.Refused[0].Err)
				}
			}
		}
	})
}

func TestWrite_tooLongForTheColumnIsRefusedNotCut(t *testing.T) {
	for name, fresh := range map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "decnet": testdb.DECNET} {
		t.Run(name, func(t *testing.T) {
			db, err := sink.Open(fresh(t), sink.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: "198.51.100.7"}}); err != nil {
				t.Fatal(err)
			}
			w := write(t, db, tagged(strings.Repeat("x", 300), 1), tagged("ok", 1))
			if w.Inserted != 1 || len(w.Refused) != 1 || w.Refused[0].Orphan {
				t.Errorf("%d inserted, refused %+v", w.Inserted, w.Refused)
			}
			if n := len(pending(t, db)); n != 0 {
				t.Errorf("a DB that does not announce has %d announcements", n)
			}
		})
	}
}

// Two writers that get the same batches at the same time announce each tag once.
func TestWrite_racingWritersAnnounceOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		var mu sync.Mutex
		seen := make(map[string]int)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 10 {
					w, err := db.Write(context.Background(), []ttp.Tagged{tagged(fmt.Sprint(i), 20), tagged(fmt.Sprint(i+1), 20)})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, a := range w.Fresh {
						for _, tag := range a.Tags {
							seen[tag.UUID]++
						}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 11*20 {
			t.Errorf("%d tags announced, want 220", len(seen))
		}
		for uuid, n := range seen {
			if n != 1 {
				t.Errorf("%s announced %d times", uuid, n)
			}
		}
	})
}

func TestAttackers(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		late := ttp.Attacker{UUID: ttp.AttackerUUID("late"), Address: "192.0.2.1", LastSeen: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
		early := ttp.Attacker{UUID: ttp.AttackerUUID("early"), Address: "192.0.2.1", LastSeen: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		for range 2 { // creating again changes nothing
			if err := db.CreateAttackers(t.Context(), []ttp.Attacker{late, early}); err != nil {
				t.Fatal(err)
			}
		}
		found, err := db.AttackersByAddress(t.Context(), []string{"192.0.2.1", "192.0.2.9"})
		if err != nil || len(found) != 1 || found["192.0.2.1"].UUID != late.UUID {
			t.Errorf("by address: %+v, %v", found, err)
		}
		found, err = db.AttackersByUUID(t.Context(), []string{early.UUID})
		if err != nil || found[early.UUID].Address != "192.0.2.1" {
			t.Errorf("by uuid: %+v, %v", found, err)
		}
		if err := db.CreateIdentities(t.Context(), []string{late.UUID}); err != nil {
			t.Error(err)
		}
		if _, ok, err := db.Intel(t.Context(), late.UUID); ok || err != nil {
			t.Errorf("intel of a table that is absent: %v, %v", ok, err)
		}
	})
}

func TestOpen_refusesABadAddressWithoutQuotingIt(t *testing.T) {
	for _, dsn := range []string{"", "postgres://x", "mysql://u:geheim@h", "mysql://u:ge#heim@h/db", "sqlite://"} {
		if _, err := sink.Open(dsn, sink.Options{}); err == nil || strings.Contains(err.Error(), "heim") {
			t.Errorf("Open(%q) = %v", dsn, err)
		}
	}
}

func uuidsOf(tags []ttp.Tag) (uuids []string) {
	for i := range tags {
		uuids = append(uuids, tags[i].UUID)
	}
	return uuids
}
