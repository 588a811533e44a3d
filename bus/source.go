package bus

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/worker"
)

// Batch says when a batch is complete: at whichever comes first. Zero means
// the default.
type Batch struct {
	Size  int           // messages; 0 means 500
	Bytes int           // of their data, the last message may exceed it; 0 means 1 MiB
	Wait  time.Duration // since its first message; 0 means 250 ms
	Gap   time.Duration // without a further message; 0 means 10 ms

	// Waiting, if set, is called every few seconds while Fetch waits for
	// messages, also for those that a server which is away keeps back. It
	// tells a source that waits from one that hangs.
	Waiting func()
}

// Bounds of the pause after a failure.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// errEmptyPull says that the server closed a request at once. The next message
// is then larger than what was asked for.
var errEmptyPull = errors.New("request for messages ended at once")

// Source hands over the messages of the shared consumer to one lane. It keeps
// at most one request open, of at most one batch, and opens one only inside
// Fetch: what a lane that can't go on holds is bounded by that. It is not safe
// for concurrent use.
type Source struct {
	bus   *Bus
	batch Batch
	pause time.Duration // the last one; 0 while all is well

	cons  jetstream.Consumer // nil until it is known to exist
	queue []worker.Delivery  // taken from the open request, not handed over yet

	pull  *pull // nil if no request is open
	large bool  // the next request is for one message of any size
}

var _ worker.Source = (*Source)(nil)

// NewSource returns a source for one lane. The caller must Close it.
func (b *Bus) NewSource(batch Batch) *Source {
	batch.Size = cmp.Or(batch.Size, 500)
	batch.Bytes = cmp.Or(batch.Bytes, 1<<20)
	batch.Wait = cmp.Or(batch.Wait, 250*time.Millisecond)
	batch.Gap = cmp.Or(batch.Gap, 10*time.Millisecond)
	if batch.Waiting == nil {
		batch.Waiting = func() {}
	}
	return &Source{bus: b, batch: batch}
}

// Fetch implements [worker.Source]. It rides out whatever keeps messages away,
// makes the consumer if it is gone, and returns an error only when ctx ends.
func (s *Source) Fetch(ctx context.Context) ([]worker.Delivery, error) {
	first, err := s.first(ctx)
	if err != nil {
		return nil, err
	}
	return s.gather(ctx, first), nil
}

// first waits for a message as long as it takes.
func (s *Source) first(ctx context.Context) (worker.Delivery, error) {
	for {
		s.batch.Waiting()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if d, ok := s.queued(); ok {
			return d, nil
		}
		if err := s.open(ctx); err != nil {
			s.stumble(ctx, err)
			continue
		}
		if msg := s.await(ctx); msg != nil {
			s.well()
			return newDelivery(s.bus, msg), nil
		}
		if ctx.Err() == nil {
			s.ended(ctx)
		}
	}
}

// await waits for the next message of the open request; nil if it is over or
// lost, or ctx ends.
func (s *Source) await(ctx context.Context) *nats.Msg {
	msg := s.pull.next(ctx, time.Until(s.pull.opened.Add(pullSilence)))
	if msg != nil || s.pull.over || ctx.Err() != nil || !s.bus.nc.IsConnected() {
		return msg
	}
	// It is lost, or we were: what the server has sent meanwhile comes before
	// its answer to a ping.
	if s.bus.nc.FlushTimeout(pullExpiry) != nil {
		return nil
	}
	return s.pull.next(ctx, 0)
}

// gather collects what comes right behind first.
func (s *Source) gather(ctx context.Context, first worker.Delivery) []worker.Delivery {
	batch := append(make([]worker.Delivery, 0, 1+s.waiting()), first)
	size := len(first.Data())
	deadline := time.Now().Add(s.batch.Wait)
	for len(batch) < s.batch.Size && size < s.batch.Bytes {
		d, ok := s.soon(ctx, min(s.batch.Gap, time.Until(deadline)))
		if !ok {
			break
		}
		batch = append(batch, d)
		size += len(d.Data())
	}
	return batch
}

// waiting is how many messages are there already.
func (s *Source) waiting() int {
	if s.pull == nil {
		return len(s.queue)
	}
	return len(s.queue) + len(s.pull.msgs)
}

// soon returns the next message if there is one within wait.
func (s *Source) soon(ctx context.Context, wait time.Duration) (worker.Delivery, bool) {
	if d, ok := s.queued(); ok {
		return d, true
	}
	if s.pull == nil || wait <= 0 {
		return nil, false
	}
	msg := s.pull.next(ctx, wait)
	if msg == nil {
		return nil, false
	}
	return newDelivery(s.bus, msg), true
}

// queued returns the oldest message of the queue.
func (s *Source) queued() (worker.Delivery, bool) {
	if len(s.queue) == 0 {
		return nil, false
	}
	d := s.queue[0]
	s.queue = s.queue[1:]
	return d, true
}

// Held implements [worker.Source].
func (s *Source) Held() []worker.Delivery {
	for s.pull != nil {
		msg := s.pull.next(context.Background(), 0)
		if msg == nil {
			break
		}
		s.queue = append(s.queue, newDelivery(s.bus, msg))
	}
	return s.queue
}

// open makes sure that a request for messages is open.
func (s *Source) open(ctx context.Context) error {
	if s.pull != nil {
		return nil
	}
	if !s.bus.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	if s.cons == nil {
		cons, err := s.bus.ensureConsumer(ctx)
		if err != nil {
			return err
		}
		s.cons = cons
	}
	messages, bytes := s.batch.Size, 0
	switch {
	case s.large:
		messages = 1
	case replicated(s.cons):
		messages = min(messages, s.pullMessages())
	default:
		bytes = s.pullBytes()
	}
	pull, err := s.bus.request(messages, bytes)
	if err != nil {
		return err
	}
	s.pull, s.large = pull, false
	return nil
}

// pullBytes bounds what a request may bring, and lets any single message
// through: the server counts the subjects, which MaxPayload does not.
func (s *Source) pullBytes() int {
	return max(s.batch.Bytes, int(s.bus.nc.MaxPayload())) + 64<<10
}

// replicated reports whether several servers keep the consumer. Those say that
// a request for a number of bytes is complete before they send the messages,
// which wait for a quorum and then find nobody: such a request must not be made.
func replicated(cons jetstream.Consumer) bool {
	c := cons.CachedInfo().Cluster
	return c != nil && len(c.Replicas) > 0
}

// pullMessages bounds a request where bytes cannot: to 64 MiB, were all
// messages as large as the server lets them be.
func (s *Source) pullMessages() int {
	const fewest, most = 16, 64 << 20
	return max(most/max(int(s.bus.nc.MaxPayload()), 1), fewest)
}

// ended looks at why a request is over and forgets it.
func (s *Source) ended(ctx context.Context) {
	err := s.pull.reason
	if err == nil && s.pull.taken == 0 && time.Since(s.pull.opened) < pullExpiry/2 {
		err, s.large = errEmptyPull, true
	}
	s.forget()
	if err == nil {
		s.well()
		return
	}
	s.stumble(ctx, err)
}

// forget forgets the open request. One that is not over was lost.
func (s *Source) forget() {
	if s.pull != nil && !s.pull.over {
		s.pull.end(nil)
	}
	s.pull = nil
}

// well notes that the consumer answers.
func (s *Source) well() {
	s.pause = 0
	s.bus.drought.recovered()
}

// stumble waits after a failure, longer each time, until ctx ends. Whatever
// the failure was, the consumer is looked at again before it is used.
func (s *Source) stumble(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.cons = nil
	s.pause = min(max(2*s.pause, minPause), maxPause)
	if errors.Is(err, nats.ErrDisconnected) {
		s.pause = minPause // the connection itself takes its time, and says so in the log
	} else {
		s.bus.drought.failed(err)
	}
	pause(ctx, s.pause/2+rand.N(s.pause/2))
}

// Close hands back what the source still holds, so that it is delivered to
// somebody else at once. It waits for the open request to end, a second as a
// rule and four at most: cutting it off would leave messages on their way to
// nobody, and while it is open what is handed back comes back to it. An error
// means that some come back only after the ack wait.
func (s *Source) Close() error {
	held := s.queue
	for s.pull != nil {
		msg := s.await(context.Background())
		if msg == nil {
			break
		}
		held = append(held, newDelivery(s.bus, msg))
	}
	s.forget()
	s.queue = nil
	var failed error
	for _, d := range held {
		failed = cmp.Or(failed, d.Retry(0))
	}
	if len(held) == 0 || failed != nil {
		return failed
	}
	return s.bus.nc.FlushTimeout(pullExpiry)
}
