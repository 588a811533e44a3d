package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

func TestReadCorpus(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "commands.jsonl")
	for text, want := range map[string][]string{
		"{\"input\":\"id\",\"eventid\":\"x\"}\n{\"input\":\"ls\"}\n": {"id", "ls"},
		"{\"input\":\"id\"}\nid\n":                                   nil,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readCorpus(name)
		if diff := cmp.Diff(want, got); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// told is a message as the worker and the bare loop read it.
type told struct {
	Payload struct {
		Address  string    `json:"attacker_ip"`
		Text     string    `json:"command_text"`
		TS       string    `json:"ts"`
		Tags     int       `json:"bench_tags"`
		Commands []command `json:"commands"`
	}
}

func messageOf(t *testing.T, r *rig, m mix, n int) (subject string, in told) {
	t.Helper()
	subject, data := r.message(m, n)
	if err := json.Unmarshal(data, &in); err != nil {
		t.Fatal(err)
	}
	return subject, in
}

var ofTwoLines = &rig{corpus: []string{"id", "cat /etc/shadow"}, tags: []int{0, 3}}

func TestMessage_ofMarkedCommandsHasAsManyTagsAsItsMixIsNamedFor(t *testing.T) {
	t.Parallel()
	for _, m := range []mix{sparse, usual, dense} {
		const events = 1000
		tags := 0
		for n := range events {
			subject, in := messageOf(t, ofTwoLines, m, n)
			tags += in.Payload.Tags
			if subject != "attacker.command" || !strings.HasSuffix(in.Payload.Text, fmt.Sprintf(" #mark%d", in.Payload.Tags)) {
				t.Fatalf("%s: %s, %+v", m.name, subject, in)
			}
		}
		if name := fmt.Sprint(float64(tags)/events) + " tags an event"; name != m.name {
			t.Errorf("%s has %s", m.name, name)
		}
	}
}

func TestMessage_ofASessionLeavesItsTagsToTheBareLoop(t *testing.T) {
	t.Parallel()
	subject, in := messageOf(t, ofTwoLines, sessions, 3)
	if subject != "attacker.session.ended" || len(in.Payload.Commands) != 20 || in.Payload.Tags != 30 {
		t.Errorf("%s, %d commands, %d tags, want 20 and 30", subject, len(in.Payload.Commands), in.Payload.Tags)
	}
	for _, c := range in.Payload.Commands {
		if c.Tags != 0 {
			t.Errorf("command %+v is counted twice", c)
		}
	}
}

func TestMessage_ofASessionRepeatsNoCommandInTheSameSecond(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for n := range 3000 {
		_, in := messageOf(t, ofTwoLines, sessions, n)
		for _, c := range in.Payload.Commands {
			key := in.Payload.Address + c.TS + c.Text
			if seen[key] {
				t.Fatalf("message %d: %s again", n, key)
			}
			seen[key] = true
		}
	}
}

func TestMessage_isOfAnotherAttackerOrAnotherSecond(t *testing.T) {
	t.Parallel()
	for _, m := range []mix{real, usual, {name: "wide", wide: 70_000}} {
		seen := make(map[[2]string]bool)
		attackers := make(map[string]bool)
		for n := range 3000 {
			_, in := messageOf(t, ofTwoLines, m, n)
			seen[[2]string{in.Payload.Address, in.Payload.TS}] = true
			attackers[in.Payload.Address] = true
		}
		if len(seen) != 3000 || len(attackers) != min(3000, m.attackers()) {
			t.Errorf("%s: %d different events of %d attackers", m.name, len(seen), len(attackers))
		}
	}
}

func TestMessages_areAsManyAsHaveTheEvents(t *testing.T) {
	t.Parallel()
	r := &rig{events: 1000}
	for name, c := range map[string]struct {
		scenario         scenario
		events, messages int
	}{
		"commands":       {scenario{mix: usual}, 1000, 1000},
		"sessions":       {scenario{mix: sessions}, 1000, 50},
		"its own number": {scenario{mix: usual, events: 7}, 7, 7},
	} {
		if events, messages := r.eventsOf(c.scenario), r.messages(c.scenario); events != c.events || messages != c.messages {
			t.Errorf("%s: %d events in %d messages, want %d in %d", name, events, messages, c.events, c.messages)
		}
	}
}

// rulesIn loads what one of the writers writes.
func rulesIn(t *testing.T, dir string, err error) *rule.Set {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	set, problems := rule.Load(rule.Options{Expand: shell.Expander}, rule.Source{Name: "bench", FS: os.DirFS(dir)})
	for _, p := range problems {
		t.Fatal(p)
	}
	return set
}

func TestMarkers_giveAsManyTagsAsTheCommandIsMarkedWith(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "rules")
	set := rulesIn(t, dir, writeMarkers(dir))
	for n := range 6 {
		found, err := set.Tag(t.Context(), &ttp.Event{Kind: ttp.Command, Payload: ttp.Object{{Name: "command_text", Value: ttp.Quote(fmt.Sprintf("id #mark%d", n))}}})
		if err != nil || len(found) != n {
			t.Errorf("mark %d: %d tags, %v", n, len(found), err)
		}
	}
}

func TestFiller_isSoManyRulesThatAllLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "rules")
	loaded := 0
	for _, info := range rulesIn(t, dir, writeFiller(dir, 2)).Rules() {
		if info.Status == rule.Loaded {
			loaded++
		}
	}
	if loaded != 2*fillerRules {
		t.Errorf("%d rules, want %d", loaded, 2*fillerRules)
	}
}
