package sink

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"ttp-worker/ttp"
)

const stateColumns = "rule_id, state, confidence_max, CAST(expires_at AS CHAR), COALESCE(reason, ''), COALESCE(set_by, ''), CAST(set_at AS CHAR)"

// RuleStates returns what operators have decided about rules, by rule id, what
// has expired included.
func (d *DB) RuleStates(ctx context.Context) ([]ttp.RuleState, error) {
	var list []ttp.RuleState
	err := each(ctx, d.read, "SELECT "+stateColumns+" FROM ttp_rule_state ORDER BY rule_id", nil, func(scan func(...any) error) error {
		s, err := scanState(scan)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the states of rules: %w", err)
	}
	return list, nil
}

func scanState(scan func(...any) error) (ttp.RuleState, error) {
	var s ttp.RuleState
	var limit sql.NullFloat64
	var until sql.NullString
	var setAt string
	err := scan(&s.RuleID, &s.State, &limit, &until, &s.Reason, &s.SetBy, &setAt)
	if limit.Valid {
		s.MaxConfidence = &limit.Float64
	}
	s.Until, _ = parseTime(until.String)
	s.SetAt, _ = parseTime(setAt)
	return s, err
}

// SetRuleState stores s in place of what was decided before, and returns it as
// it was stored: SetAt is now, or a second after the last change of the same
// rule if that is later, so that every change is told apart; a fraction of a
// second in Until is rounded up.
func (d *DB) SetRuleState(ctx context.Context, s ttp.RuleState) (ttp.RuleState, error) {
	if err := s.Check(); err != nil {
		return s, ttp.Permanent(fmt.Errorf("set the state of a rule: %w", err))
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return s, fmt.Errorf("set the state of rule %s: %w", s.RuleID, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err = d.replaceState(ctx, tx, &s); err == nil {
		err = d.dialect.commit(ctx, tx)
	}
	if err != nil {
		return s, fmt.Errorf("set the state of rule %s: %w", s.RuleID, err)
	}
	return s, nil
}

func (d *DB) replaceState(ctx context.Context, tx *sql.Tx, s *ttp.RuleState) error {
	var last sql.NullString
	if err := tx.QueryRowContext(ctx, "SELECT CAST(MAX(set_at) AS CHAR) FROM ttp_rule_state WHERE rule_id = ?", s.RuleID).Scan(&last); err != nil {
		return err
	}
	s.SetAt = d.now().UTC().Truncate(time.Second)
	if before, ok := parseTime(last.String); ok && !s.SetAt.After(before) {
		s.SetAt = before.Truncate(time.Second).Add(time.Second)
	}
	var until any
	if !s.Until.IsZero() {
		s.Until = s.Until.UTC().Add(time.Second - 1).Truncate(time.Second)
		until = timeText(s.Until, 0)
	}
	var limit any
	if s.MaxConfidence != nil {
		limit = *s.MaxConfidence
	}
	_, err := tx.ExecContext(ctx, // SQLite and MySQL both know REPLACE, and nothing refers to these rows
		"REPLACE INTO ttp_rule_state (rule_id, state, confidence_max, expires_at, reason, set_by, set_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		s.RuleID, s.State, limit, until, orNull(s.Reason), orNull(s.SetBy), timeText(s.SetAt, 0))
	return err
}

// DropExpiredRuleState removes the state of a rule if it has expired. A state
// that was set meanwhile stays.
func (d *DB) DropExpiredRuleState(ctx context.Context, ruleID string) error {
	_, err := d.write.ExecContext(ctx, "DELETE FROM ttp_rule_state WHERE rule_id = ? AND expires_at <= ?", ruleID, timeText(d.now(), 0))
	if err != nil {
		return fmt.Errorf("remove the expired state of rule %s: %w", ruleID, err)
	}
	return nil
}
