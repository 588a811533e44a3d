package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	out, err := execute(t, "version", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var b build
	if err := json.Unmarshal([]byte(out), &b); err != nil || b.Version != version || b.Go == "" || b.System == "" || b.ATTACK == "" || b.Commit == "" {
		t.Errorf("%s, %v", out, err)
	}
	if out, err := execute(t, "version"); err != nil || !strings.HasPrefix(out, "ttp-worker "+version+"\n") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestMan_hasEveryCommandAndOption(t *testing.T) {
	out, err := execute(t, "man")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newRoot().Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" && !strings.Contains(out, ".SS ttp\\-worker "+strings.ReplaceAll(c.Name(), "-", `\-`)) {
			t.Errorf("no section for %s", c.Name())
		}
	}
	for name := range optionsOf(newRoot()) {
		if !strings.Contains(out, `\-\-`+roff(name)) {
			t.Errorf("no --%s", name)
		}
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "'") {
			t.Errorf("man takes %q for a command", line)
		}
	}
}

func TestCompletion_parses(t *testing.T) {
	out, err := execute(t, "completion", "bash")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, msg)
	}
}

// TestErrors_keepSecrets gives every option that may hold a password one, in
// addresses that are wrong in all sorts of ways.
func TestErrors_keepSecrets(t *testing.T) {
	for _, args := range [][]string{
		{"migrate", "--db", "mysql://u:" + password + "@127.0.0.1:1/x"},
		{"migrate", "--db", "mysql://u:" + password + "/#@h/x"},
		{"migrate", "--db", "mysql://u:" + password + "@h:port/x"},
		{"migrate", "--db", "mysql://u:" + password + "@h/"},
		{"migrate", "--db", "u:" + password + "@h/x"},
		{"migrate", "--db", "mysql://u:" + password + "@h/x?timeout=never"},
		{"provision", "--nats", "nats://u:" + password + "@127.0.0.1:1"},
		{"provision", "--nats", "nats://u:" + password + "@h:port"},
		{"provision", "--nats", "nats://" + password + "@%zz"},
		{"provision", "--nats", "\x7f://u:" + password + "@h"},
		{"doctor", "--nats", "nats://u:" + password + "@127.0.0.1:1", "--db", "mysql://u:" + password + "@127.0.0.1:1/x"},
		{"config", "check", "--db", "mysql://u:" + password + "@h:port/x", "--nats", "nats://u:" + password + "@h:port"},
		{"run", "--db", "mysql://u:" + password + "@h:port/x"},
	} {
		out, err := execute(t, args...)
		if err == nil {
			t.Errorf("%q: no error", args)
		} else if strings.Contains(out+err.Error(), password) {
			t.Errorf("%q: %s%v", args, out, err)
		}
	}
}
