package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// reporter is a publisher that notes what was suppressed.
type reporter struct {
	Publisher
	away bool
	said []string
}

func (r *reporter) Suppressed(_ context.Context, ruleID, technique, reason string, count int) error {
	if r.away {
		return errors.New("the bus is away")
	}
	r.said = append(r.said, fmt.Sprint(ruleID, " ", technique, " ", reason, " ", count))
	return nil
}

func TestSuppressed_isOneReportPerRuleAndReason(t *testing.T) {
	t.Parallel()
	r := &reporter{away: true}
	w := &Worker{Publisher: r}
	w.setDefaults()
	for range 3 {
		w.Suppress("R1", "T1083", "disabled")
		w.Suppress("R1", "T1082", "disabled")
	}
	w.Suppress("R1", "T1083", "clipped")
	w.Suppress("R2", "T1105", "disabled")
	w.flushSuppressed(t.Context()) // nothing gets through, nothing is forgotten
	r.away = false
	w.Suppress("R1", "T1083", "disabled")
	w.flushSuppressed(t.Context())
	w.flushSuppressed(t.Context())
	slices.Sort(r.said)
	if want := []string{"R1 T1083 clipped 1", "R1 T1083 disabled 7", "R2 T1105 disabled 1"}; !slices.Equal(r.said, want) {
		t.Errorf("reported %q, want %q", r.said, want)
	}
}
