package api_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ttp-worker/api"
	"ttp-worker/ttp"
)

func TestFeed_tellsWhatIsAnnounced(t *testing.T) {
	feed := &api.Feed{}
	s := server(t, &api.Handler{Feed: feed})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+api.Root+"events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Scan() // it listens from now on
	at := time.Date(2026, 5, 2, 6, 22, 48, 0, time.UTC)
	ev := &ttp.Event{Kind: ttp.Command, SourceID: "1", AttackerUUID: attacker, DeckyID: "web"}
	tag := ttp.NewTag(ev, ttp.Finding{
		Claim:      &ttp.Claim{RuleID: "R1", RuleVersion: 1, Tactic: "TA0007", Technique: "T1083"},
		Confidence: 0.85, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("a\nb\r\ndata: " + strings.Repeat("x", 4096))}},
	})
	feed.Tell(&ttp.Tagged{AttackerUUID: attacker, DeckyID: "web", Tags: []ttp.Tag{tag}}, at)
	var got []string
	for lines.Scan() && len(got) < 2 {
		if lines.Text() != "" {
			got = append(got, lines.Text())
		}
	}
	if len(got) != 2 || got[0] != "event: tagged" {
		t.Fatalf("%q", got)
	}
	var live api.Live
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got[1], "data: ")), &live); err != nil {
		t.Fatal(err)
	}
	if !live.At.Equal(at) || len(live.Tags) != 1 || live.Tags[0].Technique != "T1083" || len([]rune(live.Tags[0].Excerpt)) != 240 {
		t.Errorf("%+v", live)
	}
}

func TestFeed_leavesWhoIsTooFarBehind(t *testing.T) {
	feed := &api.Feed{}
	s := server(t, &api.Handler{Feed: feed})
	resp, err := http.Get(s.URL + api.Root + "events") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Scan()
	// Far more than the backlog and what the connection buffers.
	tag := ttp.Tag{Finding: ttp.Finding{Claim: new(ttp.Claim)}}
	many := &ttp.Tagged{Tags: slices.Repeat([]ttp.Tag{tag}, 500)}
	for range 2000 {
		feed.Tell(many, time.Now())
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil { // until the server hangs up
		t.Error(err)
	}
}
