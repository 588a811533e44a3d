// Package worker is the way of an event: fetched from a [Source], decoded,
// tagged, stored in a [Sink], announced by a [Publisher], and only then settled.
package worker

import (
	"context"
	"time"

	"ttp-worker/ttp"
)

// Source is where messages come from.
type Source interface {
	// Fetch waits for messages and returns them as soon as a batch is full or
	// no more are coming. It returns none only beside an error: ctx.Err()
	// once ctx ends. Each lane has a Source of its own; it is not safe for
	// concurrent use.
	Fetch(ctx context.Context) ([]Delivery, error)

	// Held returns what has arrived behind the last batch and waits for the
	// next Fetch. The worker keeps it alive while it can't go on.
	Held() []Delivery
}

// Delivery is one message in hand. Exactly one of Ack, Retry and Reject ends
// it; all of them only send, so that the last of a batch is ended by AckSync.
type Delivery interface {
	Subject() string // without the configured prefix
	Data() []byte
	Meta() Meta

	Ack() error
	AckSync(ctx context.Context) error // returns when the server has it
	Retry(after time.Duration) error   // hand it back, to be delivered again
	Reject(reason string) error        // never deliver it again
	InProgress() error                 // still at it: restart the server's clock
}

// Meta is what the bus knows about a message.
type Meta struct {
	Stream     string
	Sequence   uint64    // in the stream
	Deliveries int       // 1 on the first
	At         time.Time // when the stream took it
}

// Sink is where tags go.
type Sink interface {
	// Write stores the tags of a batch in one transaction, together with the
	// announcements of those that are new. Rows the database refuses are set
	// apart, the others stored; an error means that nothing was.
	Write(ctx context.Context, batch []ttp.Tagged) (ttp.Written, error)

	// Announced forgets announcements that have been published.
	Announced(ctx context.Context, ids []string) error

	// Unannounced returns stored announcements older than age, oldest first.
	Unannounced(ctx context.Context, age time.Duration, limit int) ([]ttp.Announcement, error)
}

// Publisher tells others what was stored.
type Publisher interface {
	// Publish returns when the server has taken the announcement, as new or
	// as one it knows already.
	Publish(ctx context.Context, a []ttp.Announcement) (done []string, err error)
}
