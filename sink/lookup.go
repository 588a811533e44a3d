package sink

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

// AttackersByAddress returns the attackers with these addresses; of several
// rows with one address the one seen last.
func (d *DB) AttackersByAddress(ctx context.Context, addresses []string) (map[string]ttp.Attacker, error) {
	return d.attackers(ctx, "ip", addresses, func(a ttp.Attacker) string { return a.Address })
}

// AttackersByUUID returns the attackers with these uuids.
func (d *DB) AttackersByUUID(ctx context.Context, uuids []string) (map[string]ttp.Attacker, error) {
	return d.attackers(ctx, "uuid", uuids, func(a ttp.Attacker) string { return a.UUID })
}

func (d *DB) attackers(ctx context.Context, by string, keys []string, keyOf func(ttp.Attacker) string) (map[string]ttp.Attacker, error) {
	found := make(map[string]ttp.Attacker, len(keys))
	keys = slices.DeleteFunc(slices.Clone(keys), namesNoRow)
	country, err := d.countryColumn(ctx)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(keys, maxKeys) {
		args := make([]any, len(chunk))
		for i, key := range chunk {
			args[i] = key
		}
		query := "SELECT uuid, ip, COALESCE(identity_id, ''), " + country + " FROM attackers WHERE " + by + " IN (" + marks(len(args)) + ")" +
			" ORDER BY last_seen, uuid"
		err := each(ctx, d.read, query, args, func(scan func(...any) error) error {
			var a ttp.Attacker
			err := scan(&a.UUID, &a.Address, &a.IdentityUUID, &a.Country)
			found[keyOf(a)] = a // the column may fold case; the key is what was asked for
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read attackers: %w", err)
		}
	}
	return found, nil
}

// maxKeys is how many keys of an index that is not unique are looked up at once:
// from 200 on (eq_range_index_dive_limit) the server does not look into the index
// how many rows there are, but takes the statistics' word for it. Those may be of
// the time before a wave, and then it reads the whole table each time.
const maxKeys = 199

// countryColumn is what says where an attacker's address is; our own schema
// does not.
func (d *DB) countryColumn(ctx context.Context) (expression string, err error) {
	cols, err := d.columns(ctx, "attackers")
	if _, ok := cols["country_code"]; !ok {
		return "''", err
	}
	return "COALESCE(country_code, '')", nil
}

// namesNoRow reports whether key can't be that of a row. Keys are ASCII, and
// attackers write addresses, with zones of any text, and ids into headers. To
// ask a column of another character set for one fails the query (1267), and
// with it those of all others in the batch.
func namesNoRow(key string) bool { return !ttp.IsASCII(key) }

// CreateAttackers gives attackers minimal rows; those that have one keep it.
// One that the table does not take, which its address is to blame for, is
// logged and left out: its tags become orphans.
func (d *DB) CreateAttackers(ctx context.Context, attackers []ttp.Attacker) error {
	rows := make([]map[string]any, len(attackers))
	for i, a := range attackers {
		rows[i] = map[string]any{
			"uuid": a.UUID, "ip": a.Address, "identity_id": orNull(a.IdentityUUID),
			"first_seen": d.timeOr(a.FirstSeen), "last_seen": d.timeOr(a.LastSeen), "updated_at": d.timeOr(time.Time{}),
		}
	}
	return d.create(ctx, "attackers", rows)
}

// CreateIdentities gives identities minimal rows; those that have one keep it.
// One that the table does not take is logged and left out.
func (d *DB) CreateIdentities(ctx context.Context, uuids []string) error {
	rows := make([]map[string]any, len(uuids))
	now := d.timeOr(time.Time{})
	for i, uuid := range uuids {
		rows[i] = map[string]any{"uuid": uuid, "created_at": now, "updated_at": now}
	}
	return d.create(ctx, "attacker_identities", rows)
}

func (d *DB) timeOr(t time.Time) string {
	if t.IsZero() {
		t = d.now()
	}
	return timeText(t, 6)
}

// jsonLists are the columns of a DECNET attacker that hold a JSON list as text.
var jsonLists = []string{"services", "deckies", "fingerprints", "commands"}

// create inserts rows in one transaction, filling columns of somebody else's
// table that must not be null. They are inserted in the order of their uuids,
// so that two lanes that create the same ones do not wait for each other.
func (d *DB) create(ctx context.Context, table string, rows []map[string]any) error {
	cols, err := d.columns(ctx, table)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["uuid"].(string), b["uuid"].(string)) })
	tx, err := d.write.BeginTx(ctx, &sql.TxOptions{Isolation: d.dialect.isolation()})
	if err != nil {
		return fmt.Errorf("create rows in %s: %w", table, err)
	}
	if err := d.createIn(ctx, tx, table, cols, rows); err != nil {
		_ = tx.Rollback() // err says why; a connection that is gone rolls back by itself
		return err
	}
	if err := d.dialect.commit(ctx, tx); err != nil {
		return fmt.Errorf("create rows in %s: %w", table, err)
	}
	return nil
}

// createIn inserts the rows together, and one by one those among which there is
// one that the table does not take.
func (d *DB) createIn(ctx context.Context, tx *sql.Tx, table string, cols columns, rows []map[string]any) error {
	for chunk := range slices.Chunk(rows, maxRows) {
		err := d.createRows(ctx, tx, table, cols, chunk)
		if ofRow(err) {
			err = d.createEach(ctx, tx, table, cols, chunk)
		}
		if err != nil {
			return fmt.Errorf("create rows in %s: %w", table, err)
		}
	}
	return nil
}

func (d *DB) createEach(ctx context.Context, tx *sql.Tx, table string, cols columns, rows []map[string]any) error {
	for i := range rows {
		err := d.createRows(ctx, tx, table, cols, rows[i:i+1])
		if ofRow(err) {
			d.log.Warn("row not created: the table does not take it", zap.String("table", table), zap.Int("code", codeOf(err)))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// createRows inserts rows, all of which have values for the same columns.
func (d *DB) createRows(ctx context.Context, tx *sql.Tx, table string, cols columns, rows []map[string]any) error {
	var names []string
	var args []any
	for _, values := range rows {
		var more []any
		names, more = filled(cols, values)
		args = append(args, more...)
	}
	before, behind := d.dialect.insert(table, "uuid", false)
	groups := strings.Repeat("("+marks(len(names))+"), ", len(rows))
	query := before + " (" + strings.Join(names, ", ") + ") VALUES " + strings.TrimSuffix(groups, ", ") + behind
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

// filled returns the values that the table has columns for, and zeroes for
// those that must not be null.
func filled(cols columns, values map[string]any) (names []string, args []any) {
	for _, name := range cols.names() {
		if v, ok := values[name]; ok {
			names, args = append(names, name), append(args, v)
		}
	}
	for _, name := range cols.required() {
		if slices.Contains(names, name) {
			continue
		}
		names, args = append(names, name), append(args, zeroOf(name, cols[name].kind))
	}
	return names, args
}

func zeroOf(name, kind string) any {
	switch {
	case slices.Contains(jsonLists, name):
		return "[]"
	case kind == "json":
		return "{}"
	case strings.Contains(kind, "char") || strings.Contains(kind, "text") || strings.Contains(kind, "blob"):
		return ""
	case strings.HasPrefix(kind, "date") || strings.HasPrefix(kind, "time"):
		return "1970-01-01 00:00:01"
	}
	return 0
}

// object reads the named columns of the one row that has key in column by. It
// is absent if the table or the row is.
func (d *DB) object(ctx context.Context, table, by, key string, names []string, more string) (ttp.Object, bool, error) {
	cols, err := d.columns(ctx, table)
	if err != nil {
		return nil, false, err
	}
	names = cols.only(names)
	if _, ok := cols[by]; !ok || len(names) == 0 || namesNoRow(key) {
		return nil, false, nil
	}
	values := make([]sql.NullString, len(names))
	targets := make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	query := "SELECT " + strings.Join(names, ", ") + " FROM " + table + " WHERE " + by + " = ?" + more + " LIMIT 1" // #nosec G202 -- names are ours
	found := false
	err = each(ctx, d.read, query, []any{key}, func(scan func(...any) error) error {
		found = true
		return scan(targets...)
	})
	if err != nil {
		return nil, false, fmt.Errorf("read a row of %s: %w", table, err)
	}
	var o ttp.Object
	for i, name := range names {
		o = append(o, ttp.Member{Name: name, Value: valueOf(name, values[i])})
	}
	return o, found, nil
}

// valueOf turns a column's text into JSON: JSON columns are JSON, flags are
// truth values, scores are numbers.
func valueOf(name string, text sql.NullString) ttp.Value {
	if !text.Valid {
		return "null"
	}
	quoted := ttp.Quote(text.String)
	if strings.HasSuffix(name, "_listed") {
		return ttp.Bool(text.String != "0")
	}
	if list, ok := quoted.List(); ok {
		return join(list)
	}
	if n, ok := quoted.Int(); ok && (strings.HasSuffix(name, "_score") || strings.HasSuffix(name, "_count")) {
		return ttp.Number(n)
	}
	return quoted
}

func join(list []ttp.Value) ttp.Value {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return ttp.Value("[" + strings.Join(texts, ",") + "]")
}

// Intel returns what is known about an attacker as the payload of the event
// that told it; what has expired is not known any more.
func (d *DB) Intel(ctx context.Context, attackerUUID string) (ttp.Object, bool, error) {
	cols, err := d.columns(ctx, "attacker_intel")
	if err != nil {
		return nil, false, err
	}
	valid := ""
	if _, ok := cols["expires_at"]; ok {
		valid = " AND expires_at > '" + timeText(d.now(), 0) + "'"
	}
	return d.object(ctx, "attacker_intel", "attacker_uuid", attackerUUID, []string{
		"attacker_uuid", "attacker_ip", "aggregate_verdict", "abuseipdb_score", "abuseipdb_categories", "abuseipdb_raw",
		"greynoise_classification", "greynoise_name", "greynoise_tags", "feodo_listed", "feodo_malware_family",
		"threatfox_listed", "threatfox_threat_types", "threatfox_ioc_types", "threatfox_malware_families",
	}, valid)
}

// CanaryTrigger returns the stored row of a canary hit.
func (d *DB) CanaryTrigger(ctx context.Context, uuid string) (ttp.CanaryTrigger, bool, error) {
	o, ok, err := d.object(ctx, "canary_triggers", "uuid", uuid, triggerColumns, "")
	if err != nil || !ok {
		return ttp.CanaryTrigger{}, false, err
	}
	return triggerOf(o), true, nil
}

var triggerColumns = []string{"uuid", "token_uuid", "src_ip", "raw_headers"}

func triggerOf(o ttp.Object) ttp.CanaryTrigger {
	t := ttp.CanaryTrigger{UUID: o.Text("uuid"), TokenUUID: o.Text("token_uuid"), SrcIP: o.Text("src_ip")}
	t.Headers, _ = o.Object("raw_headers")
	return t
}

// CanaryChunks returns the hits of a token that carry parts of the fingerprint
// called sid, of the last few hundred that carry any.
func (d *DB) CanaryChunks(ctx context.Context, tokenUUID, sid string) ([]ttp.CanaryTrigger, error) {
	const most = 512
	cols, err := d.columns(ctx, "canary_triggers")
	if err != nil || len(cols) == 0 || namesNoRow(tokenUUID) {
		return nil, err
	}
	var list []ttp.CanaryTrigger
	query := "SELECT uuid, src_ip, raw_headers FROM canary_triggers WHERE token_uuid = ? AND raw_headers LIKE '%_fp_sid%' ORDER BY occurred_at DESC LIMIT ?"
	err = each(ctx, d.read, query, []any{tokenUUID, most}, func(scan func(...any) error) error {
		t := ttp.CanaryTrigger{TokenUUID: tokenUUID}
		var headers string
		if err := scan(&t.UUID, &t.SrcIP, &headers); err != nil {
			return err
		}
		t.Headers, _ = ttp.Quote(headers).Object()
		if t.Headers.ID("_fp_sid") == sid {
			list = append(list, t)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the parts of a fingerprint: %w", err)
	}
	return list, nil
}

// CanaryToken returns what is known about a token: its kind and where it lay.
func (d *DB) CanaryToken(ctx context.Context, uuid string) (ttp.Object, bool, error) {
	return d.object(ctx, "canary_tokens", "uuid", uuid, []string{"kind", "decky_name", "placement_path", "generator", "instrumenter"}, "")
}

// CredentialReuse returns the row of a finding.
func (d *DB) CredentialReuse(ctx context.Context, id string) (ttp.Object, bool, error) {
	return d.object(ctx, "credential_reuse", "id", id, []string{
		"secret_sha256", "secret_kind", "principal", "target_count", "attempt_count", "attacker_uuids", "attacker_ips", "deckies", "services",
	}, "")
}
