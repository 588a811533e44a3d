package sink

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ttp-worker/ttp"
)

// historyTable is a table that is read in the order of its key.
type historyTable struct {
	key     string
	numeric bool
	columns []string // names, or names and what they are made of
	needs   []string // columns that must be there
	where   string   // which rows are of interest
	span    int64    // of a numeric key: how many keys one page covers at most
}

var historyTables = map[string]historyTable{
	"attackers": {
		key:     "uuid",
		columns: []string{"uuid", "ip", "identity_id", "CAST(last_seen AS CHAR) AS last_seen", "OCTET_LENGTH(commands) AS size"},
		needs:   []string{"commands", "last_seen", "ip", "identity_id"},
		where:   "commands <> '[]' AND commands <> ''",
	},
	"canary_triggers": {
		key: "uuid",
		columns: []string{
			"uuid", "token_uuid", "CAST(occurred_at AS CHAR) AS occurred_at", "src_ip", "user_agent", "request_path", "dns_qname", "attacker_id",
			"(SELECT decky_name FROM canary_tokens WHERE canary_tokens.uuid = canary_triggers.token_uuid) AS decky_name",
		},
		needs: []string{"token_uuid", "occurred_at", "src_ip"},
	},
	"logs": {
		key: "id", numeric: true, span: 20_000,
		columns: []string{"id", "CAST(timestamp AS CHAR) AS timestamp", "decky", "service", "event_type", "attacker_ip", "raw_line", "fields"},
		needs:   []string{"timestamp", "decky", "event_type", "attacker_ip", "fields", "raw_line"},
		where: "event_type IN ('command', 'exec', 'query', 'input', 'shell_input', 'execute', 'run', 'sql_query', 'redis_command') " +
			"OR event_type = 'request' AND service IN ('http', 'https')",
	},
	"credentials": {
		key: "id", numeric: true,
		columns: []string{
			"id", "attacker_ip", "attacker_uuid", "decky_name", "service", "principal", "principal_key", "secret_printable", "outcome", "attempt_count",
			"CAST(first_seen AS CHAR) AS first_seen", "CAST(last_seen AS CHAR) AS last_seen",
		},
		needs: []string{"principal_key", "secret_sha256", "attempt_count", "first_seen", "last_seen"},
	},
}

// HistoryEnd returns the greatest key of a table that history is kept in:
// attackers, canary_triggers, logs or credentials. It is "" if the table is
// empty. [ttp.ErrNoHistory] says that there is no such table.
func (d *DB) HistoryEnd(ctx context.Context, table string) (string, error) {
	t := historyTables[table]
	cols, err := d.columns(ctx, table)
	if err != nil {
		return "", err
	}
	if missing := len(cols.only(t.needs)) < len(t.needs); missing {
		return "", fmt.Errorf("read %s: %w", table, ttp.ErrNoHistory)
	}
	var last sql.NullString
	query := "SELECT CAST(MAX(" + t.key + ") AS CHAR) FROM " + table // #nosec G202 -- names are ours
	if err := d.read.QueryRowContext(ctx, query).Scan(&last); err != nil {
		return "", fmt.Errorf("read the end of %s: %w", table, err)
	}
	return last.String, nil
}

// HistoryPage returns rows of a table whose key is greater than after and not
// greater than end, at most limit of them in the order of the key, and the key
// that the page behind it begins after. That is end when there are no more.
// Values are strings, or null.
func (d *DB) HistoryPage(ctx context.Context, table, after, end string, limit int) (rows []ttp.Object, last string, err error) {
	t := historyTables[table]
	from, to, err := t.bounds(after, end)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", table, err)
	}
	query := "SELECT " + strings.Join(t.columns, ", ") + " FROM " + table + " WHERE " + t.key + " > ? AND " + t.key + " <= ?" // #nosec G202 -- names are ours
	if t.where != "" {
		query += " AND (" + t.where + ")"
	}
	query += " ORDER BY " + t.key + " LIMIT ?"
	rows, err = d.objects(ctx, t.names(), query, from, to, limit)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", table, err)
	}
	if len(rows) < limit {
		return rows, fmt.Sprint(to), nil
	}
	return rows, rows[len(rows)-1].Text(t.key), nil
}

// bounds returns the keys as the column has them, the last one as far as one
// page goes.
func (t historyTable) bounds(after, end string) (from, to any, err error) {
	if !t.numeric {
		return after, end, nil
	}
	first, err := strconv.ParseInt(orZero(after), 10, 64)
	if err != nil {
		return nil, nil, err
	}
	last, err := strconv.ParseInt(orZero(end), 10, 64)
	if t.span > 0 {
		last = min(last, first+t.span)
	}
	return first, last, err
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// names are those of the columns.
func (t historyTable) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c[max(strings.LastIndexByte(c, ' ')+1, 0):]
	}
	return names
}

// objects returns the rows of a query as objects.
func (d *DB) objects(ctx context.Context, names []string, query string, args ...any) (list []ttp.Object, err error) {
	values := make([]sql.NullString, len(names))
	targets := make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	err = each(ctx, d.read, query, args, func(scan func(...any) error) error {
		if err := scan(targets...); err != nil {
			return err
		}
		o := make(ttp.Object, 0, len(names))
		for i, v := range values {
			value := ttp.Value("null")
			if v.Valid {
				value = ttp.Quote(v.String)
			}
			o = append(o, ttp.Member{Name: names[i], Value: value})
		}
		list = append(list, o)
		return nil
	})
	return list, err
}

// HistoryCommands returns the stored commands of attackers, JSON as a rule, by
// their uuid.
func (d *DB) HistoryCommands(ctx context.Context, uuids []string) (map[string]string, error) {
	found := make(map[string]string, len(uuids))
	args := make([]any, len(uuids))
	for i, uuid := range uuids {
		args[i] = uuid
	}
	query := "SELECT uuid, commands FROM attackers WHERE uuid IN (" + marks(len(args)) + ")" // #nosec G202 -- question marks
	err := each(ctx, d.read, query, args, func(scan func(...any) error) error {
		var uuid, commands string
		err := scan(&uuid, &commands)
		found[uuid] = commands
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read stored commands: %w", err)
	}
	return found, nil
}

// HistoryLogins counts the logins that are stored of these addresses, for
// these principals' keys. The result is by address, decoy and service.
func (d *DB) HistoryLogins(ctx context.Context, addresses, principals []string) (map[[3]string]ttp.LoginCounts, error) {
	counts := make(map[[3]string]ttp.LoginCounts)
	for chunk := range slices.Chunk(addresses, maxKeys) {
		if err := d.countLogins(ctx, counts, chunk, principals); err != nil {
			return nil, fmt.Errorf("count stored logins: %w", err)
		}
	}
	return counts, nil
}

func (d *DB) countLogins(ctx context.Context, counts map[[3]string]ttp.LoginCounts, addresses, principals []string) error {
	from, in := oneOf(addresses)
	query := "SELECT attacker_ip, decky_name, service, SUM(CASE WHEN outcome IN ('success', 'accepted', 'granted', 'ok') THEN 0 ELSE attempt_count END) " +
		"FROM credentials WHERE attacker_ip" + from + " GROUP BY attacker_ip, decky_name, service" // #nosec G202 -- question marks
	err := each(ctx, d.read, query, in, func(scan func(...any) error) error {
		var key [3]string
		c := ttp.LoginCounts{Passwords: make(map[string]int64)}
		err := scan(&key[0], &key[1], &key[2], &c.Failed)
		counts[key] = c
		return err
	})
	if err != nil || len(principals) == 0 {
		return err
	}
	as, more := oneOf(principals)
	query = "SELECT attacker_ip, decky_name, service, principal_key, COUNT(DISTINCT secret_sha256) FROM credentials WHERE attacker_ip" + from +
		" AND principal_key" + as + " GROUP BY attacker_ip, decky_name, service, principal_key" // #nosec G202 -- question marks
	return each(ctx, d.read, query, append(in, more...), func(scan func(...any) error) error {
		var key [3]string
		var principal string
		var n int64
		err := scan(&key[0], &key[1], &key[2], &principal, &n)
		if c, ok := counts[key]; ok {
			c.Passwords[principal] = n
		}
		return err
	})
}
