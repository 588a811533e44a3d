package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"ttp-worker/internal/testdb"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// rules runs "ttp-worker rules …" and returns what it writes.
func rules(t *testing.T, args ...string) (out, complaints string, err error) {
	t.Helper()
	var o, c bytes.Buffer
	root := newRoot()
	root.SetArgs(append([]string{"rules"}, args...))
	root.SetOut(&o)
	root.SetErr(&c)
	err = root.ExecuteContext(t.Context())
	return o.String(), c.String(), err
}

// mustRules is rules where nothing should go wrong.
func mustRules(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := rules(t, args...)
	if err != nil {
		t.Fatalf("rules %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func ruleDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const alphaRule = `title: Alpha used
id: ALPHA
version: 3
description: Somebody runs alpha.
tags: [attack.t1105]
level: high
logsource: {category: command}
detection:
  prog: {program: alpha}
  help: {args|contains: --help}
  condition: prog and not help
tests:
  - {match: alpha x}
  - {no_match: alpha --help}
`

// freshDB returns the address of a database with our tables.
func freshDB(t *testing.T, dsn string) (string, *sink.DB) {
	t.Helper()
	db, err := sink.Open(dsn, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dsn, db
}

func TestRules_listAndShow(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule, "bad.yml": "title: x\nid: BAD\ndetection: 1\n", "worse.yml": "{"})
	out := mustRules(t, "list", "--rules", dir)
	for _, want := range []string{"ALPHA  3        loaded", "BAD    1        refused", "worse.yml: read rule file"} {
		if !strings.Contains(out, want) {
			t.Errorf("list without %q:\n%s", want, out)
		}
	}
	out = mustRules(t, "show", "ALPHA", "--rules", dir)
	for _, want := range []string{"ALPHA, version 3", "Somebody runs alpha.", "TA0011 T1105, confidence 0.85"} {
		if !strings.Contains(out, want) {
			t.Errorf("show without %q:\n%s", want, out)
		}
	}
	var cards []card
	if err := json.Unmarshal([]byte(mustRules(t, "show", "ALPHA", "--rules", dir, "--json")), &cards); err != nil || len(cards) != 1 || cards[0].Emits[0].Technique != "T1105" {
		t.Errorf("show --json: %+v, %v", cards, err)
	}
	if _, _, err := rules(t, "show", "ALPA", "--rules", dir); err == nil || !strings.Contains(err.Error(), `did you mean "ALPHA"?`) {
		t.Errorf("show of an unknown rule: %v", err)
	}
}

func TestRules_lint(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule})
	if out := mustRules(t, "lint", "--rules", dir); out != "" {
		t.Errorf("a good rule: %s", out)
	}
	if out, _, err := rules(t, "lint", "--rules", dir, "--level", "hint"); err == nil || !strings.Contains(out, "hint: rule ALPHA: references: it is missing") {
		t.Errorf("with hints: %v\n%s", err, out)
	}
	dir = ruleDir(t, map[string]string{"a.yml": strings.Replace(alphaRule, "attack.t1105", "attack.t1105, attack.t1562.001", 1)})
	out, _, err := rules(t, "lint", "--rules", dir)
	if want := "a.yml:1: warning: rule ALPHA: tags: technique T1562.001 was revoked, use T1685"; !strings.Contains(out, want) || err == nil || errors.As(err, new(usageError)) {
		t.Errorf("want %q and a failure, got %v\n%s", want, err, out)
	}
	var remarks []remark
	out, _, _ = rules(t, "lint", "--rules", dir, "--json")
	if err := json.Unmarshal([]byte(out), &remarks); err != nil || len(remarks) != 1 || remarks[0].Level != "warning" || remarks[0].Line != 1 {
		t.Errorf("--json: %+v, %v", remarks, err)
	}
}

func TestRules_testSaysWhatCameInsteadAndHow(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule + "  - {match: beta x}\n  - {no_match: alpha y}\n"})
	out, _, err := rules(t, "test", "--rules", dir)
	if err == nil || !strings.HasPrefix(err.Error(), "2 tests failed, 0 ") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{
		"a.yml:15\n    input:  beta x\n  - want:   a match\n  + got:    no match\n", `- prog: program is "alpha"   saw beta`,
		"    input:  alpha y\n  - want:   no match\n  + got:    a match\n", `+ prog: program is "alpha"   saw alpha`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	var report testReport
	out, _, _ = rules(t, "test", "--rules", dir, "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Failures) != 2 || report.Failures[0].Line != 15 {
		t.Errorf("--json: %+v, %v", report, err)
	}
}

func TestRules_explain(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule})
	for line, want := range map[string]string{
		"sudo alpha x":         "MATCH ALPHA  Alpha used\n    in the simple command: alpha x\n",
		"alpha --help":         "close ALPHA  Alpha used\n    in the simple command: alpha --help\n  - it must not be: help\n",
		"beta":                 "0 of 1 rules match, 1 more found nothing",
		"alpha \x1b[31mx":      `alpha \x1b[31mx`,
		`{"command_text":"x"}`: "0 of 1 rules match",
	} {
		if out := mustRules(t, "explain", "--rules", dir, line); !strings.Contains(out, want) {
			t.Errorf("%q: no %q in:\n%s", line, want, out)
		}
	}
	if out := mustRules(t, "explain", "--rules", dir, "alpha x"); !strings.Contains(out, "tag: TA0011 T1105 by ALPHA, confidence 0.85\n") {
		t.Errorf("the tag is not in:\n%s", out)
	}
	if out := mustRules(t, "explain", "--rules", dir, "--rule", "ALPHA", "beta x"); !strings.Contains(out, `- prog: program is "alpha"   saw beta`) {
		t.Errorf("one rule:\n%s", out)
	}
	var list []explanation
	if err := json.Unmarshal([]byte(mustRules(t, "explain", "--rules", dir, "--json", "alpha x")), &list); err != nil || len(list) != 1 || !list[0].Matched {
		t.Errorf("--json: %+v, %v", list, err)
	}
	for _, args := range [][]string{{"--kind", "session", "x"}, {}, {"a", "b"}} {
		if _, _, err := rules(t, append([]string{"explain", "--rules", dir}, args...)...); !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestRules_coverage(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule})
	var layer struct {
		Domain     string
		Techniques []struct {
			TechniqueID, Tactic, Comment string
			Score                        float64
		}
	}
	if err := json.Unmarshal([]byte(mustRules(t, "coverage", "--rules", dir)), &layer); err != nil {
		t.Fatal(err)
	}
	if c := layer.Techniques[0]; layer.Domain != "enterprise-attack" || c.TechniqueID != "T1105" || c.Tactic != "command-and-control" || c.Score != 1 || c.Comment != "ALPHA (0.85) Alpha used" {
		t.Errorf("got %+v", layer)
	}
}

func TestRules_states(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "sqlite": testdb.SQLite} {
		t.Run(name, func(t *testing.T) {
			address, db := freshDB(t, dsn(t))
			dir := ruleDir(t, map[string]string{"a.yml": alphaRule})
			common := []string{"--db", address, "--rules", dir}
			if out := mustRules(t, append([]string{"clip", "ALPHA", "--max", "0.4", "--until", "2h", "--reason", "too noisy"}, common...)...); !strings.HasPrefix(out, "ALPHA is clipped to 0.4 until 20") {
				t.Errorf("clip: %s", out)
			}
			list, err := db.RuleStates(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			if s := list[0]; s.State != ttp.RuleClipped || *s.MaxConfidence != 0.4 || s.Reason != "too noisy" || s.SetBy == "" || time.Until(s.Until) < time.Hour {
				t.Errorf("stored %+v", s)
			}
			if out := mustRules(t, append([]string{"list"}, common...)...); !strings.Contains(out, "ALPHA  3        clipped") || !strings.Contains(out, ": too noisy") {
				t.Errorf("list:\n%s", out)
			}
			mustRules(t, append([]string{"disable", "ALPHA"}, common...)...)
			if out := mustRules(t, append([]string{"show", "ALPHA"}, common...)...); !strings.Contains(out, "disabled, by ") {
				t.Errorf("show:\n%s", out)
			}
			mustRules(t, append([]string{"enable", "ALPHA"}, common...)...)
			if out := mustRules(t, append([]string{"list"}, common...)...); !strings.Contains(out, "ALPHA  3        loaded") {
				t.Errorf("list:\n%s", out)
			}
			if _, complaints, err := rules(t, append([]string{"disable", "ALPA"}, common...)...); err != nil || !strings.Contains(complaints, `did you mean "ALPHA"?`) {
				t.Errorf("an unknown rule: %v, %s", err, complaints)
			}
		})
	}
}

func TestRules_statesUsedWrongly(t *testing.T) {
	db := "sqlite://" + filepath.Join(t.TempDir(), "ttp.db")
	for name, c := range map[string]struct {
		args  []string
		usage bool
		want  string
	}{
		"no rule":         {[]string{"disable", "--db", db}, true, "takes one argument"},
		"no database":     {[]string{"disable", "R0001"}, true, "--db is required"},
		"a bad database":  {[]string{"disable", "R0001", "--db", "x"}, true, "--db: "},
		"no tables":       {[]string{"disable", "R0001", "--db", db}, false, "ttp-worker migrate"},
		"no maximum":      {[]string{"clip", "R0001", "--db", db}, true, "--max is required"},
		"a maximum of 2":  {[]string{"clip", "R0001", "--db", db, "--max", "2"}, true, "not within 0 and 1"},
		"no time at all":  {[]string{"disable", "R0001", "--db", db, "--until", "soon"}, true, "want a duration"},
		"a time gone by":  {[]string{"disable", "R0001", "--db", db, "--until", "2020-01-01"}, true, "in the past"},
		"a long reason":   {[]string{"disable", "R0001", "--db", db, "--reason", strings.Repeat("x", 256)}, true, "256 characters"},
		"enable until":    {[]string{"enable", "R0001", "--db", db, "--until", "2h"}, true, "unknown flag"},
		"unknown rules":   {[]string{"disable", "R0001", "--db", db, "--rules", "/nonexistent"}, true, "--rules"},
		"no such command": {[]string{"reset"}, true, "takes no argument"},
	} {
		if _, _, err := rules(t, c.args...); err == nil || errors.As(err, new(usageError)) != c.usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRules_statesAreTheMasters(t *testing.T) {
	t.Setenv("DECNET_MODE", "agent")
	for _, args := range [][]string{{"disable", "R0001"}, {"enable", "R0001"}, {"clip", "R0001"}} {
		if _, _, err := rules(t, args...); err == nil || errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "DECNET_MODE") {
			t.Errorf("%s: %v", args[0], err)
		}
	}
	help, _, _ := rules(t, "--help")
	if strings.Contains(help, "disable") || !strings.Contains(help, "explain") {
		t.Errorf("help on an agent:\n%s", help)
	}
	mustRules(t, "list")
}

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90m": "2026-05-01T13:30:00Z", "7d": "2026-05-08T12:00:00Z", "2026-05-02": "2026-05-02T00:00:00Z",
		"2026-05-02T06:00:00+02:00": "2026-05-02T04:00:00Z", "2026-05-02 06:00": "2026-05-02T06:00:00Z",
	} {
		if got, err := parseUntil(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"-1h", "0s", "99999999d", "tomorrow", "d"} {
		if got, err := parseUntil(text, now); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// A running worker follows its rule files and the states in its database, and
// tells both on the bus.
func TestLive_followsItsRules(t *testing.T) {
	dir := ruleDir(t, map[string]string{"a.yml": alphaRule})
	dsn := testdb.SQLite(t)
	h := startLive(t, dsn, zap.NewNop(), dir)
	typed := func(id, line string) {
		h.publish(t, "attacker.command", `{"payload":{"attacker_ip":"198.51.100.7","decky_id":"d","id":"`+id+`","command_text":"`+line+`"}}`)
	}
	typed("1", "alpha 1")
	until(t, "a tag", func() bool { return h.count("ttp.tagged") == 1 })

	if err := os.WriteFile(filepath.Join(dir, "b.yml"), []byte(strings.NewReplacer("ALPHA", "BETA", "alpha", "beta").Replace(alphaRule)), 0o644); err != nil {
		t.Fatal(err)
	}
	until(t, "ttp.rule.reloaded.BETA", func() bool { return h.count("ttp.rule.reloaded.BETA") == 1 })
	typed("2", "beta 1")
	until(t, "a tag of the new rule", func() bool { return h.count("ttp.tagged") == 2 })

	mustRules(t, "disable", "ALPHA", "--db", dsn, "--rules", dir)
	until(t, "ttp.rule.state.ALPHA", func() bool { return h.count("ttp.rule.state.ALPHA") == 1 })
	typed("3", "alpha 2")
	typed("4", "beta 2")
	until(t, "a tag of the other rule", func() bool { return h.count("ttp.tagged") == 3 })
	h.stop()
	if n := h.count("ttp.rule.suppressed"); n != 1 || h.count("ttp.tagged") != 3 {
		t.Errorf("%d reports of dropped tags, %d announcements", n, h.count("ttp.tagged"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, env := range h.seen["ttp.rule.suppressed"] {
		if p := env.Payload; p.Text("rule_id") != "ALPHA" || p.Text("reason") != "disabled" {
			t.Errorf("reported %+v", p)
		}
	}
}
