package logfile

import (
	"fmt"
	"strings"
	"testing"

	"ttp-worker/ttp"
)

// cowrieLine makes an event of a session at a second of a day.
func cowrieLine(event, session string, second int, more string) string {
	return fmt.Sprintf(`{"eventid":"cowrie.%s","session":%q,"src_ip":"198.51.100.7","sensor":"s1","timestamp":"2026-05-02T%02d:%02d:%02d.500000Z"%s}`+"\n",
		event, session, second/3600, second/60%60, second%60, more)
}

func TestCowrie_ends(t *testing.T) {
	t.Parallel()
	const day = `{"eventid":"cowrie.command.input","session":"T","sensor":"s1","src_ip":"198.51.100.8","input":"id","timestamp":"2026-05-0%dT%s"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"after a day": {
			text: cowrieLine("session.connect", "S", 60, "") + fmt.Sprintf(day, 3, "00:01:00Z") + fmt.Sprintf(day, 3, "00:01:02Z"),
			want: "S T",
		},
		"before a log of an earlier year": {
			text: cowrieLine("session.connect", "S", 60, "") + strings.Replace(fmt.Sprintf(day, 1, "00:00:00Z"), "2026", "2017", 1) + cowrieLine("session.closed", "S", 61, ""),
			want: "S T",
		},
		"at its end": {
			text: cowrieLine("session.connect", "S", 60, "") + fmt.Sprintf(day, 2, "00:01:00Z") + cowrieLine("session.closed", "S", 61, ""),
			want: "S T",
		},
	} {
		var ids []string
		r := reading(t, Options{Files: []string{file(t, c.text)}})
		for {
			rec, err := r.Next()
			if err != nil {
				break
			}
			ids = append(ids, rec.Envelope.Payload.Text("session_id"))
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: sessions %q, want %q", name, got, c.want)
		}
	}
}

func TestCowrie_hugeSessionIsHandedOutInParts(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	const commands = 2*maxEntries + 10
	for i := range commands {
		b.WriteString(cowrieLine("command.input", "S", i, fmt.Sprintf(`,"input":"echo %d"`, i)))
	}
	b.WriteString(cowrieLine("session.closed", "S", commands, ""))
	r := reading(t, Options{Files: []string{file(t, b.String())}})
	counts := make(map[string]int)
	texts := make(map[string]bool)
	for {
		rec, err := r.Next()
		if err != nil {
			break
		}
		counts[rec.Subject]++
		if rec.Subject == "attacker.command" {
			p := rec.Envelope.Payload
			texts[p.Text("command_text")] = p.Text("session_id") == "S" && p.Has("ts")
			continue
		}
		list, _ := rec.Envelope.Payload.List("commands")
		for _, v := range list {
			o, _ := v.Object()
			texts[o.Text("command_text")] = true
		}
	}
	if counts["attacker.session.ended"] != 1 || counts["attacker.command"] != 2*maxEntries || len(texts) != commands {
		t.Errorf("%v, %d commands of %d", counts, len(texts), commands)
	}
	for text, ok := range texts {
		if !ok {
			t.Errorf("%s has lost its session or its time", text)
		}
	}
}

func TestCowrie_memoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newCowrie()
	var queue []Record
	for i := range maxOpen + 100 {
		o, err := ttp.ParseObject(strings.TrimSpace(cowrieLine("session.connect", fmt.Sprintf("S%d", i), i%80000, "")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.take(o, Mark{}, &queue); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.open) != maxOpen || c.list.Len() != maxOpen || len(queue) != 100 {
		t.Errorf("%d sessions open, %d handed out", len(c.open), len(queue))
	}
}

// Whatever it is that a session holds much of, all sessions together hold what
// fits into memory.
func TestCowrie_whatIsHeldIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 4096)
	for name, c := range map[string]struct {
		event, more string
		sessions    int
	}{
		"commands":  {"command.input", `"input":"` + long + `%d"`, 500},
		"downloads": {"session.file_download", `"url":"` + long + `%d"`, 500},
		"forwards":  {"direct-tcpip.request", `"dst_ip":"` + long + `%d"`, 500},
		"passwords": {"login.failed", `"username":"u%[1]d","password":"` + long + `%[1]d"`, 500},
		"versions":  {"client.version", `"version":"` + long + `%d"`, 10_000},
		"names":     {"session.connect", `"session":"` + long + `%d"`, 10_000},
	} {
		assembly := newCowrie()
		var queue []Record
		early := 0
		for i := range 10_000 {
			text := cowrieLine(c.event, fmt.Sprintf("S%d", i%c.sessions), 0, ","+fmt.Sprintf(c.more, i))
			o, err := ttp.ParseObject(strings.TrimSpace(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := assembly.take(o, Mark{}, &queue); err != nil {
				t.Fatal(err)
			}
			if assembly.held > maxHeld {
				t.Fatalf("%s: %d bytes are held", name, assembly.held)
			}
			early += len(queue)
			queue = queue[:0]
		}
		if early == 0 {
			t.Errorf("%s: nothing was handed out early", name)
		}
	}
}
