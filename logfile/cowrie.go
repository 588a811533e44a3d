package logfile

import (
	"container/list"
	"errors"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// Bounds of what is put together at a time. What exceeds them is handed out
// early, nothing is lost.
const (
	sessionAge = 24 * time.Hour // of log time, for a session without an end
	maxOpen    = 20_000         // sessions
	maxHeld    = 32 << 20       // bytes of what all of them hold
	maxEntries = 1_000          // commands and logins of one session
	maxSize    = 256 << 10      // bytes of these
)

// cowrie puts the events of Cowrie's log together to sessions.
type cowrie struct {
	open map[sessionKey]*list.Element
	list *list.List // of *session, in the order they were begun
	held int        // bytes, the sum of session.held

	// again says that events are read a second time. All sessions from the
	// first on were open together then, so none has to make room; those that
	// were begun earlier seem to begin anew and come on top.
	again bool
	now   time.Time // the newest time of the log
}

type sessionKey struct{ sensor, id string }

func newCowrie() *cowrie {
	return &cowrie{open: make(map[sessionKey]*list.Element), list: list.New()}
}

var (
	errNoCowrie  = errors.New("not an event of Cowrie's log")
	errNoSession = errors.New("an event of Cowrie without a session")
	errNoTime    = errors.New("an event of Cowrie without a time")
)

// take adds an event, which was found at mark, and queues the sessions that
// are complete. It reports whether the event is of use.
func (c *cowrie) take(o ttp.Object, at Mark, queue *[]Record) (bool, error) {
	event, ok := strings.CutPrefix(o.Text("eventid"), "cowrie.")
	if !ok {
		return false, errNoCowrie
	}
	read, ok := cowrieEvents[event]
	if !ok {
		return false, nil
	}
	key := sessionKey{o.ID("sensor"), o.ID("session")}
	if key.id == "" {
		return false, errNoSession
	}
	when, ok := parseTime(o.Text("timestamp"))
	if !ok {
		return false, errNoTime
	}
	c.advance(when, queue)
	element := c.open[key]
	if element == nil {
		if event == "session.closed" {
			return false, nil // its beginning is not in the log
		}
		element = c.begin(key, at, when)
	}
	s := element.Value.(*session)
	before := s.held()
	s.note(o, when)
	read(s, o)
	if len(s.commands)+len(s.logins) >= maxEntries || s.size >= maxSize {
		s.spill(queue)
	}
	c.held += s.held() - before
	c.relieve(queue)
	if event == "session.closed" {
		c.end(element, queue)
	}
	return true, nil
}

// advance moves the log's time and ends sessions that are too old. A jump back
// by more than that age is another log, in which none of them goes on.
func (c *cowrie) advance(when time.Time, queue *[]Record) {
	if c.now.Sub(when) > sessionAge {
		c.closeAll(queue)
		c.now = when
	}
	if when.After(c.now) {
		c.now = when
	}
	for e := c.list.Front(); e != nil && c.now.Sub(e.Value.(*session).first) > sessionAge; e = c.list.Front() {
		c.end(e, queue)
	}
}

func (c *cowrie) begin(key sessionKey, at Mark, when time.Time) *list.Element {
	key = sessionKey{strings.Clone(key.sensor), strings.Clone(key.id)} // not the line they are in
	s := &session{key: key, begun: at, first: when}
	e := c.list.PushBack(s)
	c.open[key] = e
	c.held += s.held()
	return e
}

// relieve keeps within the bounds.
func (c *cowrie) relieve(queue *[]Record) {
	for !c.again && c.list.Len() > 1 && (c.list.Len() > maxOpen || c.held > maxHeld) {
		c.end(c.list.Front(), queue)
	}
}

// end hands a session out.
func (c *cowrie) end(e *list.Element, queue *[]Record) {
	s := c.list.Remove(e).(*session)
	delete(c.open, s.key)
	c.held -= s.held()
	*queue = append(*queue, s.record())
}

func (c *cowrie) closeAll(queue *[]Record) {
	for e := c.list.Front(); e != nil; e = c.list.Front() {
		c.end(e, queue)
	}
}

// oldest returns where the session that was begun first begins.
func (c *cowrie) oldest() (Mark, bool) {
	if e := c.list.Front(); e != nil {
		return e.Value.(*session).begun, true
	}
	return Mark{}, false
}

// timeLayouts are how the logs write the time, after its seconds.
var timeLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05 (UTC)"}

// parseTime reads a time; one without a zone is UTC.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
