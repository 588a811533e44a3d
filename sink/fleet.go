package sink

import (
	"context"
	"database/sql"
	"time"

	"ttp-worker/ttp"
)

const (
	// fleetSettled is how long after its end a day is taken to gain no tags any
	// more: longer than a batch takes to be stored and than clocks differ.
	fleetSettled = time.Hour

	// fleetMany is how many tags a day has at least that is remembered. The tags
	// of other days are read whenever they are asked for: two million in ten
	// years at the most.
	fleetMany = 5_000

	// fleetTrusted is how long the count of a day is taken to be right. Tags may
	// have been deleted since, or others written with a time of that day.
	fleetTrusted = time.Hour

	// fleetYears bounds how far back days are looked at one by one.
	fleetYears = 10

	// maxFleetGroups bounds the memory: 20 MiB. Days beyond it are counted
	// whenever they are asked for.
	maxFleetGroups = 400_000
)

// fleet remembers what the tags of days gone by with many tags come to, so that
// a question about the whole fleet need not read them all.
type fleet struct {
	many   int64         // see fleetMany
	turn   chan struct{} // holds one while somebody uses what follows
	days   map[day]*fleetDay
	groups int // of all days
	whats  numbered[what]
	deckys numbered[string]
}

func newFleet() *fleet {
	return &fleet{many: fleetMany, turn: make(chan struct{}, 1), days: map[day]*fleetDay{}}
}

// day is a day of UTC, counted from the first of 1970.
type day int64

const dayLength = 24 * time.Hour

func dayOf(t time.Time) day    { return day(t.Unix() / int64(dayLength/time.Second)) }
func (n day) start() time.Time { return time.Unix(int64(n)*int64(dayLength/time.Second), 0).UTC() }

// fleetDay is what the tags of one day come to.
type fleetDay struct {
	counted time.Time
	few     bool // so few tags that groups has none of them
	groups  []fleetGroup
}

// fleetGroup are the tags of a day that no filter tells apart.
type fleetGroup struct {
	what, decky int32 // numbers of the fleet's
	confidence  float64
	count       int64
	first, last int64 // microseconds since 1970
}

// what is what a rollup counts.
type what struct{ technique, subTechnique, tactic, rule string }

// numbered gives each value a number.
type numbered[T comparable] struct {
	numbers map[T]int32
	values  []T
}

func (n *numbered[T]) number(v T) int32 {
	if known, ok := n.numbers[v]; ok {
		return known
	}
	if n.numbers == nil {
		n.numbers = map[T]int32{}
	}
	n.numbers[v] = int32(len(n.values)) //nolint:gosec // bounded by maxFleetGroups
	n.values = append(n.values, v)
	return n.numbers[v]
}

// fleetRollups adds up the tags of the whole fleet that pass f: those of whole
// days as they are remembered, the others as they are.
func (d *DB) fleetRollups(ctx context.Context, f ttp.Filter, sums rollups) error {
	oldest, ok, err := d.oldestDay(ctx)
	if err != nil || !ok {
		return err
	}
	from, until := wholeDays(f, oldest, d.now())
	if from >= until {
		return d.rollUp(ctx, fleetArm, f, nil, sums)
	}
	if err := d.fleet.take(ctx); err != nil {
		return err
	}
	defer d.fleet.give()
	d.fleet.forgetBefore(oldest)
	return d.addDays(ctx, from, until, f, sums)
}

// CountDays counts the days gone by, the latest first, so that who asks for the
// whole fleet later need not wait for that. It returns once all are counted,
// ctx ends or the database fails; those who ask meanwhile have their turn
// between two days.
func (d *DB) CountDays(ctx context.Context) error {
	oldest, ok, err := d.oldestDay(ctx)
	if err != nil || !ok {
		return err
	}
	from, until := wholeDays(ttp.Filter{}, oldest, d.now())
	for n := until - 1; n >= from && err == nil; n-- {
		err = d.countDay(ctx, n)
	}
	return err
}

func (d *DB) countDay(ctx context.Context, n day) error {
	if err := d.fleet.take(ctx); err != nil {
		return err
	}
	defer d.fleet.give()
	_, err := d.fleetDay(ctx, n)
	return err
}

func (f *fleet) take(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fleet) give() { <-f.turn }

// oldestDay returns the day of the oldest tag, if there is any.
func (d *DB) oldestDay(ctx context.Context) (oldest day, ok bool, err error) {
	var text sql.NullString
	err = d.read.QueryRowContext(ctx, "SELECT CAST(MIN(created_at) AS CHAR) FROM ttp_tag").Scan(&text)
	at, ok := parseTime(text.String)
	return dayOf(at), ok, err
}

// wholeDays returns the days, the last one left out, that f lets through as a
// whole and that gain no tags any more.
func wholeDays(f ttp.Filter, oldest day, now time.Time) (from, until day) {
	from, until = max(oldest, dayOf(now.AddDate(-fleetYears, 0, 0))), dayOf(now.Add(-fleetSettled))
	if !f.Since.IsZero() {
		from = max(from, dayOf(f.Since.Add(dayLength-1)))
	}
	if !f.Until.IsZero() {
		until = min(until, dayOf(f.Until))
	}
	return from, until
}

// addDays adds what passes f, the days from one until another by what is
// remembered of them. One of them, whose count is the oldest, may be counted
// again.
func (d *DB) addDays(ctx context.Context, from, until day, f ttp.Filter, sums rollups) error {
	if err := d.countAgain(ctx, from, until); err != nil {
		return err
	}
	total, rest := make([]fleetGroup, 0, len(d.fleet.whats.values)), f
	for n := from; n < until; n++ {
		known, err := d.fleetDay(ctx, n)
		if err != nil {
			return err
		}
		if known.few {
			continue
		}
		total = d.fleet.add(total, known.groups, f)
		if rest.Until = n.start(); !rest.Since.Equal(rest.Until) {
			if err := d.rollUp(ctx, fleetArm, rest, nil, sums); err != nil {
				return err
			}
		}
		rest.Since = (n + 1).start()
	}
	for i, g := range total {
		if g.count > 0 {
			sums.add(d.fleet.whats.values[i].group(g))
		}
	}
	rest.Until = f.Until
	return d.rollUp(ctx, fleetArm, rest, nil, sums)
}

// add adds the groups that pass f to a total by what they count.
func (f *fleet) add(total, groups []fleetGroup, filter ttp.Filter) []fleetGroup {
	total = append(total, make([]fleetGroup, len(f.whats.values)-len(total))...)
	for _, g := range groups {
		if g.confidence < filter.MinConfidence-rounding || filter.Decky != "" && f.deckys.values[g.decky] != filter.Decky ||
			filter.Tactic != "" && f.whats.values[g.what].tactic != filter.Tactic {
			continue
		}
		sum := &total[g.what]
		if sum.count == 0 || g.first < sum.first {
			sum.first = g.first
		}
		sum.last, sum.confidence = max(sum.last, g.last), max(sum.confidence, g.confidence)
		sum.count += g.count
	}
	return total
}

// group returns the group of a rollup that a total is.
func (w what) group(g fleetGroup) group {
	return group{
		Rollup: ttp.Rollup{
			Technique: w.technique, SubTechnique: w.subTechnique, Tactic: w.tactic, Count: g.count, MaxConfidence: g.confidence,
			FirstSeen: time.UnixMicro(g.first).UTC(), LastSeen: time.UnixMicro(g.last).UTC(),
		},
		rule: w.rule,
	}
}

// countAgain forgets the day that was counted longest ago, unless that was
// just now. One a question is enough to learn in time what was deleted, and
// does not hold it up.
func (d *DB) countAgain(ctx context.Context, from, until day) error {
	oldest, at := from, d.now().Add(-fleetTrusted)
	found := false
	for n := from; n < until; n++ {
		if known := d.fleet.days[n]; known != nil && known.counted.Before(at) {
			oldest, at, found = n, known.counted, true
		}
	}
	if !found {
		return nil
	}
	d.fleet.forget(oldest)
	_, err := d.fleetDay(ctx, oldest)
	return err
}

func (f *fleet) forget(n day) {
	f.groups -= len(f.days[n].groups)
	delete(f.days, n)
}

// forgetBefore forgets the days whose tags were all deleted.
func (f *fleet) forgetBefore(oldest day) {
	for n := range f.days {
		if n < oldest {
			f.forget(n)
		}
	}
}

// fleetDay returns what is remembered of a day, which is counted if need be.
func (d *DB) fleetDay(ctx context.Context, n day) (*fleetDay, error) {
	if known := d.fleet.days[n]; known != nil {
		return known, nil
	}
	counted := &fleetDay{counted: d.now()}
	where, args := fleetArm.where(ttp.Filter{Since: n.start(), Until: (n + 1).start()})
	query := "SELECT technique_id, COALESCE(sub_technique_id, ''), tactic, rule_id, COALESCE(decky_id, ''), confidence, COUNT(*), " +
		"CAST(MIN(created_at) AS CHAR), CAST(MAX(created_at) AS CHAR) FROM " + d.table(fleetArm) + where +
		" GROUP BY technique_id, sub_technique_id, tactic, rule_id, decky_id, confidence ORDER BY NULL" // MariaDB would sort
	err := each(ctx, d.read, query, args, func(scan func(...any) error) error {
		var w what
		var g fleetGroup
		var decky, first, last string
		if err := scan(&w.technique, &w.subTechnique, &w.tactic, &w.rule, &decky, &g.confidence, &g.count, &first, &last); err != nil {
			return err
		}
		g.what, g.decky, g.first, g.last = d.fleet.whats.number(w), d.fleet.deckys.number(decky), micros(first), micros(last)
		counted.groups = append(counted.groups, g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var tags int64
	for _, g := range counted.groups {
		tags += g.count
	}
	if counted.few = tags < d.fleet.many; counted.few {
		counted.groups = nil
	}
	if d.fleet.groups+len(counted.groups) <= maxFleetGroups {
		d.fleet.groups += len(counted.groups)
		d.fleet.days[n] = counted
	}
	return counted, nil
}

// micros returns a time of the database in microseconds since 1970.
func micros(text string) int64 {
	at, _ := parseTime(text) // it comes from a column of times
	return at.UnixMicro()
}
