package logfile

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twoDays is a log whose sessions overlap. Every fifth has no end.
func twoDays(sessions int) string {
	var b strings.Builder
	for i := range sessions {
		id := fmt.Sprintf("S%d", i)
		b.WriteString(cowrieLine("session.connect", id, 60*i, ""))
		for back := range 3 {
			if i >= back {
				b.WriteString(cowrieLine("command.input", fmt.Sprintf("S%d", i-back), 60*i+back, fmt.Sprintf(`,"input":"echo %d %d"`, i, back)))
			}
		}
		if i >= 4 && i%5 != 0 {
			b.WriteString(cowrieLine("session.closed", fmt.Sprintf("S%d", i-4), 60*i+9, `,"duration":1`))
		}
		if i%7 == 0 {
			b.WriteString("no JSON\n")
		}
	}
	return b.String()
}

func TestResume_anywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := twoDays(30)
	half := strings.LastIndexByte(text[:len(text)/2], '\n') + 1
	event := `{"topic":"attacker.command","payload":{"command_text":"in a list"}}`
	list := "[" + event + ", 7, " + event + "]\n" + "{\n \"topic\": \"attacker.command\",\n \"payload\": {}\n}\n"
	o := Options{Files: []string{write(t, filepath.Join(dir, "1"), text[:half]+list), write(t, filepath.Join(dir, "2"), list+text[half:])}}
	whole := reading(t, o)
	want := read(t, whole)
	for k := 0; k <= len(want); k++ {
		first := reading(t, o)
		var got []string
		for range k {
			rec, err := first.Next()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, show(rec))
		}
		place, ok := first.Place()
		if !ok {
			if k > 0 {
				t.Errorf("no place after %d records", k)
			}
			continue
		}
		second := reading(t, o)
		if err := second.Resume(place); err != nil {
			t.Fatal(err)
		}
		got = append(got, read(t, second)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("stopped after %d records (-want +got):\n%s", k, diff)
		}
		if n := first.Malformed + second.Malformed; n != whole.Malformed {
			t.Errorf("stopped after %d records: %d malformed, want %d", k, n, whole.Malformed)
		}
		if n := first.Rows + second.Rows; n != whole.Rows {
			t.Errorf("stopped after %d records: %d rows, want %d", k, n, whole.Rows)
		}
	}
}

// Sessions that were begun earlier than the oldest open one seem to begin anew
// where reading goes on. They must not crowd it out.
func TestResume_withAsManySessionsAsAreKept(t *testing.T) {
	t.Parallel()
	const earlier = 100
	var b strings.Builder
	for i := range earlier {
		b.WriteString(cowrieLine("session.connect", fmt.Sprintf("E%d", i), 0, ""))
	}
	b.WriteString(cowrieLine("command.input", "F", 1, `,"input":"kept"`))
	for i := range earlier {
		b.WriteString(cowrieLine("command.input", fmt.Sprintf("E%d", i), 2, `,"input":"id"`))
	}
	for i := range maxOpen - 1 {
		b.WriteString(cowrieLine("session.connect", fmt.Sprintf("S%d", i), 3, ""))
	}
	o := Options{Files: []string{file(t, b.String())}}
	first := reading(t, o)
	for range earlier {
		if _, err := first.Next(); err != nil {
			t.Fatal(err)
		}
	}
	place, ok := first.Place()
	second := reading(t, o)
	if err := second.Resume(place); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want, got := read(t, first), read(t, second)
	if !strings.Contains(want[0], "kept") || got[0] != want[0] {
		t.Errorf("first behind the place is %s, want %s", got[0], want[0])
	}
}

func TestResume_atTheEnd(t *testing.T) {
	t.Parallel()
	o := Options{Files: []string{file(t, twoDays(10))}}
	r := reading(t, o)
	read(t, r)
	place, ok := r.Place()
	if !ok {
		t.Fatal("the end is no place")
	}
	again := reading(t, o)
	if err := again.Resume(place); err != nil {
		t.Fatal(err)
	}
	if got := read(t, again); len(got) > 0 {
		t.Errorf("%d records behind the end", len(got))
	}
}

func TestResume_refusesAnotherFile(t *testing.T) {
	t.Parallel()
	name := file(t, twoDays(10))
	r := reading(t, Options{Files: []string{name}})
	read(t, r)
	place, _ := r.Place()
	write(t, name, "{}\n"+twoDays(10))
	if err := reading(t, Options{Files: []string{name}}).Resume(place); err == nil {
		t.Error("a file that begins otherwise was taken for the same")
	}
	if err := reading(t, Options{Files: []string{file(t, "")}}).Resume(place); err == nil {
		t.Error("a place in a file that is not read was taken")
	}
}
