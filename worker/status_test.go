package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		happen func(s *Status)
		want   []string
	}{
		"nothing wrong":        {func(*Status) {}, nil},
		"trouble counts now":   {func(s *Status) { s.Trouble("a", "db: away") }, []string{"db: away (for 0s)"}},
		"a hindrance may pass": {func(s *Status) { s.Hindrance("a", "db: locked"); time.Sleep(patience - 1) }, nil},
		"a hindrance that stays": {
			func(s *Status) { s.Hindrance("a", "db: locked"); time.Sleep(patience); s.Hindrance("a", "db: locked") },
			[]string{"db: locked (for 3s)"},
		},
		"the same of two is said once": {
			func(s *Status) { s.Trouble("a", "db: away"); time.Sleep(time.Second); s.Trouble("b", "db: away") },
			[]string{"db: away (for 1s)"},
		},
		"one of two is over": {
			func(s *Status) { s.Trouble("a", "db: full"); s.Trouble("b", "db: away"); s.Clear("b") },
			[]string{"db: full (for 0s)"},
		},
		"over and again": {
			func(s *Status) {
				s.Trouble("a", "db: away")
				time.Sleep(time.Minute)
				s.Clear("a")
				s.Trouble("a", "db: away")
			},
			[]string{"db: away (for 0s)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s Status
				c.happen(&s)
				if got := s.NotReady(); !slices.Equal(got, c.want) {
					t.Errorf("not ready: %q, want %q", got, c.want)
				}
			})
		})
	}
}
