package replay

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"ttp-worker/intake"
	"ttp-worker/ttp"
)

// maxBlobs bounds how many bytes of stored commands are read at a time; one
// row that is larger is read alone.
const maxBlobs = 1 << 20

// partEntries is how many entries of a list make one part.
const partEntries = 200

// readAttackers notes whose commands are to be read.
func readAttackers(_ context.Context, t *Table, rows []ttp.Object) error {
	t.rows = slices.DeleteFunc(rows, func(row ttp.Object) bool { return !t.window.May(timeOf(row.Text("last_seen"))) })
	return nil
}

// storedList is the list of an attacker's commands that is in hand.
type storedList struct {
	of       ttp.Attacker
	lastSeen time.Time
	entries  []ttp.Value // not read yet
	first    int         // index of the first of them
	row      ttp.Object  // of an attacker whose list cannot be read; else nil
}

// readCommands reads the commands of the next attackers: of one, or of as many
// as are small together.
func (t *Table) readCommands(ctx context.Context) error {
	n, size := 0, int64(0)
	var uuids []string
	for n < len(t.rows) && (n == 0 || size < maxBlobs) {
		bytes, _ := t.rows[n].Int("size")
		size += bytes
		uuids = append(uuids, t.rows[n].Text("uuid"))
		n++
	}
	blobs, err := t.db.HistoryCommands(ctx, uuids)
	if err != nil {
		return err
	}
	for i, row := range t.rows[:n] {
		l := storedList{
			of:       ttp.Attacker{UUID: uuids[i], Address: row.Text("ip"), IdentityUUID: row.Text("identity_id")},
			lastSeen: timeOf(row.Text("last_seen")),
		}
		var ok bool
		if l.entries, ok = listIn(blobs[uuids[i]]); !ok {
			l.row = row
		}
		if l.of.UUID == t.resumed.Within {
			l.first = min(t.resumed.Entries, len(l.entries))
			l.entries = l.entries[l.first:]
		}
		t.lists = append(t.lists, l)
	}
	t.rows = t.rows[n:]
	return nil
}

// listIn returns the elements of the list that text is.
func listIn(text string) ([]ttp.Value, bool) {
	o, err := ttp.ParseObject(`{"list":` + strings.ToValidUTF8(text, "\ufffd") + `}`)
	if err != nil || len(o) != 1 {
		return nil, false
	}
	return o.List("list")
}

var errBlob = errors.New("the stored commands are not a JSON list")

// nextChunk queues a part of the list in hand.
func (t *Table) nextChunk() {
	l := &t.lists[0]
	if l.row != nil {
		t.malformed(l.row, errBlob)
		t.lists = t.lists[1:]
		return
	}
	n := min(len(l.entries), partEntries)
	entries := slices.Clone(l.entries[:n])
	for i := range entries { // an event that is kept must not keep the whole list
		entries[i] = ttp.Value(strings.Clone(string(entries[i])))
	}
	part := tablePart{Part: Part{Message: intake.DecodeStored(l.of, entries, l.first)}}
	part.Message.Events = slices.DeleteFunc(part.Message.Events, func(e *intake.Event) bool {
		if e.At.IsZero() {
			return !t.window.Has(l.lastSeen)
		}
		return !t.window.Has(e.At)
	})
	if l.first == 0 {
		part.Rows = 1
	}
	l.entries, l.first = l.entries[n:], l.first+n
	part.key, part.entries = l.of.UUID, l.first
	if len(l.entries) == 0 {
		part.entries = 0
		t.lists = t.lists[1:]
	}
	t.queue = append(t.queue, part)
}

// readTriggers queues canary hits as the messages that told them. What the
// hit's browser said of itself is read as it is for a message.
func readTriggers(_ context.Context, t *Table, rows []ttp.Object) error {
	for _, row := range rows {
		at := timeOf(row.Text("occurred_at"))
		if !t.window.Has(at) {
			continue
		}
		var p ttp.Object
		p = with(p, "token_id", row.Text("token_uuid"))
		p = with(p, "trigger_id", row.Text("uuid"))
		p = with(p, "decky_name", row.Text("decky_name"))
		p = with(p, "attacker_uuid", row.Text("attacker_id"))
		for _, name := range []string{"src_ip", "user_agent", "request_path", "dns_qname"} {
			p = with(p, name, row.Text(name))
		}
		t.message(row, "canary.stored.triggered", at, p)
	}
	return nil
}

// readLogs queues the commands and the requests that are in log lines.
func readLogs(_ context.Context, t *Table, rows []ttp.Object) error {
	for _, row := range rows {
		stamp := lineTime(row)
		at := timeOf(stamp[:min(len(stamp), 19)])
		if exact, err := time.Parse(time.RFC3339, stamp); err == nil {
			at = exact.UTC()
		}
		if !t.window.Has(at) {
			continue
		}
		fields, ok := row.Object("fields")
		if !ok {
			t.malformed(row, errors.New("the fields of the line are not a JSON object"))
			continue
		}
		subject, p, ok := fromLog(row, fields)
		if !ok {
			t.queue = append(t.queue, tablePart{Part{Rows: 1, Ignored: 1}, row.Text("id"), 0})
			continue
		}
		p = with(p, "ts", stamp)
		t.message(row, subject, at, p)
	}
	return nil
}

// lineTime returns when a line was logged, as the line itself says (RFC 5424:
// the second word): the column has lost the fraction, by rounding on MySQL, and
// with it perhaps the second that the live path saw.
func lineTime(row ttp.Object) string {
	words := strings.SplitN(row.Text("raw_line"), " ", 3)
	if len(words) == 3 && strings.HasPrefix(words[0], "<") {
		if _, err := time.Parse(time.RFC3339, words[1]); err == nil {
			return words[1]
		}
	}
	return row.Text("timestamp")
}

// fromLog makes the payload of what a line tells.
func fromLog(row, fields ttp.Object) (subject string, p ttp.Object, ok bool) {
	p = with(p, "attacker_ip", row.Text("attacker_ip"))
	p = with(p, "decky_id", row.Text("decky"))
	p = with(p, "service", row.Text("service"))
	if row.Text("event_type") == "request" {
		return requestOf(p, fields)
	}
	text := fields.Text("command", "query", "input", "line", "sql", "cmd")
	if text == "" {
		return "", nil, false
	}
	p = with(p, "command_text", text)
	for _, name := range []string{"uid", "user", "src", "pwd"} {
		p = with(p, name, fields.Text(name))
	}
	return "attacker.command", p, true
}

func requestOf(p, fields ttp.Object) (subject string, request ttp.Object, ok bool) {
	target := fields.Text("path", "url", "uri")
	if target == "" {
		return "", nil, false
	}
	p = with(p, "method", fields.Text("method"))
	p = with(p, "raw_url", target)
	if u, err := url.Parse(target); err == nil {
		p = with(p, "request_path", u.Path)
	}
	headers, _ := fields.Object("headers")
	if headers != nil {
		p = append(p, ttp.Member{Name: "headers", Value: ttp.Value(headers.AppendJSON(nil))})
	}
	agent := ""
	for _, h := range headers {
		if strings.EqualFold(h.Name, "user-agent") {
			agent, _ = h.Value.Text()
		}
	}
	p = with(p, "user_agent", cmp.Or(fields.Text("user_agent"), agent))
	p = with(p, "body", fields.Text("body"))
	return "attacker.http", p, true
}

// readCredentials queues what was tried as logins: each as the first of its
// kind, which is what stays the same when more follow.
func readCredentials(ctx context.Context, t *Table, rows []ttp.Object) error {
	rows = slices.DeleteFunc(rows, func(row ttp.Object) bool {
		return !t.window.Has(timeOf(row.Text("last_seen"))) || !t.window.Has(timeOf(row.Text("first_seen"))) && !t.window.Until.IsZero()
	})
	if len(rows) == 0 {
		return nil
	}
	var addresses, principals []string
	for _, row := range rows {
		addresses = append(addresses, row.Text("attacker_ip"))
		principals = append(principals, row.Text("principal_key"))
	}
	counts, err := t.db.HistoryLogins(ctx, distinct(addresses), distinct(principals))
	if err != nil {
		return err
	}
	for _, row := range rows {
		at := timeOf(row.Text("first_seen"))
		t.message(row, "attacker.auth", at, loginOf(row, counts))
	}
	return nil
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// succeeded are the outcomes of a login that worked; others, and none, are not.
var succeeded = []string{"success", "accepted", "granted", "ok"}

func loginOf(row ttp.Object, counts map[[3]string]ttp.LoginCounts) (p ttp.Object) {
	count := counts[[3]string{row.Text("attacker_ip"), row.Text("decky_name"), row.Text("service")}]
	result := row.Text("outcome")
	if slices.Contains(succeeded, strings.ToLower(result)) {
		result = "success"
	}
	p = with(p, "attacker_uuid", row.Text("attacker_uuid"))
	p = with(p, "attacker_ip", row.Text("attacker_ip"))
	p = with(p, "decky_name", row.Text("decky_name"))
	p = with(p, "service", row.Text("service"))
	p = with(p, "username", row.Text("principal"))
	p = with(p, "password", row.Text("secret_printable"))
	p = with(p, "result", result)
	p = with(p, "ts", strings.Replace(row.Text("first_seen"), " ", "T", 1))
	p = append(p, ttp.Member{Name: "fail_count", Value: ttp.Number(count.Failed)},
		ttp.Member{Name: "password_count", Value: ttp.Number(count.Passwords[row.Text("principal_key")])})
	if result == "success" && count.Failed >= 3 {
		p = append(p, ttp.Member{Name: "prior_brute", Value: ttp.Bool(true)})
	}
	return p
}
