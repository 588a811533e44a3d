// Package tagger turns events into findings. A [Tagger] looks at one event; the
// [Composite] hands each event to the taggers that claim its kind and keeps
// their failures apart.
package tagger

import (
	"context"

	"ttp-worker/ttp"
)

// Tagger says which techniques an event shows. It must be safe for concurrent
// use, must not change the event, and must answer the same for the same event.
//
// Findings returned beside an error are good. An error is [ttp.Permanent] if
// looking at the event again cannot help.
type Tagger interface {
	Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error)
}

// Func is a function that is a [Tagger].
type Func func(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error)

// Tag calls f.
func (f Func) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) { return f(ctx, ev) }
