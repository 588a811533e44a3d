package worker

import (
	"slices"
	"testing"

	"ttp-worker/ttp"
)

func TestRowsOf_keepsARowUntilAllOfItIsPublished(t *testing.T) {
	list := []ttp.Announcement{{ID: "a", Outbox: "1"}, {ID: "b", Outbox: "1"}, {ID: "c", Outbox: "2"}, {ID: "d", Outbox: "2"}, {ID: "e", Outbox: "3"}}
	for _, c := range []struct{ done, want []string }{
		{nil, nil},
		{[]string{"a", "c", "d"}, []string{"2"}},
		{[]string{"e", "d", "c", "b", "a"}, []string{"1", "2", "3"}},
	} {
		if got := rowsOf(list, c.done); !slices.Equal(got, c.want) {
			t.Errorf("done %q: rows %q, want %q", c.done, got, c.want)
		}
	}
}
