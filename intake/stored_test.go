package intake_test

import (
	"testing"
	"time"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

func TestDecodeStored(t *testing.T) {
	t.Parallel()
	list, ok := ttp.Value(`[{"command":"id","decky":"d","timestamp":"2026-05-02T06:22:48.654321+00:00","session_id":"S"},"id",{"cmd":"id","id":"own"},7,{"command":""}]`).List()
	if !ok {
		t.Fatal("no list")
	}
	m := intake.DecodeStored(ttp.Attacker{UUID: known, Address: knownIP}, list, 10)
	if len(m.Events) != 3 || m.Malformed != 1 {
		t.Fatalf("%d events, %d malformed", len(m.Events), m.Malformed)
	}
	if err := intake.NewResolver(&rows{}, false).Anchor(t.Context(), m.Events); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{intake.ContentID(known, "d", "2026-05-02T06:22:48", "id"), known + "#cmd11", "own"} {
		if e := m.Events[i]; e.SourceID != want || e.Kind != ttp.Command || e.Payload.Text("command_text") != "id" {
			t.Errorf("event %d: %s %s %s", i, e.Kind, e.SourceID, e.Payload.AppendJSON(nil))
		}
	}
	if m.Events[0].SessionID != "S" {
		t.Error("the session is lost")
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-05-02T06:22:48":                 "2026-05-02T06:22:48Z",
		"2026-05-02 06:22:48":                 "2026-05-02T06:22:48Z",
		"2026-05-02t06:22:48":                 "2026-05-02T06:22:48Z",
		"2026-05-02T06:22:48.5":               "2026-05-02T06:22:48Z",
		"2026-05-02T06:22:48Z":                "2026-05-02T06:22:48Z",
		"2026-05-02T06:22:48.654321+02:00":    "2026-05-02T04:22:48.654321Z",
		"2026-05-02 06:22:48 (UTC)":           "2026-05-02T06:22:48Z",
		"2024-02-29T23:59:59":                 "2024-02-29T23:59:59Z",
		"2026-02-29T23:59:59":                 "",
		"2026-13-01T00:00:00":                 "",
		"2026-00-01T00:00:00":                 "",
		"2026-04-31T00:00:00":                 "",
		"2026-05-02T24:00:00":                 "",
		"2026-05-02T00:60:00":                 "",
		"2026-05-02T00:00:60":                 "",
		"2026-05-02x06:22:48":                 "",
		"2026/05/02T06:22:48":                 "",
		"2026-05-02T06.22.48":                 "",
		"20x6-05-02T06:22:48":                 "",
		"2026-05-02T06:22":                    "",
		"\u0662\u0660\u0662\u0666-05-02T06:2": "",
	} {
		m, err := intake.Decode("attacker.command", `{"payload":{"attacker_uuid":"`+known+`","command_text":"id","ts":`+string(ttp.Quote(text))+`}}`)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if at := m.Events[0].At; !at.IsZero() {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}
