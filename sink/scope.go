package sink

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"ttp-worker/ttp"
)

// arm is one way to the tags of a scope, along one index of ttp_tag.
type arm struct {
	on    string // the condition
	args  []any
	whole bool // it leads to all tags

	// Whose the tags are: one's, or different ones' as a column tells. Both are
	// empty where nobody asks.
	whose, who string

	// lead is a column of the index before those that are grouped by, "" if there
	// is none: with it the groups come in the index's order.
	lead string
}

// armTo leads to the rows where column has one of values. A single one is left
// out of the grouping, which makes it faster by a fifth.
func armTo(column string, values []string) arm {
	in, args := oneOf(values)
	a := arm{on: column + in, args: args, who: column}
	if len(values) == 1 {
		a.whose, a.who = values[0], ""
	}
	return a
}

// actors are the identities and the attackers of a scope, each with the
// identity it comes to in the end.
type actors map[string]string

// fleetArm leads to all tags.
var fleetArm = arm{on: "1 = 1", whole: true}

// arms returns how to come by the tags of scope. No tag is found twice.
func (d *DB) arms(ctx context.Context, scope ttp.Scope) ([]arm, actors, error) {
	switch scope.By {
	case "":
		return []arm{fleetArm}, nil, nil
	case ttp.ByAttacker:
		return []arm{{on: "attacker_uuid = ?", args: []any{scope.ID}, lead: "identity_uuid"}}, nil, nil
	case ttp.BySession:
		return []arm{{on: "session_id = ?", args: []any{scope.ID}}}, nil, nil
	case ttp.ByIdentity, ttp.ByCampaign:
		return d.identityArms(ctx, scope)
	}
	return nil, nil, fmt.Errorf("there is no scope %q", scope.By)
}

// identityArms leads to the tags anchored on the identities of scope and to
// those of their attackers that are anchored on none of them.
func (d *DB) identityArms(ctx context.Context, scope ttp.Scope) (arms []arm, who actors, err error) {
	identities, err := d.identities(ctx, scope)
	if err != nil {
		return nil, nil, err
	}
	who = maps.Clone(identities)
	for chunk := range chunked(identities) {
		arms = append(arms, armTo("identity_uuid", chunk))
	}
	attackers, err := d.pairs(ctx, "SELECT uuid, identity_id FROM attackers WHERE identity_id", slices.Collect(maps.Keys(identities)))
	if err != nil {
		return nil, nil, err
	}
	for attacker, identity := range attackers {
		who[attacker] = identities[identity]
	}
	more, err := d.attackerArms(ctx, attackers, identities)
	return append(arms, more...), who, err
}

// attackerArms leads to the tags of attackers that are anchored on none of
// identities. There are mostly none, or all are anchored on no identity.
func (d *DB) attackerArms(ctx context.Context, attackers, identities map[string]string) (arms []arm, err error) {
	for chunk := range chunked(attackers) {
		in, args := oneOf(chunk)
		anchored := map[string][]string{} // identity to attackers
		// Columns alone: MySQL then leaps from one pair to the next.
		query := "SELECT DISTINCT attacker_uuid, identity_uuid FROM ttp_tag WHERE attacker_uuid" + in
		err := each(ctx, d.read, query, args, func(scan func(...any) error) error {
			var attacker string
			var identity sql.NullString
			if err := scan(&attacker, &identity); err != nil {
				return err
			}
			if _, known := identities[identity.String]; !known {
				anchored[identity.String] = append(anchored[identity.String], attacker)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for identity, of := range anchored {
			arms = append(arms, armOf(of, identity))
		}
	}
	return arms, nil
}

// armOf leads to the tags of attackers that are anchored on identity, "" for none.
func armOf(attackers []string, identity string) arm {
	a := armTo("attacker_uuid", attackers)
	if identity == "" {
		a.on += " AND identity_uuid IS NULL"
		return a
	}
	a.on, a.args = a.on+" AND identity_uuid = ?", append(a.args, identity)
	return a
}

// chunked returns the keys of m in an order that stays the same, a statement's worth at a time.
func chunked(m map[string]string) iter.Seq[[]string] {
	return slices.Chunk(slices.Sorted(maps.Keys(m)), maxKeys)
}

// oneOf returns the condition that a column has one of values. SQLite knows
// the order of the rows only where there is no list.
func oneOf(values []string) (condition string, args []any) {
	for _, v := range values {
		args = append(args, v)
	}
	if len(values) == 1 {
		return " = ?", args
	}
	return " IN (" + marks(len(values)) + ")", args
}

// actor is the expression that tells whose a tag is, a text.
func (a *arm) actor() string { return cmp.Or(a.who, "''") }

// by returns columns with those in front that the index has there.
func (a *arm) by(columns string) string {
	for _, column := range []string{a.who, a.lead} {
		if column != "" {
			columns = column + ", " + columns
		}
	}
	return columns
}

// rounding is more than a confidence is off in a column of single precision.
const rounding = 1e-6

// where returns the condition of the arm and of f.
func (a *arm) where(f ttp.Filter) (string, []any) {
	if a.whole && f.Since.IsZero() {
		// Without a time the whole table is read where an index has all that is
		// asked for. There must not be two: SQLite goes by the first.
		f.Since = time.Unix(0, 0)
	}
	where, args := " WHERE "+a.on, slices.Clone(a.args)
	and := func(condition string, arg any) { where, args = where+" AND "+condition, append(args, arg) }
	if f.MinConfidence > 0 {
		and("confidence >= ?", f.MinConfidence-rounding)
	}
	if !f.Since.IsZero() {
		and("created_at >= ?", timeText(f.Since, 6))
	}
	if !f.Until.IsZero() {
		and("created_at < ?", timeText(f.Until, 6))
	}
	if f.Tactic != "" {
		and("tactic = ?", f.Tactic)
	}
	if f.Decky != "" {
		and("decky_id = ?", f.Decky)
	}
	return where, args
}

// identities returns the identities of an identity or a campaign, with all that
// were merged into them.
func (d *DB) identities(ctx context.Context, scope ttp.Scope) (actors, error) {
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

// pairs returns the two columns of a query that ends in a column, for the rows
// where that is one of in.
func (d *DB) pairs(ctx context.Context, query string, in []string) (map[string]string, error) {
	pairs := map[string]string{}
	for chunk := range slices.Chunk(in, maxKeys) {
		condition, args := oneOf(chunk)
		err := each(ctx, d.read, query+condition, args, func(scan func(...any) error) error {
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
