package intake

import (
	"context"
	"fmt"
	"time"

	"ttp-worker/ttp"
)

// Database is what is read, and with [Resolver.Create] written, to find whose
// an event is and what a message only points at. A row or a whole table that
// is absent is not an error.
type Database interface {
	AttackersByAddress(ctx context.Context, addresses []string) (map[string]ttp.Attacker, error)
	AttackersByUUID(ctx context.Context, uuids []string) (map[string]ttp.Attacker, error)
	CreateAttackers(ctx context.Context, attackers []ttp.Attacker) error
	CreateIdentities(ctx context.Context, uuids []string) error

	Intel(ctx context.Context, attackerUUID string) (ttp.Object, bool, error)
	CanaryTrigger(ctx context.Context, uuid string) (ttp.CanaryTrigger, bool, error)
	CanaryChunks(ctx context.Context, tokenUUID, sid string) ([]ttp.CanaryTrigger, error)
	CanaryToken(ctx context.Context, uuid string) (ttp.Object, bool, error)
	CredentialReuse(ctx context.Context, id string) (ttp.Object, bool, error)
	Spraying(ctx context.Context, identityUUID string) (ttp.Spraying, bool, error)
}

const (
	// cacheSize bounds each cache, 100 to 300 bytes an entry.
	cacheSize = 50_000

	// foundFor is how long an attacker's row is believed. It changes when he
	// is resolved to an identity, which takes the platform minutes.
	foundFor = time.Minute

	// missedFor is how long an absent row is not asked for again, so that many
	// waiting events ask once.
	missedFor = time.Second
)

// Resolver finds what a message does not carry itself. It is safe for
// concurrent use.
type Resolver struct {
	db     Database
	create bool

	attackers  *cache[ttp.Attacker] // by uuid and by address; no UUID: a miss
	identities *cache[struct{}]     // those that are known to have a row
	intel      *cache[ttp.Object]   // by attacker; nil: none
}

// NewResolver returns a resolver that reads db. With create, attackers and
// identities without a row are given a minimal one.
func NewResolver(db Database, create bool) *Resolver {
	return &Resolver{
		db: db, create: create,
		attackers:  newCache[ttp.Attacker](cacheSize),
		identities: newCache[struct{}](cacheSize),
		intel:      newCache[ttp.Object](cacheSize),
	}
}

// Anchor finds the attacker and the identity of each event, by one query for
// all that are not remembered, and gives the anchored ones their SourceID. An
// event whose attacker has no row is marked Unknown; one that names nobody
// stays without anchors. An error means the database could not be asked.
func (r *Resolver) Anchor(ctx context.Context, events []*Event) error {
	if err := r.lookUp(ctx, events); err != nil {
		return err
	}
	if r.create {
		if err := r.createMissing(ctx, events); err != nil {
			return err
		}
	}
	// Events of one attacker often follow each other.
	var of string
	var attacker ttp.Attacker
	for _, e := range events {
		if key := e.key(); key != of {
			of = key
			attacker, _ = r.attackers.get(key)
		}
		e.anchor(&attacker)
	}
	return nil
}

// key is what the event's attacker is looked up by.
func (e *Event) key() string { return e.attacker() }

// Key names an attacker by his uuid or, if that is not known, his address. The
// zero Key is nobody.
type Key struct{ UUID, Address string }

// Key returns who the event's attacker is.
func (e *Event) Key() Key {
	if e.AttackerUUID != "" {
		return Key{UUID: e.AttackerUUID}
	}
	return Key{Address: e.Address}
}

// Appeared returns those of keys that have a row by now. It asks the database
// whatever is remembered, and remembers what it found.
func (r *Resolver) Appeared(ctx context.Context, keys []Key) (map[Key]bool, error) {
	var uuids, addresses []string
	for _, k := range keys {
		if k.UUID != "" {
			uuids = append(uuids, k.UUID)
		} else {
			addresses = append(addresses, k.Address)
		}
	}
	if err := r.ask(ctx, uuids, r.db.AttackersByUUID); err != nil {
		return nil, fmt.Errorf("look for %d attackers by uuid: %w", len(uuids), err)
	}
	if err := r.ask(ctx, addresses, r.db.AttackersByAddress); err != nil {
		return nil, fmt.Errorf("look for %d attackers by address: %w", len(addresses), err)
	}
	appeared := make(map[Key]bool)
	for _, k := range keys {
		if a, _ := r.attackers.get(k.UUID + k.Address); a.UUID != "" {
			appeared[k] = true
		}
	}
	return appeared, nil
}

// anchor takes over who the event's attacker is, unless it names nobody.
func (e *Event) anchor(attacker *ttp.Attacker) {
	e.Unknown = false
	if e.key() != "" {
		if attacker.UUID == "" {
			e.Unknown = true
			return
		}
		e.AttackerUUID = attacker.UUID
		if e.IdentityUUID == "" {
			e.IdentityUUID = attacker.IdentityUUID
		}
	}
	if e.Anchored() {
		e.SourceID = e.sourceID(e)
	}
}

// lookUp fills the cache with what the events need to be anchored.
func (r *Resolver) lookUp(ctx context.Context, events []*Event) error {
	var uuids, addresses []string
	seen := make(map[string]bool)
	last := ""
	for _, e := range events {
		key := e.key()
		if key == "" || key == last || seen[key] {
			continue
		}
		seen[key], last = true, key
		if _, ok := r.attackers.get(key); ok {
			continue
		}
		if e.AttackerUUID != "" {
			uuids = append(uuids, key)
		} else {
			addresses = append(addresses, key)
		}
	}
	if err := r.ask(ctx, uuids, r.db.AttackersByUUID); err != nil {
		return fmt.Errorf("look up %d attackers by uuid: %w", len(uuids), err)
	}
	if err := r.ask(ctx, addresses, r.db.AttackersByAddress); err != nil {
		return fmt.Errorf("look up %d attackers by address: %w", len(addresses), err)
	}
	return nil
}

func (r *Resolver) ask(ctx context.Context, keys []string, query func(context.Context, []string) (map[string]ttp.Attacker, error)) error {
	if len(keys) == 0 {
		return nil
	}
	found, err := query(ctx, keys)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if a, ok := found[key]; ok {
			r.attackers.put(key, a, foundFor)
		} else {
			r.attackers.put(key, ttp.Attacker{}, missedFor)
		}
	}
	return nil
}

// createMissing gives the attackers and identities of the events rows.
func (r *Resolver) createMissing(ctx context.Context, events []*Event) error {
	attackers, identities := r.missing(events)
	if len(identities) > 0 {
		if err := r.db.CreateIdentities(ctx, identities); err != nil {
			return fmt.Errorf("create %d identities: %w", len(identities), err)
		}
		for _, id := range identities {
			r.identities.put(id, struct{}{}, foundFor)
		}
	}
	if len(attackers) == 0 {
		return nil
	}
	list := make([]ttp.Attacker, 0, len(attackers))
	for _, a := range attackers {
		list = append(list, a)
	}
	if err := r.db.CreateAttackers(ctx, list); err != nil {
		return fmt.Errorf("create %d attackers: %w", len(list), err)
	}
	for key, a := range attackers {
		r.attackers.put(key, a, foundFor)
	}
	return nil
}

// missing returns the rows to be made, the attackers by the key they are
// looked up with.
func (r *Resolver) missing(events []*Event) (attackers map[string]ttp.Attacker, identities []string) {
	attackers = make(map[string]ttp.Attacker)
	seen := make(map[string]bool)
	known := ""
	for _, e := range events {
		if id := e.IdentityUUID; id != "" && !seen[id] {
			seen[id] = true
			if _, known := r.identities.get(id); !known {
				identities = append(identities, id)
			}
		}
		key := e.key()
		if key == "" || key == known {
			continue
		}
		if a, _ := r.attackers.get(key); a.UUID != "" {
			known = key
			continue
		}
		a, ok := attackers[key]
		if !ok {
			a = ttp.Attacker{UUID: e.AttackerUUID, Address: e.Address, IdentityUUID: e.IdentityUUID, FirstSeen: e.At, LastSeen: e.At}
			if a.UUID == "" {
				a.UUID = ttp.AttackerUUID(e.Address)
			}
		}
		a.FirstSeen, a.LastSeen = widen(a.FirstSeen, a.LastSeen, e.At)
		attackers[key] = a
	}
	return attackers, identities
}

func widen(first, last, at time.Time) (time.Time, time.Time) {
	if !at.IsZero() {
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return first, last
}

// Forget drops what is remembered of the event's attacker and identity, which
// the database has just said are not there.
func (r *Resolver) Forget(e *Event) {
	r.attackers.drop(e.AttackerUUID)
	r.attackers.drop(e.Address)
	r.identities.drop(e.IdentityUUID)
}
