package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"ttp-worker/ttp"
)

// Problem is why there is no answer, in the JSON form of RFC 9457.
type Problem struct {
	Status int     `json:"status"` // as of HTTP
	Title  string  `json:"title"`
	Detail string  `json:"detail"`
	Faults []Fault `json:"errors,omitempty"`

	Cause error `json:"-"` // what is for the operator alone, nil if nothing is
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Fault is what is wrong with one parameter.
type Fault struct {
	Parameter string `json:"parameter"`
	Detail    string `json:"detail"`
}

// Error tells the detail and each fault.
func (p *Problem) Error() string {
	parts := []string{p.Detail}
	for _, f := range p.Faults {
		parts = append(parts, f.Parameter+": "+f.Detail)
	}
	return strings.Join(parts, "; ")
}

// JSON is the problem as it is sent.
func (p *Problem) JSON() []byte {
	p.Title = http.StatusText(p.Status)
	data, err := json.Marshal(p)
	if err != nil {
		return []byte(`{"status":500}`) // texts and numbers always marshal
	}
	return data
}

// problemOf returns the problem that err is. What the store says is not for
// the caller; expected tells whether it is the caller's doing.
func problemOf(err error) (p *Problem, expected bool) {
	switch {
	case errors.As(err, &p):
		return p, true
	case errors.Is(err, ttp.ErrPage):
		return &Problem{
			Status: http.StatusUnprocessableEntity, Detail: "a parameter is wrong",
			Faults: []Fault{{"after", "want what the page before named as the next"}},
		}, true
	case ttp.IsPermanent(err):
		return &Problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}, true
	}
	return &Problem{Status: http.StatusServiceUnavailable, Detail: "the database does not answer; the log says why", Cause: err}, false
}
