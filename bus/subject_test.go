package bus

import (
	"slices"
	"strings"
	"testing"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wide, narrow string
		want         bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.b", "a", false},
		{"a", "a.b", false},
		{"a.*", "a.b", true},
		{"a.*", "a.*", true},
		{"a.b", "a.*", false},
		{"a.*", "a.b.c", false},
		{"a.>", "a.b.c", true},
		{"a.>", "a.*", true},
		{"a.>", "a.>", true},
		{"a.>", "a", false},
		{"a.*", "a.>", false},
		{"*.>", "a.>", true},
		{">", "a", true},
		{"canary.*.placed", "canary.x.placed", true},
		{"canary.*.placed", "canary.x.revoked", false},
	} {
		if got := covers(test.wide, test.narrow); got != test.want {
			t.Errorf("%s covers %s: %t, want %t", test.wide, test.narrow, got, test.want)
		}
	}
}

func TestUncovered(t *testing.T) {
	t.Parallel()
	got := uncovered([]string{"a.>", "b"}, []string{"a.x", "b", "b.c", "c"})
	if want := []string{"b.c", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValidSubject(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]bool{
		"attacker.command": true, "a": true, "a.ü-_$": true,
		"": false, ".a": false, "a.": false, "a..b": false, "a b": false, "a.*": false, ">": false, "a\r\nPUB b": false, "a\x00": false,
		strings.Repeat("x", 2049): false,
	} {
		if got := validSubject(subject); got != want {
			t.Errorf("%.40q: %t, want %t", subject, got, want)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"T1059": "T1059", "T1059.004": "T1059_004", "a b>*": "a_b__", "": "_", "ü\n": "__"} {
		if got := token(s); got != want || !validSubject(got) {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
	}
}
