package logfile

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	name := file(t, `{"topic":"1","payload":{}}`+"\n"+`{"topic":"2","pay`)
	r := reading(t, Options{Files: []string{name}, Follow: true})
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, read(t, r)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", what, diff)
		}
	}
	expect("a line that is being written waits", "1 {}")
	appendTo(t, name, `load":{}}`+"\n"+cowrieLine("command.input", "S", 1, `,"input":"id"`))
	expect("its end has come; an open session stays open", "2 {}")
	appendTo(t, name, `{"topic":"3","payload":{}}`+"\n")
	rename(t, name, name+".1")
	expect("what was written before the rotation", "3 {}")
	write(t, name, `{"topic":"4","payload":{}}`+"\n")
	expect("the new file", "4 {}")
	write(t, name, "")
	expect("the file was cut off")
	appendTo(t, name, `{"topic":"5","payload":{}}`+"\n")
	expect("what was written behind the cut", "5 {}")
}

func TestFollow_resumesAcrossRotations(t *testing.T) {
	t.Parallel()
	line := func(topic string) string { return `{"topic":"` + topic + `","payload":{}}` + "\n" }
	name := file(t, line("1")+cowrieLine("command.input", "S", 1, `,"input":"id"`)+line("2"))
	r := reading(t, Options{Files: []string{name}, Follow: true})
	read(t, r)
	place, ok := r.Place()
	if !ok || place.From == place.At {
		t.Fatalf("place %+v, %v", place, ok)
	}
	appendTo(t, name, line("3"))
	rename(t, name, name+".2")
	write(t, name, line("4"))
	rename(t, name, name+".1")
	write(t, name, line("5")+cowrieLine("session.closed", "S", 2, ""))
	again := reading(t, Options{Files: []string{name}, Follow: true})
	if err := again.Resume(place); err != nil {
		t.Fatal(err)
	}
	got := read(t, again)
	if len(got) != 4 || got[0] != "3 {}" || got[1] != "4 {}" || got[2] != "5 {}" || !strings.Contains(got[3], `"command_text":"id"`) {
		t.Errorf("got %q", got)
	}
}

// What has been read is not there any more to be passed over; everything that
// is there now is new.
func TestFollow_resumesWhereTheFileWasCutOff(t *testing.T) {
	t.Parallel()
	line := func(topic string) string { return `{"topic":"` + topic + `","payload":{}}` + "\n" }
	name := file(t, cowrieLine("command.input", "S", 1, `,"input":"id"`)+line("1"))
	r := reading(t, Options{Files: []string{name}, Follow: true})
	read(t, r)
	rename(t, name, name+".1")
	write(t, name, line("2")+line("3"))
	read(t, r)
	place, ok := r.Place()
	if !ok || place.From.Offset != 0 || place.At.Offset == 0 {
		t.Fatalf("place %+v, %v", place, ok)
	}
	write(t, name, line("4"))
	again := reading(t, Options{Files: []string{name}, Follow: true})
	if err := again.Resume(place); err != nil {
		t.Fatal(err)
	}
	if got := read(t, again); len(got) != 2 || got[0] != "1 {}" || got[1] != "4 {}" {
		t.Errorf("got %q", got)
	}
}

func appendTo(t testing.TB, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
