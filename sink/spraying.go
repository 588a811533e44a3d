package sink

import (
	"context"
	"fmt"

	"ttp-worker/ttp"
)

// Spraying returns the password that the attackers of an identity, and of those
// merged into it, tried with the most accounts, as the hash in the credentials
// that the platform collects. It is absent if none is known or there is no such
// table.
func (d *DB) Spraying(ctx context.Context, identityUUID string) (ttp.Spraying, bool, error) {
	if namesNoRow(identityUUID) {
		return ttp.Spraying{}, false, nil
	}
	for table, names := range map[string][]string{
		"credentials":         {"attacker_uuid", "secret_sha256", "secret_kind", "principal_key"},
		"attackers":           {"identity_id"},
		"attacker_identities": {"merged_into_uuid"},
	} {
		cols, err := d.columns(ctx, table)
		if err != nil {
			return ttp.Spraying{}, false, err
		}
		if len(cols.only(names)) < len(names) {
			return ttp.Spraying{}, false, nil
		}
	}
	var s ttp.Spraying
	found := false
	err := each(ctx, d.read, sprayingQuery, []any{identityUUID, identityUUID}, func(scan func(...any) error) error {
		found = true
		return scan(&s.SecretHash, &s.Accounts)
	})
	if err != nil {
		return ttp.Spraying{}, false, fmt.Errorf("read the credentials of an identity: %w", err)
	}
	return s, found, nil
}

const sprayingQuery = `SELECT c.secret_sha256, COUNT(DISTINCT c.principal_key) AS accounts
FROM credentials c JOIN attackers a ON a.uuid = c.attacker_uuid
WHERE c.secret_sha256 <> '' AND c.principal_key <> '' AND (a.identity_id = ?
	OR a.identity_id IN (SELECT uuid FROM attacker_identities WHERE merged_into_uuid = ?))
GROUP BY c.secret_sha256, c.secret_kind
ORDER BY accounts DESC, c.secret_sha256
LIMIT 1`
