package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// write makes a file in a directory of the test.
func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// execute runs a command line inside the test and returns what it prints.
func execute(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b strings.Builder
	root := newRoot()
	root.SetOut(&b)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return b.String(), err
}

// readRun reads the options of run from args.
func readRun(t *testing.T, args ...string) (*runOptions, *settings, error) {
	t.Helper()
	root := newRoot()
	cmd := &cobra.Command{Use: "test"}
	root.AddCommand(cmd)
	var o runOptions
	s := newSettings(cmd, func(*cobra.Command) error { return nil })
	o.flags(s)
	root.SetArgs(append([]string{"test"}, args...))
	return &o, s, root.ExecuteContext(t.Context())
}

func TestSettings_flagBeatsEnvironmentBeatsFile(t *testing.T) {
	config := write(t, "config.yaml", "lanes: 3\nbatch-size: 30\nmax-deliveries: 7\nrules: [a, b]\nunknown-attacker: create\n")
	t.Setenv("TTP_LANES", "4")
	t.Setenv("TTP_BATCH_SIZE", "40")
	o, s, err := readRun(t, "--config", config, "--lanes", "5")
	if err != nil {
		t.Fatal(err)
	}
	if o.lanes != 5 || o.batchSize != 40 || o.maxDeliveries != 7 || strings.Join(o.rules, "+") != "a+b" || o.batchBytes != 96<<10 {
		t.Errorf("lanes=%d batch-size=%d max-deliveries=%d rules=%q batch-bytes=%d", o.lanes, o.batchSize, o.maxDeliveries, o.rules, o.batchBytes)
	}
	if !s.isGiven("unknown-attacker") || s.isGiven("batch-bytes") {
		t.Error("what stands in the file must count as given, a default must not")
	}
}

func TestSettings_complaints(t *testing.T) {
	for name, c := range map[string]struct {
		file, env string
		args      []string
		want      []string
	}{
		"unknown key of the file":       {file: "lnaes: 3", want: []string{`unknown key "lnaes" (did you mean lanes?)`}},
		"a key like no other":           {file: "zzz: 3", want: []string{`unknown key "zzz"`}},
		"a nested key":                  {file: "nats: {url: x}", want: []string{`unknown key "nats.url"`}},
		"unknown variable":              {env: "TTP_UNKNWN_ATTACKER", want: []string{"unknown variable TTP_UNKNWN_ATTACKER (did you mean TTP_UNKNOWN_ATTACKER?)"}},
		"a file that is no YAML":        {file: "a: [", want: []string{"config.yaml"}},
		"unknown flag":                  {args: []string{"--subjet-prefix", "x"}, want: []string{"did you mean subject-prefix?"}},
		"all that is wrong at once":     {file: "lanes: x\nbatch-wait: 5", want: []string{"lanes in", "batch-wait in", "want a duration"}},
		"a secret that is not there":    {args: []string{"--db", "file:/nonexistent"}, want: []string{"--db: open /nonexistent"}},
		"a credential outside systemd":  {args: []string{"--db", "cred:x"}, want: []string{"--db: cred:x: no credentials directory"}},
		"a key file that is not there":  {args: []string{"--nats-nkey", "/nonexistent"}, want: []string{"--nats-nkey: stat /nonexistent"}},
		"an address that is no address": {args: []string{"--http", "0.0.0.0"}, want: []string{"--http: want host:port"}},
		"a configuration file that isn": {args: []string{"--config", "/nonexistent"}, want: []string{"config file /nonexistent"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file != "" {
				c.args = append(c.args, "--config", write(t, "config.yaml", c.file))
			}
			if c.env != "" {
				t.Setenv(c.env, "x")
			}
			_, _, err := readRun(t, c.args...)
			if err == nil {
				t.Fatal("no complaint")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestSettings_secretsInFiles(t *testing.T) {
	dsn := write(t, "dsn", "mysql://u:p@h/d\n")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(dsn))
	o, s, err := readRun(t, "--db", "cred:dsn", "--nats-creds", "cred:dsn")
	if err != nil {
		t.Fatal(err)
	}
	if o.db != "mysql://u:p@h/d" || o.natsCreds != dsn {
		t.Errorf("db %q, nats-creds %q", o.db, o.natsCreds)
	}
	if s.renewed("nats") != nil {
		t.Error("a default can be read again")
	}
	if err := os.WriteFile(dsn, []byte("mysql://u:new@h/d"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.renewed("db")(); got != "mysql://u:new@h/d" || err != nil {
		t.Errorf("read again: %q, %v", got, err)
	}
}

func TestConfigPrint_masksSecretsAndNamesOrigins(t *testing.T) {
	secretFile := write(t, "dsn", "mysql://u:HIDDEN@h/d")
	config := write(t, "config.yaml", "lanes: 3\ndb: file:"+secretFile+"\n")
	t.Setenv("TTP_NATS", "nats://HIDDEN@h1,nats://u:HID,DEN@x@h2:4222")
	out, err := execute(t, "config", "print", "--config", config, "--stream", "S")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# lanes in " + config + "\nlanes: \"3\"\n", "# TTP_NATS\nnats: nats://***@h1,nats://u:***@h2:4222\n",
		"# --stream\nstream: S\n", "# default\nbatch-size: \"500\"\n", "\ndb: file:" + secretFile + "\n", "rules:\n    - builtin\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "HIDDEN") || strings.Contains(out, "DEN@") {
		t.Errorf("a secret in\n%s", out)
	}
	// What is printed can be used as the file.
	again := write(t, "again.yaml", out)
	t.Setenv("TTP_NATS", "nats://h")
	if _, err := execute(t, "config", "check", "--config", again); err != nil {
		t.Errorf("as a file: %v", err)
	}
}

func TestConfigPrint_masksTokens(t *testing.T) {
	out, err := execute(t, "config", "print", "--http-token", "HIDDEN-0123456789-0123456789")
	if err != nil || strings.Contains(out, "HIDDEN") || !strings.Contains(out, "# --http-token\nhttp-token: '***'\n") || !strings.Contains(out, "http-admin-token: \"\"\n") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestMaskURLs(t *testing.T) {
	for in, want := range map[string]string{
		"mysql://u:p@h/d":             "mysql://u:***@h/d",
		"mysql://u@h/d":               "mysql://u@h/d",
		"mysql://u:a@b:c@h/d?tls=1":   "mysql://u:***@h/d?tls=1",
		"sqlite:///x@y":               "sqlite:///x@y",
		"nats://h:1,nats://t@h2":      "nats://h:1,nats://***@h2",
		"nats://u:a,b@h,tls://u:c@h2": "nats://u:***@h,tls://u:***@h2",
		"none":                        "none",
	} {
		if got := maskURLs(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	if out, err := execute(t, "config", "check", "--db", "sqlite:///x/y", "--config", write(t, "c.yaml", "from: x")); err != nil || !strings.Contains(out, "from: an option of another command") {
		t.Errorf("%q, %v", out, err)
	}
	for name, args := range map[string][]string{
		"no database":         nil,
		"no database address": {"--db", "postgres://x"},
		"a bad stream":        {"--db", "sqlite:///x", "--stream", "a.b"},
		"bad rules":           {"--db", "sqlite:///x", "--rules", filepath.Dir(write(t, "bad.yaml", "id: X\nversion: 1\n"))},
		"a bad server":        {"--db", "sqlite:///x", "--nats", "nats://h:port"},
		"creds and nkey":      {"--db", "sqlite:///x", "--nats-creds", "/dev/null", "--nats-nkey", "/dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := execute(t, append([]string{"config", "check"}, args...)...); err == nil {
				t.Error("found good")
			}
		})
	}
}

func TestDidYouMean(t *testing.T) {
	words := []string{"lanes", "nats", "stream", "subject-prefix"}
	for word, want := range map[string]string{
		"lnaes": " (did you mean lanes?)", "nat": " (did you mean nats?)", "streams": " (did you mean stream?)",
		"subject_prefix": " (did you mean subject-prefix?)", "database": "", "": "",
	} {
		if got := didYouMean(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
