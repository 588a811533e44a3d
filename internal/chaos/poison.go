package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"ttp-worker/ttp"
)

// poison is a kind of message that cannot be processed, or not whole.
type poison struct {
	name string
	only string // database that refuses it; empty means both
	make func(g *generator, a actor) event
}

// batchOf is the size of a batch in the fault that puts poison at every place of it.
const batchOf = 5

// poisonFaults put each kind of poison at each position of a batch.
func poisonFaults() (list []fault) {
	for _, db := range []string{mariadb, sqlite} {
		list = append(list, fault{
			name: "poison at every position", short: true,
			setup: setup{database: db, rate: none, args: []string{
				"--lanes", "1", "--batch-size", fmt.Sprint(batchOf), "--batch-wait", "1s", "--unknown-attacker-for", "3s", "--max-deliveries", "3",
			}},
			inject: poisonEverywhere,
		})
	}
	return list
}

func poisons() []poison {
	return []poison{
		{name: "no JSON", make: raw(`{"payload":`)},
		{name: "payload is a list", make: raw(`{"v":1,"payload":["%s"]}`)},
		{name: "another version", make: raw(`{"v":9,"id":"%s","payload":{}}`)},
		{name: "no command", make: raw(`{"v":1,"payload":{"id":"%s"}}`)},
		{name: "no anchor", make: raw(`{"v":1,"payload":{"command_text":"cat /tmp/chaos-%s"}}`)},
		{name: "longer than the column", only: mariadb, make: named(fmt.Sprintf("%0300d", 7))},
		{name: "refused by a check", make: named("poison-check")},
		{name: "one of a session refused", make: poisonedSession},
		{name: "refused by a trigger that says nothing", only: mariadb, make: named("poison-trigger")},
		{name: "unknown attacker", make: stranger},
		{name: "unknown identity", make: unknownIdentity},
	}
}

// raw makes a message of that text, in which %s is unique.
func raw(format string) func(*generator, actor) event {
	return func(g *generator, _ actor) event {
		id := g.id()
		text := format
		if len(format) > 20 {
			text = fmt.Sprintf(format, id)
		} else {
			text += id
		}
		return event{id: id, subject: "attacker.command", data: []byte(text), poison: true}
	}
}

// named makes a command whose source_id begins with name, for which the table
// does not take it.
func named(name string) func(*generator, actor) event {
	return func(g *generator, a actor) event {
		id := g.id()
		payload := g.who(a, object{"id": name + id, "command_text": "cat /tmp/chaos-" + id})
		e := g.event(id, "attacker.command", payload)
		e.poison = true
		return e
	}
}

// poisonedSession has a command that is refused between two that are not.
func poisonedSession(g *generator, a actor) event {
	id := g.id()
	var commands []any
	var facts []fact
	for i := range 3 {
		entry := object{"id": "poison-check" + g.id(), "command_text": "cat /tmp/chaos-" + g.id()}
		if i != 1 {
			entry["ts"] = g.stamp()
			facts = append(facts, a.fact("command", contentID(a, entry["ts"].(string), entry["command_text"].(string)), "s-"+id, entry))
		}
		commands = append(commands, entry)
	}
	e := g.sessionOf(id, a, commands, facts)
	e.poison = true
	return e
}

func stranger(g *generator, _ actor) event {
	id := g.id()
	e := g.command(actor{uuid: ttp.AttackerUUID("stranger" + id), ip: "203.0.113.1"})
	e.facts, e.poison = nil, true
	return e
}

func unknownIdentity(g *generator, a actor) event {
	id := g.id()
	payload := g.who(a, object{"identity_uuid": ttp.AttackerUUID("identity" + id), "command_text": "cat /tmp/chaos-" + id, "ts": g.stamp()})
	e := g.event(id, "attacker.command", payload)
	e.poison = true
	return e
}

// poisonEverywhere lets the worker find, for each kind and position, a batch
// with the poison there.
func poisonEverywhere(ctx context.Context, w *world) error {
	k := w.workers[0]
	if err := k.Term(stopWithin); err != nil {
		return err
	}
	if err := w.refusePoison(ctx); err != nil {
		return err
	}
	for _, p := range poisons() {
		if p.only != "" && p.only != w.database {
			continue
		}
		for position := range batchOf {
			if err := w.sendBatch(ctx, p, position); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.rerun(k, ""), w.quiet(ctx))
}

func (w *world) sendBatch(ctx context.Context, p poison, position int) error {
	for i := range batchOf {
		e := w.gen.command(w.gen.actors[i])
		if i == position {
			e = p.make(w.gen, w.gen.actors[i])
		}
		if err := w.prod.send(ctx, e); err != nil {
			return fmt.Errorf("send poison, %s: %w", p.name, err)
		}
	}
	return nil
}

// refusePoison makes the table refuse some rows for reasons of its own.
func (w *world) refusePoison(ctx context.Context) error {
	statements := []string{
		"ALTER TABLE ttp_tag ADD CONSTRAINT chaos_check CHECK (source_id NOT LIKE 'poison-check%')",
		"CREATE TRIGGER chaos_trigger BEFORE INSERT ON ttp_tag FOR EACH ROW " +
			"IF NEW.source_id LIKE 'poison-trigger%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
	}
	if w.database == sqlite {
		statements = []string{
			"CREATE TRIGGER chaos_check BEFORE INSERT ON ttp_tag WHEN NEW.source_id LIKE 'poison-check%' BEGIN SELECT RAISE(ABORT, 'no'); END",
		}
	}
	for _, s := range statements {
		if _, err := w.store.db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("make the table refuse poison: %w", err)
		}
	}
	return nil
}

// loadFaults are too much of something.
func loadFaults() (list []fault) {
	for _, db := range []string{mariadb, sqlite} {
		list = append(list, fault{
			name: "20 MiB in a batch", inject: hugeBatch,
			setup: setup{database: db, rate: none, args: []string{
				"--lanes", "1", "--batch-size", "10000", "--batch-bytes", fmt.Sprint(64 << 20), "--batch-wait", "5s",
			}},
		}, fault{
			name: "thousands of unknown attackers", setup: setup{database: db, rate: 50}, short: db == mariadb,
			redelivers: true, inject: strangers,
		})
	}
	return list
}

// hugeBatch has the worker find 20 MiB of sessions at once. MariaDB takes
// 16 MiB in a statement.
func hugeBatch(ctx context.Context, w *world) error {
	k := w.workers[0]
	if err := k.Term(stopWithin); err != nil {
		return err
	}
	for size := 0; size < 20<<20; {
		id, a := w.gen.id(), w.gen.actors[w.h.between(0, len(w.gen.actors)-1)]
		var commands []any
		var facts []fact
		for range 150 {
			text := fmt.Sprintf("echo %03500d; cat /tmp/chaos-%s", 7, w.gen.id())
			entry := object{"command_text": text, "ts": w.gen.stamp()}
			commands = append(commands, entry)
			facts = append(facts, a.fact("command", contentID(a, w.gen.stamp(), text), "s-"+id, entry))
		}
		e := w.gen.sessionOf(id, a, commands, facts)
		size += len(e.data)
		if err := w.prod.send(ctx, e); err != nil {
			return fmt.Errorf("send a large session: %w", err)
		}
	}
	if err := w.rerun(k, ""); err != nil {
		return err
	}
	return w.quiet(ctx)
}

// soonAfter is how long events of an attacker may still wait once his row is there.
const soonAfter = 10 * time.Second

// strangers sends events of attackers who get their rows only later. The
// others must not wait for them, and they must not wait for long then.
func strangers(ctx context.Context, w *world) error {
	g := newGenerator(rand.New(rand.NewPCG(w.h.draw(), 3)), w.gen.run+"x", 0)
	var late []actor
	for i := range 3000 {
		a := actor{ip: fmt.Sprintf("203.0.%d.%d", i/250, 1+i%250)}
		a.uuid = ttp.AttackerUUID(g.run + a.ip)
		late = append(late, a)
	}
	var waiting []event
	for _, a := range late {
		e := g.command(a)
		waiting = append(waiting, e)
		if err := w.prod.send(ctx, e); err != nil {
			return fmt.Errorf("send the event of a stranger: %w", err)
		}
	}
	w.pause(ctx, 4*ackWait, 6*ackWait)
	if err := w.probe(ctx, probeWithin/2); err != nil {
		return fmt.Errorf("while strangers wait: %w", err)
	}
	// Some appear first, to be timed among all the others who go on waiting.
	const first = 200
	if err := w.store.addActors(ctx, late[:first]); err != nil {
		return err
	}
	if err := w.announced(ctx, time.Now(), w.h.allowed(soonAfter), waiting[:first]...); err != nil {
		return fmt.Errorf("strangers who have a row now: %w", err)
	}
	if err := w.store.addActors(ctx, late[first:]); err != nil {
		return err
	}
	return w.announced(ctx, time.Now(), quietWithin, waiting...)
}

// stopFaults end and start workers as an operator does.
func stopFaults() []fault {
	s := setup{database: mariadb, workers: 3}
	return []fault{
		{name: "workers stopped and started", setup: s, short: true, inject: churn},
		{name: "stopped while the database hangs", setup: setup{database: mariadb}, inject: stopWhileHanging},
		{name: "stopped twice", setup: setup{database: mariadb}, inject: stopTwice},
	}
}

func churn(ctx context.Context, w *world) error {
	for range 8 {
		k := w.workers[w.h.between(0, len(w.workers)-1)]
		if err := k.Term(stopWithin); err != nil {
			return err
		}
		if err := w.rerun(k, ""); err != nil {
			return err
		}
		w.pause(ctx, 200*time.Millisecond, 900*time.Millisecond)
	}
	return nil
}

func stopWhileHanging(ctx context.Context, w *world) error {
	w.dbProxy.hold()
	w.pause(ctx, time.Second, time.Second)
	if err := w.workers[0].Term(stopWithin); err != nil {
		return err
	}
	w.dbProxy.heal()
	return w.rerun(w.workers[0], "")
}

// stopTwice wants a second signal to end the process at once, whatever hangs.
func stopTwice(ctx context.Context, w *world) error {
	w.dbProxy.hold()
	w.pause(ctx, time.Second, time.Second)
	k := w.workers[0]
	for range 2 {
		if err := k.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		w.pause(ctx, 200*time.Millisecond, 200*time.Millisecond)
	}
	if code, err := k.Wait(time.Second); err != nil || code != 1 {
		return fmt.Errorf("after the second signal: exit code %d, %v", code, err)
	}
	w.dbProxy.heal()
	return w.rerun(k, "")
}
