package sink_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// withEvidence makes an event with n tags that each have this evidence.
func withEvidence(id string, n int, evidence ttp.Value) ttp.Tagged {
	t := tagged(id, n)
	for i := range t.Tags {
		t.Tags[i].Evidence = ttp.Object{{Name: "command_text", Value: evidence}}
	}
	return t
}

func TestWrite_announcesEvidenceOfAnyScript(t *testing.T) {
	for name, evidence := range map[string]ttp.Value{
		"as UTF-8":          `"é名😀"`,
		"escaped":           `"\u00e9\u540d\ud83d\ude00"`,
		"half of a pair":    `"\ud83d"`,
		"bidi and controls": "\"\u202e\\u0000\\u001b[31m\"",
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, db *sink.DB) {
				w := write(t, db, withEvidence("a", 1, evidence))
				left := pending(t, db)
				if w.Inserted != 1 || len(left) != 1 {
					t.Fatalf("%d inserted, %d in the outbox, refused %v", w.Inserted, len(left), w.Refused)
				}
				var want, got any
				if err := json.Unmarshal([]byte(evidence), &want); err != nil {
					t.Fatal(err)
				}
				stored, _ := left[0].Tags[0].Evidence.Get("command_text")
				if err := json.Unmarshal([]byte(stored), &got); err != nil || got != want {
					t.Errorf("outbox holds %q, want %q (%v)", got, want, err)
				}
			})
		})
	}
}

// Whatever an attacker writes is stored as it is: it ends no text and begins no
// statement.
func TestWrite_keepsEveryCharacter(t *testing.T) { onEach(t, keepsEveryCharacter) }

// A server may be set up to take a backslash for itself and a quotation mark
// for a name.
func TestWrite_keepsEveryCharacterWhateverTheServersModeIs(t *testing.T) {
	dsn := testdb.Kept(t, filepath.Join(t.TempDir(), "data"), "--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT")
	keepsEveryCharacter(t, openMigrated(t, dsn))
}

func keepsEveryCharacter(t *testing.T, db *sink.DB) {
	var all []byte
	for c := range byte(0x80) {
		all = append(all, c)
	}
	texts := []string{string(all), `'); DROP TABLE ttp_tag; -- "`, `\'\\'\`, `\`, `'`, "%_\\%", "\x00", "é"}
	var batch []ttp.Tagged
	for i, text := range texts {
		one := tagged(fmt.Sprint(i), 1)
		one.Tags[0].SessionID = text
		batch = append(batch, one)
	}
	if w := write(t, db, batch...); w.Inserted != len(texts) {
		t.Fatalf("refused %v", w.Refused)
	}
	left := pending(t, db)
	if len(left) != len(texts) {
		t.Fatalf("%d are to be announced, want %d", len(left), len(texts))
	}
	for i, a := range left {
		if got := a.Tags[0].SessionID; got != texts[i] {
			t.Errorf("stored %q, want %q", got, texts[i])
		}
	}
}

// A batch of 20 MiB is more than a server takes in one statement, and an event
// of 8 MiB more than a message carries.
func TestWrite_splitsWhatNoStatementAndNoMessageCarries(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		long := ttp.Quote(strings.Repeat("'\"é", 1365)) // 4 KiB, as the text is cut
		var batch []ttp.Tagged
		for i := range 4 {
			batch = append(batch, withEvidence(fmt.Sprint(i), 500, long))
		}
		w := write(t, db, batch...)
		if w.Inserted != 2000 || len(w.Refused) != 0 {
			t.Fatalf("%d inserted, %d refused", w.Inserted, len(w.Refused))
		}
		var ids []string
		tags := 0
		for _, a := range w.Fresh {
			payload, err := json.Marshal(a.Tagged)
			if err != nil || len(payload) > 1<<20 {
				t.Errorf("an announcement of %d bytes (%v)", len(payload), err)
			}
			ids = append(ids, a.ID)
			tags += len(a.Tags)
		}
		var outbox []string
		for _, a := range pending(t, db) {
			outbox = append(outbox, a.ID)
		}
		slices.Sort(ids)
		slices.Sort(outbox)
		if tags != 2000 || !slices.Equal(ids, outbox) {
			t.Errorf("%d tags announced in %d parts, %d in the outbox", tags, len(ids), len(outbox))
		}
	})
}

func TestLookups_areAskedForAnyText(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		ctx := t.Context()
		for _, hostile := range []string{"fe80::1%é😀", "\xff", "'; DROP TABLE attackers; --", "\x00", strings.Repeat("9", 1<<16)} {
			found, err := db.AttackersByAddress(ctx, []string{hostile, "198.51.100.7"})
			if err != nil || len(found) != 1 || found["198.51.100.7"].UUID != attacker {
				t.Errorf("by address beside %.20q: %v, %v", hostile, found, err)
			}
			found, err = db.AttackersByUUID(ctx, []string{hostile, attacker})
			if err != nil || len(found) != 1 {
				t.Errorf("by uuid beside %.20q: %v, %v", hostile, found, err)
			}
			for what, ask := range map[string]func() (bool, error){
				"intel":   func() (bool, error) { _, ok, err := db.Intel(ctx, hostile); return ok, err },
				"trigger": func() (bool, error) { _, ok, err := db.CanaryTrigger(ctx, hostile); return ok, err },
				"token":   func() (bool, error) { _, ok, err := db.CanaryToken(ctx, hostile); return ok, err },
				"reuse":   func() (bool, error) { _, ok, err := db.CredentialReuse(ctx, hostile); return ok, err },
				"chunks": func() (bool, error) {
					list, err := db.CanaryChunks(ctx, hostile, hostile)
					return len(list) > 0, err
				},
			} {
				if ok, err := ask(); ok || err != nil {
					t.Errorf("%s of %.20q: %v, %v", what, hostile, ok, err)
				}
			}
		}
	})
}

func TestCreateAttackers_leavesOutWhatTheTableDoesNotTake(t *testing.T) {
	onEach(t, func(t *testing.T, db *sink.DB) {
		good := ttp.Attacker{UUID: ttp.AttackerUUID("192.0.2.5"), Address: "192.0.2.5"}
		bad := ttp.Attacker{UUID: strings.Repeat("é😀", 300), Address: "192.0.2.6"}
		if err := db.CreateAttackers(t.Context(), []ttp.Attacker{bad, good}); err != nil {
			t.Fatal(err)
		}
		found, err := db.AttackersByAddress(t.Context(), []string{"192.0.2.5"})
		if err != nil || found["192.0.2.5"].UUID != good.UUID {
			t.Errorf("the other attacker: %v, %v", found, err)
		}
	})
}

func TestMigrate_severalAtOnce(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			dsn := fresh(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					db, err := sink.Open(dsn, sink.Options{})
					if err != nil {
						t.Error(err)
						return
					}
					defer db.Close()
					if err := db.Migrate(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// A process may be killed when a step is made and not noted yet, and DDL can't
// be rolled back everywhere.
func TestMigrate_goesOnAfterAKill(t *testing.T) {
	t.Parallel()
	dsn := testdb.MySQL(t)
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for version := 8; version >= 0; version-- {
		testdb.Exec(t, dsn, fmt.Sprintf("DELETE FROM ttp_schema_version WHERE version_id >= %d", version))
		if err := db.Migrate(t.Context()); err != nil {
			t.Errorf("after step %d: %v", version, err)
		}
	}
}

// The indexes of ttp_tag are made wider by several statements.
func TestMigrate_goesOnWithWideIndexesAfterAKill(t *testing.T) {
	t.Parallel()
	dsn := testdb.MySQL(t)
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	steps, err := sink.WideIndexes(db)
	if err != nil {
		t.Fatal(err)
	}
	const indexes = `SELECT CONCAT(index_name, ' ', seq_in_index, ' ', column_name) FROM information_schema.statistics
		WHERE table_schema = DATABASE() AND table_name = 'ttp_tag' ORDER BY 1`
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := testdb.Query(t, dsn, indexes)
	for made := range len(steps) + 1 {
		testdb.Exec(t, dsn, narrowIndexes["mariadb"]...)
		testdb.Exec(t, dsn, steps[:made]...)
		testdb.Exec(t, dsn, "DELETE FROM ttp_schema_version WHERE version_id >= 7")
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatalf("after %d steps: %v", made, err)
		}
		if diff := cmp.Diff(want, testdb.Query(t, dsn, indexes)); diff != "" {
			t.Errorf("after %d steps (-want +got):\n%s", made, diff)
		}
	}
}

// MySQL rounds a time that has more digits than its column, up into the future.
func TestWrite_cutsTheTimeToTheColumn(t *testing.T) {
	dsn := testdb.DECNET(t)
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sink.SetNow(db, time.Date(2026, 2, 3, 4, 5, 59, 999_999_900, time.UTC))
	if err := db.CreateAttackers(t.Context(), []ttp.Attacker{{UUID: attacker, Address: "198.51.100.7"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, db, tagged("a", 1))
	if at := testdb.Query(t, dsn, "SELECT CAST(created_at AS CHAR) FROM ttp_tag"); !slices.Equal(at, []string{"2026-02-03 04:05:59"}) {
		t.Errorf("created_at is %q", at)
	}
}

// Connections that an administrator kills are replaced; what was under way
// fails whole and succeeds when it is tried again.
func TestWrite_survivesKilledConnections(t *testing.T) {
	dsn := testdb.MySQL(t)
	db, err := sink.Open(dsn, sink.Options{Announce: true})
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
	admin := testdb.Open(t, dsn)
	done := make(chan struct{}) // closed when the writes are through
	go func() {
		for range 1000 { // a server that stores slowly would never be through
			select {
			case <-done:
				return
			default:
				killOthers(admin)
			}
		}
	}()
	inserted := 0
	for i := range 20 {
		for {
			w, err := db.Write(t.Context(), []ttp.Tagged{tagged(fmt.Sprint(i), 50)})
			if err == nil {
				inserted += w.Inserted + w.Duplicates
				break
			}
			if class, _ := sink.Explain(err); class != "connection" {
				t.Fatalf("class %s: %v", class, err)
			}
		}
	}
	close(done)
	if inserted != 20*50 {
		t.Errorf("%d tags stored, want 1000", inserted)
	}
}

func killOthers(admin *sql.DB) {
	rows, err := admin.Query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
	if err != nil {
		return // the administrator's own connection is one of those killed
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if rows.Scan(&id) == nil {
			_, _ = admin.Exec("KILL CONNECTION ?", id) // gone already is as good
		}
	}
	_ = rows.Err() // the next round asks again
}

func TestExplain_classifiesByNumber(t *testing.T) {
	for number, want := range map[uint16]string{
		1045: "access", 1142: "access", 1290: "readonly", 1836: "readonly", 1213: "conflict", 1205: "conflict",
		1146: "schema", 1054: "schema", 1452: "orphan", 1406: "row", 4025: "row", 3819: "row", 1114: "full",
		2013: "connection", 1053: "connection", 9999: "other",
	} {
		class, hint := sink.Explain(fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: number}))
		if class != want || hint == "" {
			t.Errorf("%d is %q (%s), want %q", number, class, hint, want)
		}
	}
}

// What goes wrong before there is a connection must not be blamed on a message.
func TestExplain_whatFailsWhileConnectingIsTheConnections(t *testing.T) {
	db, err := sink.Open(testdb.MySQL(t)+"?tls=skip-verify", sink.Options{}) // of a server without TLS
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Write(t.Context(), []ttp.Tagged{tagged("a", 1)})
	if class, hint := sink.Explain(err); class != "connection" || !strings.Contains(hint, "TLS") {
		t.Errorf("%v is %q (%s)", err, class, hint)
	}
}

// A server that hangs at the commit must not hold up a worker that is to stop.
func TestWrite_givesUpAHangingCommit(t *testing.T) {
	dsn := testdb.MySQL(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{}) // closed by the test
	u.Host = hangAtCommit(t, u.Host, hang)
	db, err := sink.Open(dsn, sink.Options{})
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
	slow, err := sink.Open(u.String(), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	write(t, slow, tagged("a", 1))
	close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begun := time.Now()
	if _, err := slow.Write(ctx, []ttp.Tagged{tagged("b", 1)}); err == nil {
		t.Error("written without an answer to the commit")
	} else if class, _ := sink.Explain(err); class != "connection" {
		t.Errorf("class %s: %v", class, err)
	}
	if passed := time.Since(begun); passed > 10*time.Second {
		t.Errorf("gave up after %s", passed)
	}
}

// hangAtCommit listens and forwards to a server; once hang is closed, what
// holds a COMMIT is kept back for ever.
func hangAtCommit(t *testing.T, to string, hang <-chan struct{}) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
			go func() {
				defer server.Close()
				buf := make([]byte, 1<<16)
				for {
					n, err := client.Read(buf)
					if err != nil {
						return
					}
					select {
					case <-hang:
						if bytes.Contains(buf[:n], []byte("\x03COMMIT")) {
							_, _ = io.Copy(io.Discard, client)
							return
						}
					default:
					}
					if _, err := server.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
