package sink_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"ttp-worker/sink"
)

// landed are the checksums of the migrations that databases may have made
// already. What is here stays as it is: a database that made a migration never
// sees a change of it. What a table lacks is added by a further one.
var landed = map[string]string{
	"mysql/00001_campaigns.sql":           "d4589e1de899fad6",
	"mysql/00002_attacker_identities.sql": "499e3ef47a9dba87",
	"mysql/00003_attackers.sql":           "4da14ca581b0c4bc",
	"mysql/00004 createTags":              "7373aaf0db3ab0e8",
	"mysql/00005_outbox.sql":              "82ca60399397214a",
	"mysql/00006_rule_state.sql":          "0eb95fabf13d2cc1",
	"mysql/00007 widenIndexes":            "0c80e907d4b3e9a6",
	"mysql/00008_replay.sql":              "d72b230b4500545b",
	"sqlite/00001_schema.sql":             "e50182b4a3cc5cb3",
	"sqlite/00002_rollups.sql":            "1fd5f8bcfa09883c",
	"sqlite/00003_replay.sql":             "b2118def480cbfc9",
}

func TestMigrations_stayAsTheyAre(t *testing.T) {
	texts, err := sink.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		sum := sha256.Sum256([]byte(text))
		switch got := hex.EncodeToString(sum[:8]); landed[name] {
		case got:
		case "":
			t.Errorf("%s is new: add it with %s", name, got)
		default:
			t.Errorf("%s was changed, it has %s: make a further migration instead", name, got)
		}
	}
	for name := range landed {
		if _, ok := texts[name]; !ok {
			t.Errorf("%s is gone: databases that have made it expect it", name)
		}
	}
}

// TiDB refuses a statement that names an index twice, where MySQL and MariaDB
// drop the one and make the other.
func TestMigrations_nameAnIndexOnceInAStatement(t *testing.T) {
	texts, err := sink.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	index := regexp.MustCompile(`(?i)(?:ADD|DROP|RENAME) (?:INDEX|KEY) (\w+)`)
	named := 0
	for name, text := range texts {
		for statement := range strings.SplitSeq(text, ";") {
			seen := map[string]bool{}
			for _, m := range index.FindAllStringSubmatch(statement, -1) {
				if named++; seen[m[1]] {
					t.Errorf("%s names %s twice in one statement", name, m[1])
				}
				seen[m[1]] = true
			}
		}
	}
	if named < 10 {
		t.Errorf("%d indexes found, where migrations are known to change 10", named)
	}
}
