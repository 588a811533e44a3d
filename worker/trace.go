package worker

import (
	"context"
	"time"
)

// Tracer records where the time of a batch goes. It is safe for concurrent use
// and never blocks.
type Tracer interface {
	// Batch begins the record of a batch. end ends it; everything the batch
	// does is done with the context that is returned.
	Batch(ctx context.Context, messages []Delivery) (traced context.Context, end func())

	// Stage records a step of the batch that ctx belongs to.
	Stage(ctx context.Context, name string, start, end time.Time)
}

// stage notes how long a stage took that began at start, and returns the end.
func (w *Worker) stage(ctx context.Context, name string, start time.Time) time.Time {
	now := w.Metrics.stage(name, start)
	if w.Tracer != nil {
		w.Tracer.Stage(ctx, name, start, now)
	}
	return now
}

// trace begins the record of a batch, if there is one.
func (w *Worker) trace(ctx context.Context, messages []Delivery) (traced context.Context, end func()) {
	if w.Tracer == nil {
		return ctx, func() {}
	}
	return w.Tracer.Batch(ctx, messages)
}
