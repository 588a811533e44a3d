package logfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ttp-worker/ttp"
)

// show writes a record on one line: subject and payload.
func show(r Record) string { return r.Subject + " " + string(r.Envelope.Payload.AppendJSON(nil)) }

func read(t testing.TB, r *Reader) (got []string) {
	t.Helper()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, show(rec))
	}
}

func reading(t testing.TB, o Options) *Reader {
	t.Helper()
	r, err := NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func file(t testing.TB, text string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "log.json"), text)
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text      string
		want      []string
		malformed int
		ignored   int
	}{
		"an envelope": {
			text: `{"v":1,"topic":"attacker.command","payload":{"command_text":"id"}}`,
			want: []string{`attacker.command {"command_text":"id"}`},
		},
		"an envelope without a topic": {text: `{"v":1,"payload":{"command_text":"id"}}`, malformed: 1},
		"what is no JSON":             {text: "attacker\n\n{\"x\":", malformed: 2},
		"an object of no format":      {text: `{"x":1}`, malformed: 1},
		"a byte order mark":           {text: "\ufeff" + `{"topic":"a.b","payload":{}}`, want: []string{"a.b {}"}},
		"a list on a line":            {text: `[{"topic":"a","payload":{}},{"topic":"b","payload":{}}]`, want: []string{"a {}", "b {}"}},
		"objects and a list over several lines": {
			text: "[\n  {\n    \"topic\": \"a\",\n    \"payload\": {\n    }\n  },\n  {\n    \"topic\": \"b\",\n    \"payload\": {}\n  }\n]\n",
			want: []string{"a {}", "b {}"},
		},
		"an object over several lines that does not end": {text: "{\n\"topic\": \"a\",\n", malformed: 1},
		"a line that is too long":                        {text: strings.Repeat("x", maxLine+1) + "\n" + `{"topic":"a","payload":{}}`, want: []string{"a {}"}, malformed: 1},
		"a session of Cowrie": {
			text: cowrieLine("session.connect", "S", 0, `,"dst_port":2222,"protocol":"ssh"`) +
				cowrieLine("login.failed", "S", 1, `,"username":"root","password":"a"`) +
				cowrieLine("login.failed", "S", 2, `,"username":"root","password":"b"`) +
				cowrieLine("login.failed", "S", 2, `,"username":"root","password":"b"`) +
				cowrieLine("login.success", "S", 3, `,"username":"root","password":"c"`) +
				cowrieLine("command.input", "S", 4, `,"input":"uname -a; id"`) +
				cowrieLine("command.success", "S", 4, `,"input":"id"`) +
				cowrieLine("command.input", "S", 5, `,"input":""`) +
				cowrieLine("session.file_download", "S", 6, `,"url":"http://192.0.2.1/x","shasum":"ab"`) +
				cowrieLine("direct-tcpip.request", "S", 7, `,"dst_ip":"192.0.2.9","dst_port":25`) +
				cowrieLine("session.params", "S", 8, `,"message":[]`) +
				cowrieLine("session.closed", "S", 9, `,"duration":9.5`) +
				cowrieLine("log.closed", "S", 9, ``),
			want: []string{`attacker.session.ended {"session_id":"S","attacker_ip":"198.51.100.7","decky_id":"s1","service":"ssh",` +
				`"ended_at":"2026-05-02T00:00:09.500000Z","duration_s":9.5,` +
				`"commands":[{"command_text":"uname -a; id","ts":"2026-05-02T00:00:04.500000Z"}],` +
				`"auth_attempts":[` +
				`{"username":"root","password":"a","service":"ssh","result":"failure","fail_count":1,"password_count":1,"ts":"2026-05-02T00:00:01.500000Z"},` +
				`{"username":"root","password":"b","service":"ssh","result":"failure","fail_count":2,"password_count":2,"ts":"2026-05-02T00:00:02.500000Z"},` +
				`{"username":"root","password":"b","service":"ssh","result":"failure","fail_count":3,"password_count":2,"ts":"2026-05-02T00:00:02.500000Z"},` +
				`{"username":"root","password":"c","service":"ssh","result":"success","fail_count":3,"password_count":2,"prior_brute":true,"ts":"2026-05-02T00:00:03.500000Z"}],` +
				`"files":[{"url":"http://192.0.2.1/x","shasum":"ab"}],"forwards":[{"dst_ip":"192.0.2.9","dst_port":25}],` +
				`"download_count":1,"forward_count":1,"fail_count":3}`},
			ignored: 3,
		},
		"a session of Cowrie without an end": {
			text: cowrieLine("command.input", "S", 4, `,"input":"id"`),
			want: []string{`attacker.session.ended {"session_id":"S","attacker_ip":"198.51.100.7","decky_id":"s1","ended_at":"2026-05-02T00:00:04.500000Z","duration_s":0,` +
				`"commands":[{"command_text":"id","ts":"2026-05-02T00:00:04.500000Z"}]}`},
		},
		"events of Cowrie without a session or a time": {
			text:      `{"eventid":"cowrie.command.input","sensor":"s","input":"id","timestamp":"2026-05-02T00:00:00Z"}` + "\n" + `{"eventid":"cowrie.command.input","session":"S","input":"id"}`,
			malformed: 2,
		},
		"a login at OpenCanary": {
			text: `{"dst_host":"10.0.0.1","dst_port":22,"local_time":"2026-05-02 01:02:03.5","logdata":{"USERNAME":"root","PASSWORD":"x"},"logtype":4002,"node_id":"n1","src_host":"198.51.100.7","src_port":1}`,
			want: []string{`attacker.auth {"attacker_ip":"198.51.100.7","decky_id":"n1","service":"ssh","ts":"2026-05-02T01:02:03.500000Z","username":"root","password":"x","result":"failure"}`},
		},
		"a login page of OpenCanary": {
			text: `{"dst_port":80,"utc_time":"2026-05-02 01:02:03","logdata":{"HOSTNAME":"h","USERNAME":"u","PASSWORD":"p","PATH":"/index.html?x","USERAGENT":"curl"},"logtype":3001,"node_id":"n1","src_host":"198.51.100.7"}`,
			want: []string{
				`attacker.http {"attacker_ip":"198.51.100.7","decky_id":"n1","service":"http","ts":"2026-05-02T01:02:03.000000Z","method":"POST","raw_url":"/index.html?x","request_path":"/index.html","user_agent":"curl","host":"h"}`,
				`attacker.auth {"attacker_ip":"198.51.100.7","decky_id":"n1","service":"http","ts":"2026-05-02T01:02:03.000000Z","username":"u","password":"p","result":"failure"}`,
			},
		},
		"OpenCanary's webhook, and a redis command": {
			text: `{"message":"{\"logtype\":17001,\"logdata\":{\"CMD\":\"CONFIG\",\"ARGS\":\"SET dir /root/.ssh\"},\"node_id\":\"n1\",\"src_host\":\"198.51.100.7\",\"local_time\":\"2026-05-02 01:02:03\"}"}`,
			want: []string{`attacker.command {"attacker_ip":"198.51.100.7","decky_id":"n1","service":"redis","ts":"2026-05-02T01:02:03.000000Z","command_text":"CONFIG SET dir /root/.ssh"}`},
		},
		"OpenCanary's word on itself": {text: `{"logtype":1001,"logdata":{"msg":{"logdata":"x"}},"local_time":"2026-05-02 01:02:03"}`, ignored: 1},
		"a hit of Canarytokens": {
			text: `{"channel":"HTTP","token_type":"aws_keys","src_ip":"203.0.113.9","token":"y0all","time":"2026-08-07 09:00:12 (UTC)","memo":"m","manage_url":"https://x/manage?token=y0all&auth=secret",` +
				`"additional_data":{"useragent":"Boto3","additional_info":{"aws_key_log_data":{"eventName":["GetCallerIdentity"]}}}}`,
			want: []string{`canary.y0all.triggered {"token_id":"y0all","src_ip":"203.0.113.9","token_type":"aws_keys","channel":"HTTP","user_agent":"Boto3","occurred_at":"2026-08-07T09:00:12Z",` +
				`"additional_info":{"aws_key_log_data":{"eventName":["GetCallerIdentity"]}}}`},
		},
		"a hit of Canarytokens in its old shape": {
			text: `{"manage_url":"http://x/manage?token=t1&auth=a","memo":"m","additional_data":{"src_ip":"203.0.113.9","useragent":"Mozilla","referer":null,"location":null},"channel":"HTTP","time":"2022-03-07 06:14:36 (UTC)"}`,
			want: []string{`canary.t1.triggered {"token_id":"t1","src_ip":"203.0.113.9","channel":"HTTP","user_agent":"Mozilla","occurred_at":"2022-03-07T06:14:36Z"}`},
		},
		"the test of a webhook": {text: `{"token":"a+test+token","token_type":"web","src_ip":"127.0.0.1","time":"2022-03-07 06:14:36 (UTC)","channel":"HTTP","manage_url":"http://x"}`, ignored: 1},
		"a token of the Thinkst console": {
			text: `{"AlertType":"CanaryIncident","CanaryName":"c1","CanaryID":"i","SourceIP":"203.0.113.9","Timestamp":"2026-08-07 09:00:12 (UTC)","Description":"AWS API Key Canarytoken triggered","LogType":"17001","AdditionalDetails":[["Canarytoken","t2"],["User-Agent","curl"]]}`,
			want: []string{`canary.t2.triggered {"token_id":"t2","src_ip":"203.0.113.9","decky_name":"c1","token_type":"aws_keys","user_agent":"curl","occurred_at":"2026-08-07T09:00:12Z"}`},
		},
		"a login at a bird of the Thinkst console": {
			text: `{"AlertType":"CanaryIncident","CanaryName":"c1","CanaryID":"i","CanaryPort":21,"SourceIP":"203.0.113.9","Timestamp":"2026-08-07 09:00:12 (UTC)","Description":"FTP Login Attempt","LogType":2000,"AdditionalDetails":[["Username","u"],["Password","p"]]}`,
			want: []string{`attacker.auth {"attacker_ip":"203.0.113.9","decky_id":"c1","service":"ftp","ts":"2026-08-07T09:00:12.000000Z","username":"u","password":"p","result":"failure"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reading(t, Options{Files: []string{file(t, c.text)}})
			if diff := cmp.Diff(c.want, read(t, r)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if r.Malformed != c.malformed || r.Ignored != c.ignored {
				t.Errorf("%d malformed, %d ignored, want %d and %d", r.Malformed, r.Ignored, c.malformed, c.ignored)
			}
		})
	}
}

func TestFormat_forced(t *testing.T) {
	t.Parallel()
	text := `{"topic":"a","payload":{}}` + "\n" + cowrieLine("command.input", "S", 4, `,"input":"id"`)
	r := reading(t, Options{Files: []string{file(t, text)}, Format: "envelope"})
	if got := read(t, r); len(got) != 1 || r.Malformed != 1 {
		t.Errorf("%q, %d malformed", got, r.Malformed)
	}
	if _, err := NewReader(Options{Format: "x"}); err == nil {
		t.Error("no error for a format that does not exist")
	}
}

func TestOpenCanary_probesDoNotCollapse(t *testing.T) {
	t.Parallel()
	line := func(port, second string) string {
		return `{"dst_port":"` + port + `","utc_time":"2026-05-02 01:02:` + second + `","logdata":{"FILENAME":"router-confg"},"logtype":10001,"node_id":"n","src_host":"198.51.100.7"}` + "\n"
	}
	r := reading(t, Options{Files: []string{file(t, line("69", "03")+line("70", "03")+line("69", "04")+line("69", "03"))}})
	ids := make(map[string]bool)
	for range 4 {
		rec, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if rec.Envelope.Payload.Text("tftp_filename") != "router-confg" {
			t.Errorf("payload %s", rec.Data())
		}
		ids[rec.Envelope.Payload.Text("source_id")] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d ids for three different probes, one of them twice", len(ids))
	}
}

func TestCompressed(t *testing.T) {
	t.Parallel()
	text := twoDays(40)
	want := read(t, reading(t, Options{Files: []string{file(t, text)}}))
	dir := t.TempDir()
	var gz, zst bytes.Buffer
	z := gzip.NewWriter(&gz)
	_, _ = z.Write([]byte(text)) // a buffer takes all
	_ = z.Close()
	zw, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = zw.Write([]byte(text))
	_ = zw.Close()
	for name, o := range map[string]Options{
		"gzip":           {Files: []string{write(t, filepath.Join(dir, "a.gz"), gz.String())}},
		"zstd":           {Files: []string{write(t, filepath.Join(dir, "a.zst"), zst.String())}},
		"standard input": {Files: []string{Stdin}, Stdin: strings.NewReader(text)},
		"gzip on it":     {Files: []string{Stdin}, Stdin: bytes.NewReader(gz.Bytes())},
	} {
		if diff := cmp.Diff(want, read(t, reading(t, o))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	cut := reading(t, Options{Files: []string{write(t, filepath.Join(dir, "cut.gz"), gz.String()[:gz.Len()/2]), write(t, filepath.Join(dir, "b.gz"), gz.String())}})
	if got := read(t, cut); cut.Malformed == 0 || len(got) < len(want) {
		t.Errorf("a damaged file: %d records, %d malformed; the file behind it was not read", len(got), cut.Malformed)
	}
}

// A reader that was told to stop is no damaged file, whose sessions would be
// taken as ended.
func TestStdin_stopped(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(cowrieLine("command.input", "S", 0, `,"input":"id"`)))
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	r := reading(t, Options{Files: []string{Stdin}, Stdin: io.MultiReader(&packed, iotest.ErrReader(context.Canceled))})
	if rec, err := r.Next(); !errors.Is(err, context.Canceled) || r.Malformed != 0 {
		t.Errorf("%v, %v, %d malformed", rec, err, r.Malformed)
	}
}

func TestList_onOneLine(t *testing.T) {
	t.Parallel()
	const event = `{"topic":"attacker.command","payload":{"command_text":"id"}}`
	for name, c := range map[string]struct {
		line               string
		records, malformed int
	}{
		"a list":              {"[" + event + " , " + event + "]", 2, 0},
		"an empty one":        {"[ ]", 0, 0},
		"numbers in it":       {"[1," + event + ",[]]", 1, 2},
		"cut off":             {"[" + event + "," + event, 2, 1},
		"broken within":       {"[" + event + "," + event[:20] + "]", 1, 1},
		"more behind it":      {"[" + event + "] 7", 1, 1},
		"longer than is read": {"[" + strings.Repeat("{},", maxList) + event + "]", 0, maxList + 1},
		"as long as is read":  {"[" + strings.Repeat("{},", maxList-1) + event + "]", 1, maxList - 1},
	} {
		r := reading(t, Options{Files: []string{file(t, c.line+"\n")}})
		if got := read(t, r); len(got) != c.records || r.Malformed != c.malformed {
			t.Errorf("%s: %d records, %d malformed", name, len(got), r.Malformed)
		}
	}
}

func TestRecord_ID(t *testing.T) {
	t.Parallel()
	name := file(t, twoDays(10)+`{"topic":"a","payload":{}}`)
	ids := func() (list []string) {
		r := reading(t, Options{Files: []string{name}})
		for {
			rec, err := r.Next()
			if err != nil {
				return list
			}
			list = append(list, rec.ID())
		}
	}
	first, second := ids(), ids()
	if !slices.Equal(first, second) {
		t.Error("the same records have other ids")
	}
	slices.Sort(first)
	if n := len(slices.Compact(first)); n != len(second) {
		t.Errorf("%d ids for %d records", n, len(second))
	}
}

func TestRecord_DataIsAnEnvelope(t *testing.T) {
	t.Parallel()
	r := reading(t, Options{Files: []string{file(t, cowrieLine("command.input", "S", 4, `,"input":"id"`))}})
	rec, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	env, err := ttp.ParseEnvelope(string(rec.Data()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rec.Envelope.Payload, env.Payload); diff != "" || env.ID != rec.ID() {
		t.Errorf("%s", rec.Data())
	}
}
