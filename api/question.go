package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ttp-worker/attack"
	"ttp-worker/navigator"
	"ttp-worker/ttp"
)

// Question is what a caller wants to know.
type Question struct {
	Scope     ttp.Scope
	Filter    ttp.Filter
	Technique string // tags only; "" means any
	Limit     int    // answers at most
	After     string // tags only: the end of the page before, "" for the first
	Domain    string // layers only
}

// The limits of one answer.
const (
	maxRollups  = 5000
	defaultTags = 50
	maxTags     = 500
	maxID       = 255
)

var techniqueShape = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

// parameter reads one value into a question.
type parameter func(q *Question, value string) error

// parameters are all there are, by name.
var parameters = map[string]parameter{
	"id": func(q *Question, v string) error {
		q.Scope.ID = v
		return checkText(v)
	},
	"technique": func(q *Question, v string) error {
		if q.Technique = v; !techniqueShape.MatchString(v) {
			return errors.New("want an id such as T1059 or T1059.004")
		}
		return nil
	},
	"min_confidence": func(q *Question, v string) (err error) {
		q.Filter.MinConfidence, err = strconv.ParseFloat(v, 64)
		if err != nil || !(q.Filter.MinConfidence >= 0 && q.Filter.MinConfidence <= 1) {
			return errors.New("want a number from 0 to 1")
		}
		return nil
	},
	"since": func(q *Question, v string) (err error) {
		q.Filter.Since, err = ParseTime(v, time.Now())
		return err
	},
	"until": func(q *Question, v string) (err error) {
		q.Filter.Until, err = ParseTime(v, time.Now())
		return err
	},
	"tactic": func(q *Question, v string) error {
		known, ok := attack.LookupTactic(v)
		if q.Filter.Tactic = known.ID; !ok {
			return errors.New("want an id such as TA0007 or a name such as discovery")
		}
		return nil
	},
	"decky": func(q *Question, v string) error {
		q.Filter.Decky = v
		return checkText(v)
	},
	"limit": func(q *Question, v string) (err error) {
		if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 {
			return errors.New("want a whole number, 1 or more")
		}
		return nil
	},
	"after": func(q *Question, v string) error {
		q.After = v
		return nil
	},
	"domain": func(q *Question, v string) error {
		if q.Domain = v; v != navigator.Enterprise && v != navigator.ICS {
			return fmt.Errorf("want %s or %s", navigator.Enterprise, navigator.ICS)
		}
		return nil
	},
}

// filterNames are the parameters that every read of tags takes.
var filterNames = []string{"min_confidence", "since", "until", "tactic", "decky"}

// newQuestion reads the values of the parameters called allowed. What is wrong
// is said all at once, as a [Problem].
func newQuestion(values url.Values, allowed []string, most, usual int) (Question, error) {
	q := Question{Limit: usual}
	var faults []Fault
	for name, list := range values {
		read := parameters[name]
		switch {
		case read == nil || !slices.Contains(allowed, name):
			faults = append(faults, Fault{clip(name, 64), "there is no such parameter here"})
		case len(list) != 1:
			faults = append(faults, Fault{name, "given more than once"})
		default:
			if err := read(&q, list[0]); err != nil {
				faults = append(faults, Fault{name, err.Error()})
			}
		}
	}
	if q.Limit > most {
		faults = append(faults, Fault{"limit", fmt.Sprintf("want %d or less", most)})
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Parameter, b.Parameter) })
		return q, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a parameter is wrong", Faults: faults}
	}
	return q, nil
}

// checkText refuses what can be no id of anything.
func checkText(v string) error {
	switch {
	case v == "":
		return errors.New("is empty")
	case len(v) > maxID || !utf8.ValidString(v):
		return fmt.Errorf("want at most %d bytes of UTF-8", maxID)
	case strings.ContainsFunc(v, unicode.IsControl):
		return errors.New("holds a control character")
	}
	return nil
}

// clip returns at most n bytes of s.
func clip(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// ParseTime reads a point in time: 2026-05-02T06:22:48Z, 2026-05-02, or how
// long before now, as 36h or 7d. A time without a zone is UTC.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 36_500 {
			return now.AddDate(0, 0, -n).UTC(), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() >= 1 && at.Year() <= 9999 {
			return at.UTC(), nil
		}
	}
	return time.Time{}, errors.New("want a time such as 2026-05-02T06:22:48Z or 2026-05-02, or how long ago, such as 36h or 7d")
}
