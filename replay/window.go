package replay

import "time"

// Window is the time that a replay is about. A zero end is open. What does not
// say when it happened is in it.
type Window struct {
	Since, Until time.Time // Since belongs to it, Until does not
}

// Has reports whether what happened at that time is in the window.
func (w Window) Has(at time.Time) bool {
	switch {
	case at.IsZero():
		return true
	case !w.Since.IsZero() && at.Before(w.Since):
		return false
	}
	return w.Until.IsZero() || at.Before(w.Until)
}

// columnSlack is how far the times in a DECNET database may be from UTC: they
// are the wall clock of wherever a line was logged, rounded to seconds.
const columnSlack = 26 * time.Hour

// May reports whether what is in a row with this time can be in the window.
func (w Window) May(column time.Time) bool {
	return column.IsZero() || w.Since.IsZero() || !column.Before(w.Since.Add(-columnSlack))
}
