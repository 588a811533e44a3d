package sink

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"ttp-worker/ttp"
)

// arm is one way to the tags of a scope, along one index of ttp_tag.
type arm struct {
	from    string // with the table of the tags as t
	on      string // the condition
	args    []any
	who     string // more columns: the identity, and the one a tag found by its attacker is anchored on
	through bool   // the tags are found by their attackers
}

// actors are the identities of a scope, each with the one that it was merged
// into, which is itself for those that were not.
type actors map[string]string

// arms returns how to come by the tags of scope. No tag is found twice but
// those that [arm.scan] leaves out.
func (d *DB) arms(ctx context.Context, scope ttp.Scope) ([]arm, actors, error) {
	one := func(column string) []arm {
		return []arm{{from: "ttp_tag t", on: column + " = ?", args: []any{scope.ID}}}
	}
	switch scope.By {
	case "":
		// The condition holds for every row; without it the whole table is read
		// where an index has all that is asked for.
		return []arm{{from: "ttp_tag t", on: "t.created_at >= ?", args: []any{"1970-01-01 00:00:00"}}}, nil, nil
	case ttp.ByAttacker:
		return one("t.attacker_uuid"), nil, nil
	case ttp.BySession:
		return one("t.session_id"), nil, nil
	case ttp.ByIdentity, ttp.ByCampaign:
		actors, err := d.actors(ctx, scope)
		return d.identityArms(actors), actors, err
	}
	return nil, nil, fmt.Errorf("there is no scope %q", scope.By)
}

// identityArms leads to the tags anchored on the identities and to those of
// their attackers.
func (d *DB) identityArms(actors actors) (arms []arm) {
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(actors)), maxRows) {
		args := make([]any, len(chunk))
		for i, uuid := range chunk {
			args[i] = uuid
		}
		in := " IN (" + marks(len(args)) + ")"
		arms = append(
			arms,
			arm{from: "ttp_tag t", on: "t.identity_uuid" + in, args: args, who: ", t.identity_uuid"},
			arm{
				from: "attackers a " + d.dialect.join() + " ttp_tag t ON t.attacker_uuid = a.uuid",
				on:   "a.identity_id" + in, args: args, who: ", a.identity_id, t.identity_uuid", through: true,
			},
		)
	}
	return arms
}

// scan reads a row whose last columns are those of who. It returns the identity
// behind it and whether the row counts: what another arm finds, too, does not.
func (a *arm) scan(scan func(...any) error, targets []any, known actors) (actor string, counts bool, err error) {
	var identity, anchor sql.NullString
	switch {
	case a.through:
		targets = append(targets, &identity, &anchor)
	case a.who != "":
		targets = append(targets, &identity)
	}
	if err := scan(targets...); err != nil {
		return "", false, err
	}
	_, found := known[anchor.String]
	return known[identity.String], !anchor.Valid || !found, nil
}

// rounding is more than a confidence is off in a column of single precision.
const rounding = 1e-6

// where returns the condition of the arm and of f.
func (a *arm) where(f ttp.Filter) (string, []any) {
	where, args := " WHERE "+a.on, slices.Clone(a.args)
	and := func(condition string, arg any) { where, args = where+" AND "+condition, append(args, arg) }
	if f.MinConfidence > 0 {
		and("t.confidence >= ?", f.MinConfidence-rounding)
	}
	if !f.Since.IsZero() {
		and("t.created_at >= ?", timeText(f.Since, 6))
	}
	if !f.Until.IsZero() {
		and("t.created_at < ?", timeText(f.Until, 6))
	}
	if f.Tactic != "" {
		and("t.tactic = ?", f.Tactic)
	}
	if f.Decky != "" {
		and("t.decky_id = ?", f.Decky)
	}
	return where, args
}

// actors returns the identities of an identity or a campaign, with all that
// were merged into them.
func (d *DB) actors(ctx context.Context, scope ttp.Scope) (actors, error) {
	if scope.By == ttp.ByIdentity {
		return d.merged(ctx, "attacker_identities", []string{scope.ID})
	}
	campaigns, err := d.merged(ctx, "campaigns", []string{scope.ID})
	if err != nil {
		return nil, err
	}
	members, err := d.pairs(ctx, "SELECT uuid, uuid FROM attacker_identities WHERE campaign_id", slices.Collect(maps.Keys(campaigns)))
	if err != nil {
		return nil, err
	}
	return d.merged(ctx, "attacker_identities", slices.Collect(maps.Keys(members)))
}

// maxMerges is how many merges in a row are followed.
const maxMerges = 32

// merged returns, of a table whose rows may be merged into others of it, the
// rows that uuids were merged into and all that were merged into those, each
// with the row at the end. A row that is unknown stands for itself.
func (d *DB) merged(ctx context.Context, table string, uuids []string) (actors, error) {
	found := actors{}
	ends, err := d.ends(ctx, table, uuids)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		found[end] = end
	}
	for level := slices.Collect(maps.Keys(found)); len(level) > 0; {
		into, err := d.pairs(ctx, "SELECT uuid, merged_into_uuid FROM "+table+" WHERE merged_into_uuid", level)
		if err != nil {
			return nil, err
		}
		level = level[:0]
		for uuid, winner := range into {
			if _, known := found[uuid]; !known {
				found[uuid] = found[winner]
				level = append(level, uuid)
			}
		}
	}
	return found, nil
}

// ends follows the merges of uuids.
func (d *DB) ends(ctx context.Context, table string, uuids []string) ([]string, error) {
	var ends []string
	for range maxMerges {
		if len(uuids) == 0 {
			return ends, nil
		}
		into, err := d.pairs(ctx, "SELECT uuid, COALESCE(merged_into_uuid, '') FROM "+table+" WHERE uuid", uuids)
		if err != nil {
			return nil, err
		}
		uuids = uuids[:0:0]
		for uuid, winner := range into {
			if winner == "" {
				ends = append(ends, uuid)
			} else {
				uuids = append(uuids, winner)
			}
		}
	}
	return append(ends, uuids...), nil // merged in a circle, or past all reason
}

// pairs returns the two columns of a query that ends in front of the IN.
func (d *DB) pairs(ctx context.Context, query string, in []string) (map[string]string, error) {
	pairs := map[string]string{}
	for chunk := range slices.Chunk(in, maxRows) {
		args := make([]any, len(chunk))
		for i, key := range chunk {
			args[i] = key
		}
		err := each(ctx, d.read, query+" IN ("+marks(len(args))+")", args, func(scan func(...any) error) error {
			var key, value string
			if err := scan(&key, &value); err != nil {
				return err
			}
			pairs[key] = value
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return pairs, nil
}
