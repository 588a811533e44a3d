package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"ttp-worker/ttp"
)

// stored is a table of attackers with lists of commands, by uuid.
type stored map[string]int

func (s stored) HistoryEnd(context.Context, string) (string, error) { return s.keys("")[len(s)-1], nil }

func (s stored) keys(after string) (keys []string) {
	for uuid := range s {
		if uuid > after {
			keys = append(keys, uuid)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s stored) HistoryPage(_ context.Context, _, after, end string, limit int) (rows []ttp.Object, last string, err error) {
	keys := s.keys(after)
	for _, uuid := range keys[:min(limit, len(keys))] {
		rows = append(rows, ttp.Object{{Name: "uuid", Value: ttp.Quote(uuid)}, {Name: "size", Value: ttp.Number(maxBlobs / 2)}})
		last = uuid
	}
	return rows, last, nil
}

func (s stored) HistoryCommands(_ context.Context, uuids []string) (map[string]string, error) {
	blobs := make(map[string]string)
	for _, uuid := range uuids {
		var list []string
		for i := range s[uuid] {
			list = append(list, fmt.Sprintf(`"%s %d"`, uuid, i))
		}
		blobs[uuid] = "[" + strings.Join(list, ",") + "]"
	}
	return blobs, nil
}

func (s stored) HistoryLogins(context.Context, []string, []string) (map[[3]string]ttp.LoginCounts, error) {
	return nil, nil
}

func TestTable_resumesAnywhere(t *testing.T) {
	t.Parallel()
	db := stored{"a": 3, "b": 2*partEntries + 50, "c": 1, "d": partEntries, "e": 3 * partEntries}
	open := func(place string) *Table {
		table := FromDatabase("command", db, Window{})
		table.page = 2
		if place != "" {
			if err := table.Resume(t.Context(), place); err != nil {
				t.Fatal(err)
			}
		}
		return table
	}
	type part struct{ text, place string }
	rest := func(table *Table) (parts []part, rows int) {
		for {
			p, err := table.Next(t.Context())
			if errors.Is(err, io.EOF) {
				return parts, rows
			} else if err != nil {
				t.Fatal(err)
			}
			rows += p.Rows
			if p.Message == nil {
				continue
			}
			var text strings.Builder
			for _, e := range p.Message.Events {
				text.WriteString(e.Payload.Text("command_text") + "\n")
			}
			parts = append(parts, part{text.String(), table.Place()})
		}
	}
	whole, rows := rest(open(""))
	if len(whole) != 9 || rows != len(db) {
		t.Fatalf("%d parts of %d rows", len(whole), rows)
	}
	for i, p := range whole {
		got, more := rest(open(p.place))
		if !slices.Equal(got, whole[i+1:]) {
			t.Errorf("behind %s are %d parts, want %d", p.place, len(got), len(whole)-i-1)
		}
		if before := strings.Index("abcde", p.text[:1]) + 1; more != len(db)-before {
			t.Errorf("behind %s are %d rows, want %d", p.place, more, len(db)-before)
		}
	}
}
