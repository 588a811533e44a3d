package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// seen is an event of a session and which parts of a rule it is, by place.
type seen struct {
	parts []int
	at    time.Time
	event event
	kind  ttp.Kind
}

// oracleSession says which session rules a session makes true: every part of
// every rule on every record, then every choice of events.
func oracleSession(rules []*definition, expand func(string) []shell.Command, ev *ttp.Event) []string {
	var ids []string
	for _, d := range rules {
		if d.correlation == nil || d.Status != Loaded {
			continue
		}
		var parts []*definition
		for _, name := range d.correlation.rules {
			part, reason := findPart(name, d, rules)
			if reason != "" {
				parts = nil
				break
			}
			parts = append(parts, part)
		}
		if parts != nil && oracleCorrelation(d.correlation, parts, oracleSeen(parts, expand, ev)) {
			ids = append(ids, d.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func oracleSeen(parts []*definition, expand func(string) []shell.Command, ev *ttp.Event) (list []seen) {
	for _, e := range entries(ev.Payload) {
		line := seen{at: e.at, kind: e.Kind, event: event{payload: e.Payload}}
		records := []seen{line}
		if e.Kind == ttp.Command {
			records[0].event.line = e.Payload.Text(lineMembers...)
			if records[0].event.line != "" {
				for _, c := range expand(records[0].event.line) {
					r := records[0]
					r.event.simple = &c
					records = append(records, r)
				}
			}
		}
		for i, part := range parts {
			inside := false
			for j := len(records) - 1; j >= 0; j-- {
				if expr := part.detect[e.Kind]; expr != nil && oracleHolds(expr, e.Kind, &records[j].event) && (j > 0 || !inside) {
					records[j].parts = append(records[j].parts, i)
					inside = true
				}
			}
		}
		for _, r := range records {
			if len(r.parts) > 0 {
				list = append(list, r)
			}
		}
	}
	return list
}

func oracleField(c *correlation, s *seen, name, rule string) string {
	if name == ruleField {
		return rule
	}
	var v values
	fieldOf(s.kind, name, false).read(&s.event, &v)
	if len(v.list) == 0 {
		return ""
	}
	return clip(v.list[0])
}

// one is an event that is one part of a rule.
type one struct {
	seen
	part  int
	place int
}

// oracleCorrelation tries every group.
func oracleCorrelation(c *correlation, parts []*definition, all []seen) bool {
	groups := make(map[string][]one)
	for place, s := range all {
		for _, i := range s.parts {
			k := ""
			for _, g := range c.groupBy {
				k += oracleField(c, &s, c.fieldOf(g, c.rules[i]), parts[i].ID) + "\x00"
			}
			groups[k] = append(groups[k], one{s, i, place})
		}
	}
	for _, list := range groups {
		if c.sort == temporalOrdered && oracleChain(c, list, len(parts), 0, nil, time.Time{}) {
			return true
		}
		if c.sort != temporalOrdered && oracleWindows(c, parts, list) {
			return true
		}
	}
	return false
}

func oracleFits(c *correlation, a, b time.Time) bool { return c.span == 0 || b.Sub(a) <= c.span }

// oracleChain reports whether the parts from part on follow last.
func oracleChain(c *correlation, list []one, parts, part int, last *one, start time.Time) bool {
	if part == parts {
		return true
	}
	for i := range list {
		o := &list[i]
		if o.part != part || last != nil && o.place <= last.place {
			continue
		}
		from := start
		if last == nil {
			from = o.at
		}
		if oracleFits(c, from, o.at) && oracleChain(c, list, parts, part+1, o, from) {
			return true
		}
	}
	return false
}

// oracleWindows tries every stretch of events.
func oracleWindows(c *correlation, parts []*definition, list []one) bool {
	wanted := map[string]bool{}
	for _, p := range parts {
		wanted[p.ID] = true
	}
	for j := range list {
		places, values, ids := map[int]bool{}, map[string]bool{}, map[string]bool{}
		for _, o := range list[:j+1] {
			if !oracleFits(c, o.at, list[j].at) {
				continue
			}
			places[o.place], ids[parts[o.part].ID] = true, true
			values[oracleField(c, &o.seen, c.field, parts[o.part].ID)] = true
		}
		// A count is complete only with the last part that its event is.
		last := j == len(list)-1 || list[j+1].place != list[j].place
		switch {
		case c.sort == eventCount && last && c.holds(len(places)),
			c.sort == valueCount && c.holds(len(values)),
			c.sort == temporal && len(ids) == len(wanted):
			return true
		}
	}
	return false
}

// sessionOf makes a session of bytes: of each what happens and how much later.
func sessionOf(data []byte) ttp.Object {
	lines := []string{
		"wget x", "chmod +x x", "./x", "id; uname -a", "ps && w", "crontab y", "ls; ls", "cat /etc/passwd", "du",
		"curl a; chmod x; ./a", "echo x > /etc/cron.d/z", "uname && ps", "whoami", "df; w; du", "./y; wget z", "tac /etc/passwd",
	}
	entries := map[string][]string{}
	seconds := 0
	for _, b := range data[:min(len(data), 24)] {
		seconds += int(b>>5) * int(b>>5) * 6
		switch n := int(b & 31); {
		case n < 16:
			entries["commands"] = append(entries["commands"], typed(seconds, lines[n]))
		case n < 28:
			result := []string{"failed", "failed", "success"}[n%3]
			entries["auth_attempts"] = append(entries["auth_attempts"], auth(seconds, string(rune('a'+n%4)), result))
		case n == 31: // one without a time
			entries["commands"] = append(entries["commands"], `"id"`)
		default:
			entries["http_requests"] = append(entries["http_requests"], fmt.Sprintf(`{"ts":%d,"raw_url":"/../","user":"%c"}`, 1777701600+seconds, 'a'+n%4))
		}
	}
	var o ttp.Object
	for _, list := range sessionLists {
		o = append(o, ttp.Member{Name: list.member, Value: ttp.Value("[" + strings.Join(entries[list.member], ",") + "]")})
	}
	return o
}

// FuzzSessionsAgreeWithOracle holds rules over sessions against an evaluator
// that tries everything.
func FuzzSessionsAgreeWithOracle(f *testing.F) {
	files := memory(map[string]string{"s.yml": sessionRules}).Read("s.yml", nil)
	rules, problems := unique([]*File{files})
	if problems != nil {
		f.Fatal(problems)
	}
	sets := []*Set{newSet(Options{Expand: shell.Expander}, rules), newSet(Options{Expand: shell.Expander, Memo: 16}, rules)}
	for _, seed := range []string{"\x00\x01\x02", "\x10\x11\x13\x14\x16", "\x09\x69\x0a\x1c\x12", "\x06\x27\x47\x0d", "\x08\x08\x0d\x08", "\x1f\x03\x04\xe5"} {
		f.Add([]byte(seed))
	}
	expand := func(line string) []shell.Command { list, _ := shell.Parse(line); return list }
	f.Fuzz(func(t *testing.T, data []byte) {
		ev := &ttp.Event{Kind: ttp.Session, Payload: sessionOf(data)}
		want := oracleSession(rules, expand, ev)
		for i, set := range sets {
			findings, err := set.Tag(t.Context(), ev)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, ruleIDs(findings)); d != "" {
				t.Fatalf("set %d: %s (-oracle +engine):\n%s", i, ev.Payload.AppendJSON(nil), d)
			}
		}
	})
}
