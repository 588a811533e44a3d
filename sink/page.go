package sink

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ttp-worker/ttp"
)

// position is where a tag stands among the tags of a scope.
type position struct {
	at  string // created_at
	key string // its id, or its uuid in a table of DECNET's
}

// Tags returns up to limit tags of scope that pass f and name technique, the
// latest first. A technique stands for its sub-techniques, too; "" means any.
// after is empty, or the Next of the page before; if it is neither, the error
// is [ttp.ErrPage].
func (d *DB) Tags(ctx context.Context, scope ttp.Scope, technique string, f ttp.Filter, after string, limit int) (ttp.Page, error) {
	p, err := d.tags(ctx, scope, technique, f, after, limit)
	if err != nil {
		return ttp.Page{}, fmt.Errorf("read tags: %w", err)
	}
	return p, nil
}

func (d *DB) tags(ctx context.Context, scope ttp.Scope, technique string, f ttp.Filter, after string, limit int) (ttp.Page, error) {
	key, err := d.keyColumn(ctx)
	if err != nil {
		return ttp.Page{}, err
	}
	from, err := parsePosition(after, key)
	if err != nil {
		return ttp.Page{}, err
	}
	arms, _, err := d.arms(ctx, scope)
	if err != nil {
		return ttp.Page{}, err
	}
	var found []position
	for _, a := range arms {
		a.narrow(technique, key, from)
		some, err := d.positions(ctx, a, f, key, limit+1)
		if err != nil {
			return ttp.Page{}, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(a, b position) int { return b.compare(a, key) })
	found = slices.Compact(found)
	var page ttp.Page
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].String()
	}
	page.Tags, err = d.tagsAt(ctx, key, found)
	return page, err
}

// keyColumn names what tells apart tags of the same time in an order that the
// indexes have: what clusters the rows.
func (d *DB) keyColumn(ctx context.Context) (string, error) {
	cols, err := d.columns(ctx, "ttp_tag")
	if _, ours := cols["id"]; ours {
		return "id", err
	}
	return "uuid", err
}

// narrow restricts the arm to a technique and to what stands behind from.
func (a *arm) narrow(technique, key string, from position) {
	and := func(condition string, args ...any) {
		a.on, a.args = a.on+" AND "+condition, append(slices.Clip(a.args), args...)
	}
	if technique != "" {
		parent, _, isSub := strings.Cut(technique, ".")
		and("technique_id = ?", parent)
		if isSub {
			and("sub_technique_id = ?", technique)
		}
	}
	if from.at != "" {
		and("created_at <= ? AND (created_at < ? OR "+key+" < ?)", from.at, from.at, from.arg(key))
	}
}

// positions returns the latest positions of an arm. But for the whole fleet's
// they are sorted by the text of the time, which no index has: a planner would
// look for an identity's tags in the order of all tags, through millions if
// they are old.
func (d *DB) positions(ctx context.Context, a arm, f ttp.Filter, key string, limit int) (found []position, err error) {
	where, args := a.where(f)
	order := "created_at"
	if !a.whole {
		order = "CAST(created_at AS CHAR)"
	}
	query := "SELECT CAST(created_at AS CHAR), CAST(" + key + " AS CHAR) FROM ttp_tag" + where +
		" ORDER BY " + order + " DESC, " + key + " DESC LIMIT ?"
	err = each(ctx, d.read, query, append(args, limit), func(scan func(...any) error) error {
		var p position
		if err := scan(&p.at, &p.key); err != nil {
			return err
		}
		found = append(found, p)
		return nil
	})
	return found, err
}

// tagsAt reads the tags at positions, in their order. One that was deleted
// meanwhile is left out.
func (d *DB) tagsAt(ctx context.Context, key string, at []position) ([]ttp.StoredTag, error) {
	byKey := make(map[string]ttp.StoredTag, len(at))
	for chunk := range slices.Chunk(at, maxRows) {
		args := make([]any, len(chunk))
		for i, p := range chunk {
			args[i] = p.arg(key)
		}
		query := "SELECT CAST(" + key + " AS CHAR), " + storedColumns + " FROM ttp_tag WHERE " + key + " IN (" + marks(len(args)) + ")"
		err := each(ctx, d.read, query, args, func(scan func(...any) error) error {
			var k string
			tag, err := scanTag(scan, &k)
			byKey[k] = tag
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	tags := make([]ttp.StoredTag, 0, len(at))
	for _, p := range at {
		if tag, ok := byKey[p.key]; ok {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// storedColumns are read by scanTag.
const storedColumns = "uuid, source_kind, source_id, COALESCE(attacker_uuid, ''), COALESCE(identity_uuid, ''), COALESCE(session_id, ''), " +
	"COALESCE(decky_id, ''), tactic, technique_id, COALESCE(sub_technique_id, ''), confidence, rule_id, rule_version, evidence, " +
	"attack_release, COALESCE(mitre_url, ''), CAST(created_at AS CHAR)"

func scanTag(scan func(...any) error, key *string) (t ttp.StoredTag, err error) {
	t.Claim = new(ttp.Claim)
	var kind, evidence, at string
	err = scan(key, &t.UUID, &kind, &t.SourceID, &t.AttackerUUID, &t.IdentityUUID, &t.SessionID, &t.DeckyID,
		&t.Tactic, &t.Technique, &t.SubTechnique, &t.Confidence, &t.RuleID, &t.RuleVersion, &evidence,
		&t.AttackRelease, &t.MitreURL, &at)
	if err != nil {
		return t, err
	}
	t.SourceKind, t.Confidence = ttp.Kind(kind), exact(t.Confidence)
	t.CreatedAt, _ = parseTime(at)
	if err := json.Unmarshal([]byte(evidence), &t.Evidence); err != nil {
		t.Evidence = nil // written by another program; the tag is still one
	}
	return t, nil
}

func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.at + "|" + p.key))
}

func parsePosition(text, key string) (position, error) {
	if text == "" {
		return position{}, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return position{}, ttp.ErrPage
	}
	var p position
	p.at, p.key, _ = strings.Cut(string(data), "|")
	_, isTime := parseTime(p.at)
	_, err = strconv.ParseInt(p.key, 10, 64)
	if !isTime || p.key == "" || key == "id" && err != nil {
		return position{}, ttp.ErrPage
	}
	return p, nil
}

// arg is the key as the column's type has it.
func (p position) arg(key string) any {
	if key == "id" {
		id, _ := strconv.ParseInt(p.key, 10, 64) // it came from the column, or was checked
		return id
	}
	return p.key
}

// compare orders positions as the database does.
func (p position) compare(q position, key string) int {
	byKey := cmp.Compare(p.key, q.key)
	if key == "id" {
		byKey = cmp.Compare(p.arg(key).(int64), q.arg(key).(int64))
	}
	return cmp.Or(cmp.Compare(p.at, q.at), byKey)
}
