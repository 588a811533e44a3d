package tagger

import (
	"context"
	"errors"
	"slices"

	"ttp-worker/ttp"
)

// signal is something a lifter worked out about an event, for rules to decide
// on. It is a member of the payload that the rules see.
//
// A rule that names the signal in its evidence list gets the signal's evidence
// in its place: the rule need not know what the signal was made of.
type signal struct {
	name     string
	value    ttp.Value
	evidence ttp.Object // empty: the signal is not shown, only known
}

// named returns s under another name, with the same evidence.
func (s signal) named(name string) signal {
	s.name = name
	return s
}

// lift asks rules about the event as it is with the signals in its payload.
// The event itself is not changed.
func lift(ctx context.Context, rules Tagger, ev *ttp.Event, signals []signal) ([]ttp.Finding, error) {
	lifted := *ev
	for _, s := range signals {
		lifted.Payload = lifted.Payload.Set(s.name, s.value)
	}
	findings, err := rules.Tag(ctx, &lifted)
	for i := range findings {
		if s := cited(findings[i].Evidence, signals); s != nil {
			findings[i].Evidence = s.shown(findings[i].Evidence, signals)
		}
	}
	return findings, err
}

// shown returns the evidence of s, and of what the rule asked for itself what
// is no signal and not in there.
func (s *signal) shown(asked ttp.Object, signals []signal) ttp.Object {
	evidence := slices.Clip(s.evidence)
	for _, m := range asked {
		made := func(other signal) bool { return other.name == m.Name }
		if !evidence.Has(m.Name) && !slices.ContainsFunc(signals, made) {
			evidence = append(evidence, m)
		}
	}
	return evidence
}

// liftAs asks the rules of another kind about a part of the event: a rule is of
// one kind, and some say the same of two.
func liftAs(ctx context.Context, kind ttp.Kind, rules Tagger, ev *ttp.Event, signals []signal) ([]ttp.Finding, error) {
	part := *ev
	part.Kind, part.Payload = kind, nil
	return lift(ctx, rules, &part, signals)
}

// cited returns the first signal that evidence names and that has evidence of
// its own, or nil.
func cited(evidence ttp.Object, signals []signal) *signal {
	for _, m := range evidence {
		for i := range signals {
			if signals[i].name == m.Name && len(signals[i].evidence) > 0 {
				return &signals[i]
			}
		}
	}
	return nil
}

// liftTwice asks the rules of the event's kind and, if there are signals, those
// for sessions about the signals.
func liftTwice(ctx context.Context, rules Tagger, ev *ttp.Event, signals []signal) ([]ttp.Finding, error) {
	findings, err := lift(ctx, rules, ev, signals)
	if len(signals) == 0 {
		return findings, err
	}
	more, moreErr := liftAs(ctx, ttp.Session, rules, ev, signals)
	return append(findings, more...), errors.Join(err, moreErr)
}

// pick returns the named members that are there and not null.
func pick(payload ttp.Object, names ...string) ttp.Object {
	var o ttp.Object
	for _, name := range names {
		if v, ok := payload.Get(name); ok && !v.IsNull() && len(v) <= maxValue {
			o = append(o, ttp.Member{Name: name, Value: v})
		}
	}
	return o
}

// maxValue bounds a value that is copied into evidence, in bytes of JSON.
const maxValue = 4096

// members returns the signals as members of a payload.
func members(signals []signal) ttp.Object {
	o := make(ttp.Object, len(signals))
	for i, s := range signals {
		o[i] = ttp.Member{Name: s.name, Value: s.value}
	}
	return o
}
