package tagger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

// Route hands events of some kinds to a tagger.
type Route struct {
	Name   string // for errors and logs
	Kinds  []ttp.Kind
	Tagger Tagger
}

// Composite is a [Tagger] that hands each event to the taggers which claim its
// kind, in the order they were given, and returns all their findings. An error
// or a panic of one does not touch the findings of the others.
type Composite struct {
	// Log gets one line the first time a kind comes that nobody claims: a
	// warning if it is a kind that rules are written for, else for
	// information. Nil: none.
	Log *zap.Logger

	// Unclaimed, if set, is told of every event that nobody claims.
	Unclaimed func(ttp.Kind)

	routes   map[ttp.Kind][]Route
	reported sync.Map // ttp.Kind → struct{}
}

// NewComposite checks the routes: each needs a name of its own, a tagger and
// at least one kind.
func NewComposite(routes ...Route) (*Composite, error) {
	c := &Composite{routes: make(map[ttp.Kind][]Route)}
	names := make(map[string]bool)
	var errs []error
	for _, r := range routes {
		switch {
		case r.Name == "" || names[r.Name]:
			errs = append(errs, fmt.Errorf("route %q: the name is empty or taken", r.Name))
		case r.Tagger == nil:
			errs = append(errs, fmt.Errorf("route %s: no tagger", r.Name))
		case len(r.Kinds) == 0:
			errs = append(errs, fmt.Errorf("route %s: no kinds", r.Name))
		}
		names[r.Name] = true
		for _, kind := range r.Kinds {
			c.routes[kind] = append(c.routes[kind], r)
		}
	}
	return c, errors.Join(errs...)
}

// Tag implements [Tagger]. The error joins those of the taggers that failed; a
// panic is [ttp.Permanent].
func (c *Composite) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	routes := c.routes[ev.Kind]
	if len(routes) == 0 {
		c.reportUnclaimed(ev.Kind)
		return nil, nil
	}
	var findings []ttp.Finding
	var errs []error
	for i := range routes {
		found, err := routes[i].tag(ctx, ev)
		if err != nil {
			errs = append(errs, fmt.Errorf("tagger %s: %w", routes[i].Name, err))
		}
		if i == 0 {
			findings = slices.Clip(found) // most kinds have one route
		} else {
			findings = append(findings, found...)
		}
	}
	return findings, errors.Join(errs...)
}

func (r *Route) tag(ctx context.Context, ev *ttp.Event) (found []ttp.Finding, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The payload is an attacker's, and the panic's value may quote it.
			found, err = nil, ttp.Permanent(fmt.Errorf("panic of type %T at %s", p, panicSite()))
		}
	}()
	return r.Tagger.Tag(ctx, ev)
}

// maxReported bounds how many kinds are remembered as reported: kinds are
// written by producers, and a broken one could send a new one each time.
const maxReported = 64

func (c *Composite) reportUnclaimed(kind ttp.Kind) {
	if c.Unclaimed != nil {
		c.Unclaimed(kind)
	}
	if c.Log == nil {
		return
	}
	if _, known := c.reported.Load(kind); known || c.reportedCount() >= maxReported {
		return
	}
	if _, known := c.reported.LoadOrStore(kind, struct{}{}); known {
		return
	}
	field := zap.String("source_kind", fmt.Sprintf("%.40s", string(kind)))
	if kind.Known() {
		c.Log.Warn("no tagger claims a kind that rules are written for; its events yield no tags", field)
	} else {
		c.Log.Info("no tagger claims this kind; its events yield no tags", field)
	}
}

func (c *Composite) reportedCount() (n int) {
	c.reported.Range(func(any, any) bool { n++; return n < maxReported })
	return n
}

// panicSite returns "file.go:line" of what panicked: the first frame below
// "panic(" on the recovering goroutine's stack that is not the runtime's own.
func panicSite() string {
	_, below, _ := strings.Cut(string(debug.Stack()), "\npanic(")
	for line := range strings.Lines(below) {
		if !strings.HasPrefix(line, "\t") || strings.Contains(line, "/runtime/") {
			continue
		}
		site, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		return site[strings.LastIndexByte(site, '/')+1:]
	}
	return "an unknown place"
}
