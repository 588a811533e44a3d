package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"ttp-worker/replay"
)

func TestDescription_fitsTheTerminal(t *testing.T) {
	t.Parallel()
	p := replay.Progress{Source: "credentials", At: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)}
	total := &replay.Counts{Events: 123_456_789, Tags: 98_765_432, Inserted: 7_654_321}
	for _, c := range []struct {
		columns int
		want    string
	}{
		{120, "credentials 2025-01-02  123M events, 54k/s  98M tags, 7.6M new "},
		{80, "2025-01-02  54k/s  98M tags, 7.6M new "},
		{70, "2025-01-02  54k/s  98M tags "},
		{56, "98M tags "},
		{40, ""},
	} {
		got := description(p, total, 54_321, c.columns-barWidth)
		if got != c.want || len(got) > max(0, c.columns-barWidth) {
			t.Errorf("%d columns: %q, want %q", c.columns, got, c.want)
		}
	}
}

func TestShellQuoted_isOneArgument(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"plain", "/var/log/cowrie.json", "", "with blanks", "it's", "$(id)", "a*b", `back\slash`, "new\nline", "~"} {
		out, err := exec.Command("sh", "-c", "printf '<%s>' "+shellQuoted(arg)).Output()
		if err != nil || string(out) != "<"+arg+">" {
			t.Errorf("%q became %q, %v", arg, out, err)
		}
	}
	if got := shellQuoted("sqlite:///var/lib/ttp.db"); strings.Contains(got, "'") {
		t.Errorf("quoted for nothing: %s", got)
	}
}
