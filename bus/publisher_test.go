package bus_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/bus"
	"ttp-worker/ttp"
)

// announcement is about three tags of two techniques.
func announcement(id string) ttp.Announcement {
	a := ttp.Announcement{ID: id, Tagged: ttp.Tagged{AttackerUUID: "a1", SessionID: "s1", SourceKind: ttp.Session, SourceID: "s1"}}
	for i, technique := range []string{"T1059", "T1003", "T1059"} {
		a.Tags = append(a.Tags, ttp.Tag{
			UUID: fmt.Sprint("u", i), SourceKind: ttp.Command, SourceID: fmt.Sprint("c", i), AttackerUUID: "a1", SessionID: "s1",
			Finding: ttp.Finding{
				Claim:      &ttp.Claim{RuleID: "R1", RuleVersion: 1, Tactic: "TA0002", Technique: technique, AttackRelease: "v19.2"},
				Confidence: 0.9, Evidence: ttp.Object{{Name: "command_text", Value: ttp.Quote("id")}},
			},
		})
	}
	return a
}

func subjects(msgs []*jetstream.RawStreamMsg) []string {
	list := make([]string, len(msgs))
	for i, m := range msgs {
		list[i] = m.Subject
	}
	return list
}

// payload returns what is in the envelope of m.
func payload(t *testing.T, m *jetstream.RawStreamMsg) string {
	t.Helper()
	env, err := ttp.ParseEnvelope(string(m.Data))
	if err != nil {
		t.Fatal(err)
	}
	if len(env.ID) != 32 || time.Since(env.At) > time.Minute {
		t.Errorf("envelope id %q at %s", env.ID, env.At)
	}
	return string(env.Payload.AppendJSON(nil))
}

func TestPublish(t *testing.T) {
	t.Parallel()

	t.Run("an announcement is one message, and one per technique", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet."})
		a := announcement("id1")
		done, err := f.bus.NewPublisher().Publish(t.Context(), []ttp.Announcement{a})
		if err != nil || !slices.Equal(done, []string{"id1"}) {
			t.Fatalf("done %q, %v", done, err)
		}
		msgs := f.stored(t, "TTP")
		want := []string{"decnet.ttp.tagged", "decnet.ttp.rule.fired.T1003", "decnet.ttp.rule.fired.T1059"}
		if got := subjects(msgs); !slices.Equal(got, want) {
			t.Fatalf("subjects %q, want %q", got, want)
		}
		if !strings.Contains(string(msgs[0].Data), `"topic":"ttp.tagged","type":"ttp.tagged"`) {
			t.Errorf("envelope %s", msgs[0].Data)
		}
		var back ttp.Tagged
		if err := back.UnmarshalJSON([]byte(payload(t, msgs[0]))); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a.Tagged, back); diff != "" {
			t.Errorf("ttp.tagged (-want +got):\n%s", diff)
		}
		wantFired := `{"technique_id":"T1059","tag_uuids":["u0","u2"],"attacker_uuid":"a1","identity_uuid":null,"session_id":"s1"}`
		if got := payload(t, msgs[2]); got != wantFired {
			t.Errorf("got  %s\nwant %s", got, wantFired)
		}
	})

	t.Run("published again it is done and stored once", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		for range 3 {
			done, err := f.bus.NewPublisher().Publish(t.Context(), []ttp.Announcement{announcement("id1")})
			if err != nil || len(done) != 1 {
				t.Fatalf("done %q, %v", done, err)
			}
		}
		if got := subjects(f.stored(t, "TTP")); len(got) != 3 {
			t.Errorf("stored %q", got)
		}
	})

	t.Run("many at once are all done", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		var list []ttp.Announcement
		for i := range 400 { // with their techniques more than may be unanswered
			list = append(list, announcement(fmt.Sprint("id", i)))
		}
		done, err := f.bus.NewPublisher().Publish(t.Context(), list)
		if err != nil || len(done) != len(list) {
			t.Errorf("done %d, %v", len(done), err)
		}
		if got := f.stored(t, "TTP"); len(got) != 1200 {
			t.Errorf("%d messages", len(got))
		}
	})

	t.Run("over restarts of the server, tried again, nothing is missing", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		p := f.bus.NewPublisher()
		open := make(map[string]ttp.Announcement)
		for i := range 600 {
			a := announcement(fmt.Sprint("id", i))
			open[a.ID] = a
		}
		for round := 0; len(open) > 0; round++ {
			answer := make(chan []string)
			list := slices.Collect(maps.Values(open))
			go func() {
				done, _ := p.Publish(t.Context(), list)
				answer <- done
			}()
			if round < 2 {
				f.Down()
				f.Up()
			}
			for _, id := range <-answer {
				delete(open, id)
			}
			eventually(t, "connected again", f.bus.Connected)
		}
		if got := len(f.stored(t, "TTP")); got != 3*600 {
			t.Errorf("%d messages, want %d", got, 3*600)
		}
	})

	t.Run("without a server nothing is done, and it may be later", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		f.Down()
		eventually(t, "disconnected", func() bool { return !f.bus.Connected() })
		begun := time.Now()
		done, err := f.bus.NewPublisher().Publish(t.Context(), []ttp.Announcement{announcement("id1"), announcement("id2")})
		if len(done) != 0 || err == nil || ttp.IsPermanent(err) || time.Since(begun) > time.Second {
			t.Errorf("done %q, %v after %s", done, err, time.Since(begun))
		}
	})

	t.Run("without a stream nothing is done, and it may be later", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{})
		done, err := f.bus.NewPublisher().Publish(t.Context(), []ttp.Announcement{announcement("id1")})
		if len(done) != 0 || err == nil || ttp.IsPermanent(err) {
			t.Errorf("done %q, %v", done, err)
		}
	})

	t.Run("a stream of another name does not get it", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		other := f.connect(t, bus.Options{TTP: "OTHER"})
		done, err := other.NewPublisher().Publish(t.Context(), []ttp.Announcement{announcement("id1")})
		if len(done) != 0 || err == nil {
			t.Errorf("done %q, %v", done, err)
		}
	})

	t.Run("when the context ends it does not wait", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if done, err := f.bus.NewPublisher().Publish(ctx, []ttp.Announcement{announcement("id1")}); len(done) != 0 || err == nil {
			t.Errorf("done %q, %v", done, err)
		}
	})
}

func TestPublishTooLarge(t *testing.T) {
	t.Parallel()
	const maxPayload = 4096
	b := busOn(t, server.Options{Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, MaxPayload: maxPayload})
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	stop, err := b.Watch(t.Context(), "ttp.tagged", func(_ string, data []byte) { got <- string(data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	sized := func(id string, tags, evidence int) ttp.Announcement {
		a := announcement(id)
		for len(a.Tags) < tags {
			tag := a.Tags[0]
			tag.UUID = fmt.Sprint("u", len(a.Tags))
			a.Tags = append(a.Tags, tag)
		}
		a.Tags[1].Evidence = ttp.Object{{Name: "x", Value: ttp.Quote(strings.Repeat("x", evidence))}}
		return a
	}
	for _, test := range []struct {
		name           string
		tags, evidence int
		want, not      string
	}{
		{"goes whole if it fits", 3, 1000, `"evidence":{"x":"xxx`, ""},
		{"goes without evidence", 3, 5000, `"evidence":{}`, "xxx"},
		{"goes with uuids only", 40, 5000, `"u39"],"techniques_added":["T1003","T1059"],"tags":[]}`, "xxx"},
	} {
		a := sized(test.name, test.tags, test.evidence)
		if done, err := b.NewPublisher().Publish(t.Context(), []ttp.Announcement{a}); err != nil || len(done) != 1 {
			t.Errorf("%s: done %q, %v", test.name, done, err)
			continue
		}
		if text := <-got; !strings.Contains(text, test.want) || test.not != "" && strings.Contains(text, test.not) {
			t.Errorf("%s: %s", test.name, text)
		}
	}

	list := []ttp.Announcement{sized("never", 1000, 0), announcement("good")}
	done, err := b.NewPublisher().Publish(t.Context(), list)
	if !ttp.IsPermanent(err) || !slices.Equal(done, []string{"good"}) {
		t.Errorf("one that can't be sent: done %q, %v; want the other done and a permanent error", done, err)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	f := start(t, bus.Options{})
	p := f.bus.NewPublisher()
	for range 2 { // the second is not a duplicate of the first
		if err := p.Suppressed(t.Context(), "R0001", "T1059", "floor", 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Notify(t.Context(), "ttp.rule.reloaded.R0001", ttp.Object{{Name: "rule_id", Value: ttp.Quote("R0001")}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "one", "two"} { // as two workers say it
		if err := p.NotifyOnce(t.Context(), id, "ttp.rule.state.R0001", nil); err != nil {
			t.Fatal(err)
		}
	}
	msgs := f.stored(t, "TTP")
	want := []string{"ttp.rule.suppressed", "ttp.rule.suppressed", "ttp.rule.reloaded.R0001", "ttp.rule.state.R0001", "ttp.rule.state.R0001"}
	if got := subjects(msgs); !slices.Equal(got, want) {
		t.Fatalf("subjects %q, want %q", got, want)
	}
	if got := payload(t, msgs[0]); got != `{"rule_id":"R0001","technique_id":"T1059","reason":"floor","count":7}` {
		t.Errorf("got %s", got)
	}
	if err := p.Notify(t.Context(), "ttp.rule.state.*", nil); !ttp.IsPermanent(err) {
		t.Errorf("a subject with a wildcard: %v, want a permanent error", err)
	}
}

func TestPublishAll(t *testing.T) {
	t.Parallel()

	t.Run("all of many arrive in order", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		publish(t, f.bus, 0, 2000)
		for i, m := range f.stored(t, "TELEMETRY") {
			if string(m.Data) != fmt.Sprint(i) || m.Header.Get(nats.MsgIdHdr) != fmt.Sprint("m", i) {
				t.Fatalf("message %d is %s", i, m.Data)
			}
		}
	})

	t.Run("a bad subject ends it, and is told from the rest", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		n, err := f.bus.PublishAll(t.Context(), slices.Values([]bus.Message{command(1), {Subject: "a b"}, command(2)}))
		if n != 1 || !ttp.IsPermanent(err) {
			t.Errorf("published %d, %v; want 1 and a permanent error", n, err)
		}
	})

	t.Run("a subject of no stream ends it", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		n, err := f.bus.PublishAll(t.Context(), slices.Values([]bus.Message{command(1), {Subject: "nobody.wants"}}))
		if n != 1 || err == nil || ttp.IsPermanent(err) {
			t.Errorf("published %d, %v; want 1 and a transient error", n, err)
		}
	})
}
