package intake

import (
	"strings"
	"testing"
)

func TestAddress_takesOnlyWhatCanBeARow(t *testing.T) {
	for in, want := range map[string]string{
		"198.51.100.7":                       "198.51.100.7",
		"2001:db8::1":                        "2001:db8::1",
		"fe80::1%eth0":                       "fe80::1%eth0",
		"fe80::1%br-1.20":                    "fe80::1%br-1.20",
		"fe80::1%é":                          "",
		"fe80::1%<script>":                   "",
		"fe80::1%a b":                        "",
		"fe80::1%\x00":                       "",
		"example.net":                        "",
		"198.51.100.7, 10.0.0.1":             "",
		"":                                   "",
		"fe80::1%" + strings.Repeat("e", 57): "",
	} {
		if got := address(in); got != want {
			t.Errorf("address(%.40q) = %q, want %q", in, got, want)
		}
	}
}
