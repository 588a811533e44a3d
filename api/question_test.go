package api_test

import (
	"fmt"
	"testing"
	"time"

	"ttp-worker/api"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-05-02T06:22:48Z": "2026-05-02T06:22:48Z", "2026-05-02T06:22:48+02:00": "2026-05-02T04:22:48Z",
		"2026-05-02": "2026-05-02T00:00:00Z", "2026-05-02 06:22:48": "2026-05-02T06:22:48Z", "7d": "2026-05-03T12:00:00Z", "36h": "2026-05-09T00:00:00Z",
		"": "", "yesterday": "", "-3h": "", "99999999d": "", "99999-01-01": "",
	} {
		got, err := api.ParseTime(text, now)
		if (err != nil) != (want == "") || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func ExampleParseTime() {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)
	week, _ := api.ParseTime("7d", now)
	day, _ := api.ParseTime("2026-05-02", now)
	fmt.Println(week, day)
	// Output: 2026-05-03 12:00:00 +0000 UTC 2026-05-02 00:00:00 +0000 UTC
}
