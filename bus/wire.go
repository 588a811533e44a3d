package bus

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// window is how many messages of one flight may wait for the server's answer.
const window = 512

// wire is a subject of our own on which the server answers what is published
// without waiting. It serves one flight at a time.
//
// It takes the place of the asynchronous publishing of package jetstream, which
// makes two channels, a timer and an entry of a map for each message and was
// half of what a message cost.
type wire struct {
	nc      *nats.Conn
	sub     *nats.Subscription
	prefix  string           // of the subjects of the answers, the number of the message follows
	answers chan *nats.Msg   // the connection sends, nobody closes
	away    chan nats.Status // says that the connection broke; closed by drop

	next  uint64       // number of the next message
	slots [window]slot // what was sent last, by number
	open  int          // slots that wait
}

// slot is one message.
type slot struct {
	number  uint64
	subject string
	part    int // of the flight
	waiting bool
}

func newWire(nc *nats.Conn) (*wire, error) {
	// There is room for an answer that comes twice.
	w := &wire{nc: nc, prefix: nc.NewInbox() + ".", answers: make(chan *nats.Msg, 2*window)}
	var err error
	if w.sub, err = nc.ChanSubscribe(w.prefix+"*", w.answers); err != nil {
		return nil, err
	}
	w.away = nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	return w, nil
}

func (w *wire) drop() {
	_ = w.sub.Unsubscribe() // fails only when there is nothing left to end
	w.nc.RemoveStatusListener(w.away)
}

// full reports whether the slot of the next message is still taken.
func (w *wire) full() bool { return w.slots[w.next%window].waiting }

// reply is the subject of the answer to the next message.
func (w *wire) reply() string {
	return string(strconv.AppendUint(append(make([]byte, 0, 64), w.prefix...), w.next, 10))
}

// sent notes that the next message was sent, as part of the flight.
func (w *wire) sent(part int, subject string) {
	w.slots[w.next%window] = slot{number: w.next, subject: subject, part: part, waiting: true}
	w.next++
	w.open++
}

// answered returns which message an answer is about, and frees its slot; nil if
// nobody waits for it.
func (w *wire) answered(m *nats.Msg) *slot {
	number, err := strconv.ParseUint(m.Subject[min(len(w.prefix), len(m.Subject)):], 10, 64)
	s := &w.slots[number%window]
	if err != nil || !s.waiting || s.number != number {
		return nil
	}
	s.waiting = false
	w.open--
	return s
}

// verdict is what an answer says: nil if a stream has the message.
func verdict(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return jetstream.ErrNoStreamResponse
	}
	// What nearly all answers are is told without reading them as JSON.
	if bytes.HasPrefix(m.Data, []byte(`{"stream":"`)) && !bytes.Contains(m.Data, []byte("error")) {
		return nil
	}
	var answer struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		return answer.Error
	case answer.Stream == "":
		return jetstream.ErrInvalidJSAck
	}
	return nil
}

// wires are those that are free. It is safe for concurrent use.
type wires struct {
	mu   sync.Mutex // guards free
	free []*wire
}

// take returns a wire that nothing is under way on.
func (p *wires) take(nc *nats.Conn) (*wire, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.free) > 0 {
		w := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		if len(w.away) == 0 {
			return w, nil
		}
		w.drop() // the connection broke meanwhile, and is perhaps there again
	}
	return newWire(nc)
}

// put takes a wire back, unless answers may still come on it.
func (p *wires) put(w *wire) {
	if w.open > 0 {
		w.drop()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, w)
}
