package intake_test

import (
	"context"
	"maps"
	"testing"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// late knows an attacker from some time on.
type late struct {
	rows
	there bool
}

func (l *late) AttackersByAddress(_ context.Context, addresses []string) (map[string]ttp.Attacker, error) {
	found := map[string]ttp.Attacker{}
	for _, a := range addresses {
		if l.there && a == knownIP {
			found[a] = ttp.Attacker{UUID: known, Address: a}
		}
	}
	return found, nil
}

// TestAppeared holds that what Anchor has not found a moment ago is asked for
// again, and that Anchor then knows it.
func TestAppeared(t *testing.T) {
	t.Parallel()
	db := &late{}
	r := intake.NewResolver(db, false)
	event := func() *intake.Event {
		m, err := intake.Decode("attacker.command", `{"payload":{"attacker_ip":"`+knownIP+`","command_text":"ls"}}`)
		if err != nil {
			t.Fatal(err)
		}
		return m.Events[0]
	}
	e := event()
	if err := r.Anchor(t.Context(), []*intake.Event{e}); err != nil || !e.Unknown {
		t.Fatalf("unknown: %v, %v", e.Unknown, err)
	}
	keys := []intake.Key{e.Key(), {UUID: known}, {UUID: "nobody"}, {Address: "203.0.113.1"}}
	for _, c := range []struct {
		there bool
		want  map[intake.Key]bool
	}{
		{false, map[intake.Key]bool{{UUID: known}: true}},
		{true, map[intake.Key]bool{{UUID: known}: true, {Address: knownIP}: true}},
	} {
		db.there = c.there
		if got, err := r.Appeared(t.Context(), keys); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("row there: %v: %v, %v, want %v", c.there, got, err, c.want)
		}
	}
	again := event()
	if err := r.Anchor(t.Context(), []*intake.Event{again}); err != nil || again.AttackerUUID != known {
		t.Error("Anchor does not know what has appeared")
	}
}

// TestAnchor_ofNobodyBehindSomebody holds that an event that names nobody stays
// without anchors, whoever came before it, and that no row is made for it.
func TestAnchor_ofNobodyBehindSomebody(t *testing.T) {
	t.Parallel()
	for _, create := range []bool{false, true} {
		db := &rows{}
		var events []*intake.Event
		for _, who := range []string{`"attacker_uuid":"` + known + `",`, "", `"attacker_uuid":"` + known + `",`, ""} {
			m, err := intake.Decode("attacker.command", `{"payload":{`+who+`"command_text":"ls"}}`)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, m.Events[0])
		}
		if err := intake.NewResolver(db, create).Anchor(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{known, "", known, ""} {
			if e := events[i]; e.AttackerUUID != want || e.Anchored() != (want != "") || e.Unknown {
				t.Errorf("create %t, event %d: attacker %q, unknown %t", create, i, e.AttackerUUID, e.Unknown)
			}
		}
		for _, a := range db.created {
			if a.UUID != known {
				t.Errorf("an attacker was made of nobody: %+v", a)
			}
		}
	}
}
