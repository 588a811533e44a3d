package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"ttp-worker/internal/failpoint"
	"ttp-worker/ttp"
)

// publish publishes announcements and removes those that were taken from the
// outbox. What no server will ever take is removed as well, and said: its tags
// are stored, only the message about them cannot be made.
func (w *Worker) publish(ctx context.Context, list []ttp.Announcement) (published int, err error) {
	done, err := w.Publisher.Publish(ctx, list)
	if ttp.IsPermanent(err) {
		w.Log.Error("announcement given up: no server takes it; its tags are stored", zap.Error(err), zap.Int("announcements", len(list)-len(done)))
		done, err = ttp.AnnouncementIDs(list), nil
	}
	if err != nil {
		w.Status.Trouble(announcing, "nats: announcements are not taken and wait in the outbox: "+oneLine(err))
	} else {
		w.Status.Clear(announcing)
	}
	w.Metrics.Published.Add(float64(len(done)))
	failpoint.Hit(failpoint.AfterPublish)
	if rows := rowsOf(list, done); len(rows) > 0 {
		err = errors.Join(err, w.Sink.Announced(ctx, rows))
		failpoint.Hit(failpoint.AfterDelete)
	}
	return len(done), err
}

// announcing is what publishing is called in the worker's status, whoever does it.
const announcing = "announcing"

// rowsOf returns the rows of the outbox all of whose announcements, which list
// has, are done. Those of the others are published again, under the same ids.
func rowsOf(list []ttp.Announcement, done []string) (rows []string) {
	isDone := make(map[string]bool, len(done))
	for _, id := range done {
		isDone[id] = true
	}
	open := make(map[string]bool)
	for i := range list {
		if !isDone[list[i].ID] {
			open[list[i].Outbox] = true
		}
	}
	for i := range list {
		if row := list[i].Outbox; !open[row] {
			open[row] = true // once
			rows = append(rows, row)
		}
	}
	return rows
}

// sweepLimit is how many rows of the outbox are read at a time, each with the
// tags of a batch.
const sweepLimit = 8

// sweep publishes what was stored but not announced: at the start whatever is
// there, later what is older than SweepAge. Several workers may do so at once;
// the message ids make one announcement of it. It ends with ctx; stop ends the
// work in hand.
func (w *Worker) sweep(ctx, stop context.Context) {
	age := time.Duration(0)
	for {
		w.sweepOnce(stop, age)
		age = w.SweepAge
		select {
		case <-ctx.Done():
			return
		case <-stop.Done():
			return
		case <-time.After(w.SweepEvery):
		}
	}
}

// sweepOnce publishes announcements until none of that age is left or one
// round brings no progress.
func (w *Worker) sweepOnce(ctx context.Context, age time.Duration) {
	for ctx.Err() == nil {
		list, err := w.unannounced(ctx, age)
		if err != nil {
			return
		}
		if len(list) == 0 {
			break
		}
		publishing, cancel := context.WithTimeout(ctx, publishTimeout)
		n, err := w.publish(publishing, list)
		cancel()
		if err != nil {
			w.repeats.log(w.Log, zap.WarnLevel, "", "announcements still in the outbox", zap.Error(err), zap.Int("announcements", len(list)))
		}
		if n > 0 {
			w.Log.Info("announcements published from the outbox", zap.Int("announcements", n))
		}
		if err != nil {
			break
		}
	}
	if rows, oldest, err := w.Sink.OutboxStats(ctx); err == nil {
		w.Metrics.OutboxRows.Set(float64(rows))
		w.Metrics.OutboxAge.Set(oldest.Seconds())
		if rows == 0 {
			w.Status.Clear(announcing) // another worker has published them
		}
	}
}

// unannounced reads the outbox. It is what notices that the database is away
// while no events come.
func (w *Worker) unannounced(ctx context.Context, age time.Duration) ([]ttp.Announcement, error) {
	const sweeping = "sweeping"
	reading, cancel := context.WithTimeout(ctx, w.BatchTimeout)
	defer cancel()
	list, err := w.Sink.Unannounced(reading, age, sweepLimit)
	switch {
	case err == nil:
		w.Status.Clear(sweeping)
	case ctx.Err() == nil:
		class, hint := w.databaseTrouble(sweeping, err)
		w.repeats.log(w.Log, zap.WarnLevel, class, "outbox not read, will be tried again", zap.Error(err),
			zap.String("class", class), zap.String("hint", hint))
	}
	return list, err
}

// lastSweep publishes what the lanes left behind on the way out.
func (w *Worker) lastSweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	w.sweepOnce(ctx, 0)
}
