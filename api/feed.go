package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"ttp-worker/ttp"
)

const (
	// maxListeners is how many may listen at once; each holds a connection.
	maxListeners = 64

	// backlog is how many announcements a slow listener may be behind.
	backlog = 256

	// breath is how often a listener hears something, if only that there is nothing.
	breath = 15 * time.Second

	// excerptLen is how much of the evidence is sent along, in characters.
	excerptLen = 240
)

// Feed hands out what is announced to those who listen by server-sent events.
// Its zero value is ready; it is safe for concurrent use.
type Feed struct {
	mu        sync.Mutex // guards what follows
	listeners map[chan []byte]bool
}

// Live is what listeners are told of one event.
type Live struct {
	At           time.Time `json:"at"` // when it was announced
	AttackerUUID *string   `json:"attacker_uuid"`
	IdentityUUID *string   `json:"identity_uuid"`
	SessionID    *string   `json:"session_id"`
	DeckyID      *string   `json:"decky_id"`
	Tags         []LiveTag `json:"tags"`
}

// LiveTag is a tag without its evidence, of which it has an excerpt.
type LiveTag struct {
	UUID         string   `json:"uuid"`
	SourceKind   ttp.Kind `json:"source_kind"`
	Tactic       string   `json:"tactic"`
	Technique    string   `json:"technique_id"`
	SubTechnique *string  `json:"sub_technique_id"`
	Confidence   float64  `json:"confidence"`
	RuleID       string   `json:"rule_id"`
	Excerpt      string   `json:"excerpt"`
}

// Tell hands an announcement, the payload of ttp.tagged, to all who listen. It
// never waits for them.
func (f *Feed) Tell(t *ttp.Tagged, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) == 0 {
		return
	}
	data, err := json.Marshal(newLive(t, at))
	if err != nil {
		return // texts and numbers always marshal
	}
	for listener := range f.listeners {
		select {
		case listener <- data:
		default: // it is too far behind, and finds its channel closed
			delete(f.listeners, listener)
			close(listener)
		}
	}
}

func newLive(t *ttp.Tagged, at time.Time) Live {
	l := Live{
		At: at.UTC(), AttackerUUID: orNull(t.AttackerUUID), IdentityUUID: orNull(t.IdentityUUID),
		SessionID: orNull(t.SessionID), DeckyID: orNull(t.DeckyID), Tags: make([]LiveTag, len(t.Tags)),
	}
	for i := range t.Tags {
		tag := &t.Tags[i]
		l.Tags[i] = LiveTag{tag.UUID, tag.SourceKind, tag.Tactic, tag.Technique, orNull(tag.SubTechnique), tag.Confidence, tag.RuleID, Excerpt(tag.Evidence, excerptLen)}
	}
	return l
}

// Excerpt returns the most telling text of an evidence, at most n characters of it.
func Excerpt(evidence ttp.Object, n int) string {
	text := evidence.Text("command_text", "match", "matched_text", "raw_url", "request_path", "user_agent")
	if text == "" && len(evidence) > 0 {
		text = string(evidence.AppendJSON(nil))
	}
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// join makes a new listener. Tell sends; Tell or leave closes.
func (f *Feed) join() (chan []byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) >= maxListeners {
		return nil, false
	}
	if f.listeners == nil {
		f.listeners = map[chan []byte]bool{}
	}
	listener := make(chan []byte, backlog)
	f.listeners[listener] = true
	return listener, true
}

func (f *Feed) leave(listener chan []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listeners[listener] {
		delete(f.listeners, listener)
		close(listener)
	}
}

// serve tells one listener until it goes away or falls behind; it may come
// again.
func (f *Feed) serve(w http.ResponseWriter, r *http.Request) {
	listener, ok := f.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		writeProblem(w, &Problem{Status: http.StatusServiceUnavailable, Detail: "too many listen already"})
		return
	}
	defer f.leave(listener)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := listenerWriter{w, http.NewResponseController(w)}
	if out.send(": listening\n\n") != nil {
		return
	}
	ticker := time.NewTicker(breath)
	defer ticker.Stop()
	for {
		text := ": nothing new\n\n"
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		case data, ok := <-listener:
			if !ok {
				return
			}
			text = fmt.Sprintf("event: tagged\ndata: %s\n\n", data)
		}
		if out.send(text) != nil {
			return
		}
	}
}

// listenerWriter sends each text at once.
type listenerWriter struct {
	io.Writer
	control *http.ResponseController
}

func (l listenerWriter) send(text string) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(2 * breath)); err != nil {
		return err
	}
	if _, err := io.WriteString(l, text); err != nil {
		return err
	}
	return l.control.Flush()
}
