package sink

import "time"

// SetNow sets the clock of d.
func SetNow(d *DB, now time.Time) { d.now = func() time.Time { return now } }
