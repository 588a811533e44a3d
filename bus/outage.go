package bus

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// reminder is how often an outage that lasts is logged.
const reminder = 10 * time.Second

// outage logs the failures of one thing: the first at once, then one line per
// [reminder] with the count, and a line when it works again. What fails and
// recovers all the time is logged no more often than that.
type outage struct {
	log        *zap.Logger
	down, back string // the messages

	mu     sync.Mutex // guards what follows
	since  time.Time  // of the first failure; zero while it works
	logged time.Time  // when the last line about a failure was written
	told   bool       // this outage has such a line
	count  int        // failures since then
	last   error      // nil while it works
	lastAt time.Time
}

func newOutage(log *zap.Logger, down, back string) *outage {
	return &outage{log: log, down: down, back: back}
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
	}
	o.count, o.last, o.lastAt = o.count+1, err, now
	if now.Sub(o.logged) < reminder {
		return
	}
	fields := []zap.Field{zap.Error(err), zap.Int("failures", o.count)}
	if hint := Explain(err); hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	o.log.Warn(o.down, fields...)
	o.logged, o.told, o.count = now, true, 0
}

func (o *outage) recovered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		o.log.Info(o.back, zap.Duration("after", time.Since(o.since)))
	}
	o.since, o.told, o.count, o.last = time.Time{}, false, 0, nil
}

// cause returns for how long it has not worked and why, nil while it does.
func (o *outage) cause() (lasting time.Duration, last error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		return 0, nil
	}
	return time.Since(o.since), o.last
}

// lately returns the last failure if it was no longer ago than that.
func (o *outage) lately(ago time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.lastAt) > ago {
		return nil
	}
	return o.last
}
