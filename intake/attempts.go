package intake

import (
	"strings"

	"ttp-worker/ttp"
)

// enoughFailures is from how many failed logins on a success counts as guessed.
const enoughFailures = 5

// countAttempts tells the logins of a session what came before them in its
// list, which is what rules about guessing ask for: fail_count of one service,
// password_count of one name, prior_brute. Each figure is given to one event
// only, the last that it counts, so that guessing is found once and not again
// with every further guess. What the producer counted itself stands.
func countAttempts(events []*Event) {
	services, names := make(map[string]*tally), make(map[string]*tally)
	for _, e := range events {
		if e.Kind != ttp.AuthAttempt {
			continue
		}
		service := tallyOf(services, e.Payload.Text("service"))
		if succeeded(e.Payload) {
			if service.n >= enoughFailures {
				e.setAbsent("prior_brute", "true")
			}
		} else {
			service.n++
			service.last = e
		}
		name := tallyOf(names, e.Payload.Text("username"))
		name.password(e.Payload)
		name.last = e
	}
	for _, service := range services {
		service.last.setAbsent("fail_count", ttp.Number(int64(service.n)))
	}
	for _, name := range names {
		name.last.setAbsent("password_count", ttp.Number(int64(len(name.passwords))))
	}
}

// tally counts logins that have something in common.
type tally struct {
	n         int
	passwords map[string]bool
	last      *Event // nil: none of them counts
}

func tallyOf(tallies map[string]*tally, key string) *tally {
	t := tallies[key]
	if t == nil {
		t = &tally{passwords: make(map[string]bool)}
		tallies[key] = t
	}
	return t
}

func (t *tally) password(p ttp.Object) {
	if v, ok := p.Get("password"); ok {
		if text, ok := v.Text(); ok {
			t.passwords[text] = true
		}
	}
}

// setAbsent sets a member that the producer did not send. A nil event is none.
func (e *Event) setAbsent(name string, value ttp.Value) {
	if e != nil && !e.Payload.Has(name) {
		e.Payload = e.Payload.Set(name, value)
	}
}

// succeeded reports whether a login did, in the words that sensors have for it.
func succeeded(p ttp.Object) bool {
	if ok, known := p.Bool("success"); known {
		return ok
	}
	switch strings.ToLower(p.Text("result", "outcome")) {
	case "success", "succeeded", "accepted", "ok":
		return true
	}
	return false
}
