package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mix is what the messages of a run are like.
type mix struct {
	name    string
	marks   []int // tags of the events, in turn; nil: what the built-in rules make of the corpus
	session int   // commands of one message; 0: each is a message of its own
	wide    int   // attackers they are of, in turn; 0 means 1000
}

func (m mix) attackers() int { return cmp.Or(m.wide, 1000) }

// addressOf is where the nth attacker is.
func addressOf(n int) string { return fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&0xff, n&0xff) }

var (
	real     = mix{name: "real commands"}
	sparse   = mix{name: "0.1 tags an event", marks: []int{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
	usual    = mix{name: "1.2 tags an event", marks: []int{1, 1, 1, 1, 2}}
	dense    = mix{name: "5 tags an event", marks: []int{5}}
	sessions = mix{name: "sessions of 20", session: 20}
)

// readCorpus reads command lines.
func readCorpus(path string) (lines []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line struct{ Input string }
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lines = append(lines, line.Input)
	}
	return lines, scanner.Err()
}

type command struct {
	Text string `json:"command_text"`
	TS   string `json:"ts"`
	Tags int    `json:"bench_tags,omitempty"` // for the bare loop
}

type payload struct {
	command
	Address  string    `json:"attacker_ip"`
	Decky    string    `json:"decky_id"`
	Session  string    `json:"session_id,omitempty"`
	Commands []command `json:"commands,omitempty"`
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// line makes the nth command, typed in a second of its attacker's own, so that no
// two have the same id however often the corpus repeats itself.
func (r *rig) line(m mix, n, second int) command {
	c := command{Text: r.corpus[n%len(r.corpus)], TS: epoch.Add(time.Duration(second) * time.Second).Format("2006-01-02T15:04:05")}
	if m.marks == nil {
		c.Tags = r.tags[n%len(r.corpus)]
		return c
	}
	c.Tags = m.marks[n%len(m.marks)]
	c.Text = fmt.Sprintf("%s #mark%d", c.Text, c.Tags)
	return c
}

// message makes the nth message of a run.
func (r *rig) message(m mix, n int) (subject string, data []byte) {
	p := payload{Address: addressOf(n % m.attackers()), Decky: fmt.Sprintf("decky-%d", n%7)}
	subject = "attacker.command"
	if m.session == 0 {
		p.command = r.line(m, n, n/m.attackers())
	} else {
		subject = "attacker.session.ended"
		p.Session = fmt.Sprintf("s%d", n)
		for i := range m.session {
			c := r.line(m, n*m.session+i, n/m.attackers()*m.session+i)
			p.Tags += c.Tags
			c.Tags = 0
			p.Commands = append(p.Commands, c)
		}
	}
	body, err := json.Marshal(map[string]any{"v": 1, "id": fmt.Sprint(n), "ts": 1764000000.5, "payload": p})
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return subject, body
}

// writeMarkers writes rules that give an event as many tags as it is marked with.
func writeMarkers(dir string) error {
	var b strings.Builder
	for n := 1; n <= 5; n++ {
		fmt.Fprintf(&b, "---\nrule_id: M%d\nrule_version: 1\nname: marked %d\napplies_to: [command]\nmatch: {kind: regex, pattern: '#mark[%d-5]'}\n"+
			"emits: [{tactic: TA0007, technique_id: T1083, confidence: 0.8}]\nevidence_fields: [command_text]\n", n, n, n)
	}
	return writeRules(dir, b.String())
}

// fillerRules is how many rules the built-in pack is counted as.
const fillerRules = 250

// writeFiller writes rules of the same sort as the built-in ones, that match
// nothing of the corpus.
func writeFiller(dir string, times int) error {
	var b strings.Builder
	for n := range times * fillerRules {
		fmt.Fprintf(&b, "---\ntitle: filler %d\nid: F%d\nlogsource: {category: command}\ntags: [attack.discovery, attack.t1083]\nlevel: low\n"+
			"detection:\n  a: {program: 'fill%d'}\n  b: {args|contains|all: ['--opt%d', '/path/%d']}\n  c: {args|re: 'key%d=[a-z]+;'}\n  condition: a and (b or c)\n", n, n, n, n, n, n)
	}
	return writeRules(dir, b.String())
}

func writeRules(dir, text string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(text), 0o600)
}
