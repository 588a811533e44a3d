package sink_test

import (
	"testing"

	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// IGNORE lets columns without a default that do not matter here be left out.
var sprayed = []string{
	`INSERT IGNORE INTO attacker_identities (uuid, merged_into_uuid) VALUES ('winner', NULL), ('loser', 'winner'), ('other', NULL)`,
	`INSERT IGNORE INTO attackers (uuid, ip, identity_id) VALUES ('a1', '192.0.2.1', 'winner'), ('a2', '192.0.2.2', 'loser'), ('a3', '192.0.2.3', 'other')`,
	`INSERT IGNORE INTO credentials (attacker_ip, attacker_uuid, service, secret_kind, secret_sha256, principal_key) VALUES
		('192.0.2.1', 'a1', 'ssh', 'plaintext', 'beef', 'root'), ('192.0.2.1', 'a1', 'ftp', 'plaintext', 'beef', 'root'),
		('192.0.2.1', 'a1', 'ssh', 'plaintext', 'beef', 'admin'), ('192.0.2.2', 'a2', 'ssh', 'plaintext', 'beef', 'oracle'),
		('192.0.2.2', 'a2', 'ssh', 'plaintext', 'beef', ''), ('192.0.2.2', 'a2', 'ssh', 'plaintext', 'cafe', 'oracle'),
		('192.0.2.3', 'a3', 'ssh', 'plaintext', 'beef', 'pi')`,
}

func TestSpraying_counts_the_accounts_of_the_most_tried_password(t *testing.T) {
	dsn := testdb.DECNET(t)
	testdb.Exec(t, dsn, sprayed...)
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for identity, want := range map[string]ttp.Spraying{
		"winner": {SecretHash: "beef", Accounts: 3}, // with the attackers of the identity merged into it
		"loser":  {SecretHash: "beef", Accounts: 1},
		"other":  {SecretHash: "beef", Accounts: 1},
		"nobody": {},
		"名":      {},
	} {
		got, ok, err := db.Spraying(t.Context(), identity)
		if err != nil || ok != (want.Accounts > 0) || got != want {
			t.Errorf("identity %s: %+v, %v, %v; want %+v", identity, got, ok, err, want)
		}
	}
}

func TestSpraying_is_unknown_where_nobody_collects_credentials(t *testing.T) {
	db, err := sink.Open(testdb.SQLite(t), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.Spraying(t.Context(), "winner"); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}
