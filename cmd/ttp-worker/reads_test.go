package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"ttp-worker/api"
	"ttp-worker/internal/testdb"
	"ttp-worker/navigator"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

const (
	readIdentity = "11111111-1111-4111-8111-111111111111"
	readHostile  = "=cmd|' /C calc'!A0 \x1b[2J\x1b]0;owned\a \u202egnp.exe \r\n<script>alert(1)</script> 名 " + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// readDB is a database with an identity's tags.
func readDB(t *testing.T) (dsn string) {
	t.Helper()
	dsn = testdb.SQLite(t)
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := errors.Join(db.Migrate(t.Context()), db.CreateIdentities(t.Context(), []string{readIdentity})); err != nil {
		t.Fatal(err)
	}
	arrived := ttp.Tagged{IdentityUUID: readIdentity}
	for i, technique := range []string{"T1083", "T1083", "T1082"} {
		ev := &ttp.Event{Kind: ttp.Command, SourceID: string(rune('a' + i)), IdentityUUID: readIdentity, SessionID: "s1", DeckyID: readHostile[:40]}
		arrived.Tags = append(arrived.Tags, ttp.NewTag(ev, ttp.Finding{
			Claim:      &ttp.Claim{RuleID: "R1", RuleVersion: 1, Tactic: "TA0007", Technique: technique, AttackRelease: "v19.2"},
			Confidence: 0.85, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote(readHostile)}},
		}))
	}
	if _, err := db.Write(t.Context(), []ttp.Tagged{arrived}); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// output runs the command line and returns what it wrote.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestReads_show(t *testing.T) {
	dsn := readDB(t)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"techniques":         {[]string{"techniques", "--all"}, []string{"T1083", "File and Directory Discovery", "Discovery", "   2 ", "0.85"}},
		"of an identity":     {[]string{"techniques", "--identity", readIdentity}, []string{"T1083", "T1082"}},
		"only the first":     {[]string{"techniques", "--session", "s1", "--limit", "1"}, []string{"T1083"}},
		"phases":             {[]string{"phases", "--identity", readIdentity}, []string{"DECKY", "Discovery"}},
		"tags":               {[]string{"tags", "--identity", readIdentity, "--technique", "T1082", "--since", "1h"}, []string{"T1082", `\x1b[2J`, `\u202e`, "R1 v1"}},
		"more tags":          {[]string{"tags", "--all", "--limit", "1"}, []string{"There are more: --after "}},
		"nothing":            {[]string{"techniques", "--attacker", "nobody"}, []string{"TECHNIQUE"}},
		"a layer":            {[]string{"export", "navigator"}, []string{`"domain": "enterprise-attack"`, `"techniqueID": "T1083"`}},
		"a layer of ICS":     {[]string{"export", "navigator", "--identity", readIdentity, "--domain", navigator.ICS}, []string{`"domain": "ics-attack"`}},
		"a bundle":           {[]string{"export", "stix", "--identity", readIdentity}, []string{`"type": "threat-actor"`, `"type": "sighting"`}},
		"as JSON":            {[]string{"techniques", "--all", "--json"}, []string{`"technique_id": "T1083"`}},
		"with a CSV heading": {[]string{"tags", "--all", "--csv"}, []string{"TIME,TECHNIQUE,"}},
	} {
		got, err := output(t, append(c.args, "--db", dsn)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
		if strings.ContainsAny(got, "\x1b\a") && !strings.HasPrefix(name, "with a CSV") {
			t.Errorf("%s: an attacker reaches the terminal: %q", name, got)
		}
	}
}

func TestReads_refuse(t *testing.T) {
	dsn := readDB(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no scope":         {[]string{"techniques", "--db", dsn}, "--all, --identity"},
		"two scopes":       {[]string{"techniques", "--all", "--session", "x", "--db", dsn}, "--all, --identity"},
		"no database":      {[]string{"tags", "--all"}, "--db is required"},
		"no identity":      {[]string{"phases", "--db", dsn}, "--identity"},
		"no number":        {[]string{"tags", "--all", "--limit", "x", "--db", dsn}, "--limit"},
		"a confidence":     {[]string{"tags", "--all", "--min-confidence", "2", "--db", dsn}, "--min-confidence"},
		"no page":          {[]string{"tags", "--all", "--after", "x", "--db", dsn}, "--after"},
		"no technique":     {[]string{"tags", "--all", "--technique", "x", "--db", dsn}, "--technique"},
		"too many at once": {[]string{"tags", "--all", "--limit", "501", "--db", dsn}, "500"},
	} {
		_, err := output(t, c.args...)
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a usage error with %q", name, err, c.want)
		}
	}
	if _, err := output(t, "tags", "--all", "--db", "sqlite:///nonexistent/x.db"); err == nil || errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "(") {
		t.Errorf("a database that is not there: %v, want its error with a hint", err)
	}
}

func TestTable_isAlignedAndHarmless(t *testing.T) {
	table := &table{head: []string{"NAME", "TAGS", "EVIDENCE"}, numbers: map[int]bool{1: true}}
	table.rows = [][]string{{"a", "5", readHostile}, {"größer", "1,234", ""}, {strings.Repeat("w", 500), "0", "x"}}
	var out bytes.Buffer
	if err := table.write(&out, 100); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if n := utf8.RuneCountInString(line); n > 100 || strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 }) {
			t.Errorf("line %d: %d wide, %q", i, n, line)
		}
	}
	out.Reset()
	table.rows = table.rows[:2]
	if err := table.write(&out, 0); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if at := strings.Index(lines[0], "EVIDENCE"); !strings.HasPrefix(lines[1][at:], `=cmd`) || lines[2][:len("größer   1,234")] != "größer  1,234"+" " {
		t.Errorf("not aligned:\n%s", out.String())
	}
}

// TestTable_fitsTheTerminal makes sure that what matters most is to be seen
// however narrow a terminal is.
func TestTable_fitsTheTerminal(t *testing.T) {
	table := tagTable([]api.Tag{{
		Technique: "T1059", SubTechnique: new("T1059.004"), Tactic: "TA0002", RuleID: "R0001", RuleVersion: 1, DeckyID: new("web-server-01"),
		AttackerUUID: new(readIdentity), Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote(strings.Repeat("wget ", 20))}},
	}})
	for columns, want := range map[int]string{
		40:  "TIME TECHNIQUE EVIDENCE",
		80:  "TIME TECHNIQUE DECKY EVIDENCE",
		100: "TIME TECHNIQUE TACTIC RULE DECKY EVIDENCE",
		120: "TIME TECHNIQUE TACTIC CONFIDENCE RULE DECKY EVIDENCE",
		200: "TIME TECHNIQUE TACTIC CONFIDENCE RULE DECKY ATTACKER EVIDENCE",
	} {
		var out bytes.Buffer
		if err := table.write(&out, columns); err != nil {
			t.Fatal(err)
		}
		head, row, _ := strings.Cut(out.String(), "\n")
		if got := strings.Join(strings.Fields(strings.TrimSuffix(head, "…")), " "); !strings.HasPrefix(want, got) || len(want)-len(got) > 7 {
			t.Errorf("%d columns: %q, want %q", columns, got, want)
		}
		if n := utf8.RuneCountInString(strings.TrimSuffix(row, "\n")); n > columns || columns >= 80 && !strings.Contains(row, "wget wget wget") {
			t.Errorf("%d columns: %d wide: %s", columns, n, row)
		}
	}
}

func TestTable_csvIsNoFormula(t *testing.T) {
	table := &table{head: []string{"A", "N"}, numbers: map[int]bool{1: true}, rows: [][]string{{readHostile, "-1"}, {"@x", "2"}, {"plain", "3"}}}
	var out bytes.Buffer
	if err := table.writeCSV(&out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows[1][0][0] != '\'' || rows[2][0] != "'@x" || rows[3][0] != "plain" || rows[1][1] != "-1" {
		t.Errorf("%q", rows)
	}
}

// TestReads_jsonIsTheAPIs makes sure that a script may use either.
func TestReads_jsonIsTheAPIs(t *testing.T) {
	got, err := output(t, "tags", "--all", "--json", "--db", readDB(t))
	if err != nil {
		t.Fatal(err)
	}
	var tags []api.Tag
	if err := json.Unmarshal([]byte(got), &tags); err != nil {
		t.Fatal(err)
	}
	if len(tags) != 3 || tags[0].Evidence.Text("command_text") != readHostile {
		t.Errorf("%+v", tags)
	}
}
