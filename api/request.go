package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"ttp-worker/ttp"
)

// AskJSON answers a question whose parameters are the members of a JSON
// object; an empty request has none. It returns the answer as JSON and what
// names the page after it. If there is none it returns a [Problem] instead.
func (s *Service) AskJSON(ctx context.Context, e Endpoint, request []byte) (data []byte, next string, problem *Problem) {
	values, problem := valuesOf(request)
	if problem != nil {
		return nil, "", problem
	}
	answer, err := s.Ask(ctx, e, values)
	if errors.As(err, &problem) {
		return nil, "", problem
	}
	if data, err = json.Marshal(answer.Body); err != nil {
		return nil, "", &Problem{Status: http.StatusInternalServerError, Detail: "the answer cannot be written", Cause: err}
	}
	return data, answer.Next, nil
}

// valuesOf returns the members of a JSON object as parameters.
func valuesOf(request []byte) (url.Values, *Problem) {
	if len(request) == 0 {
		return nil, nil
	}
	o, err := ttp.ParseObject(string(request))
	if err != nil {
		return nil, &Problem{Status: http.StatusUnprocessableEntity, Detail: "want a JSON object of parameters, or nothing"}
	}
	values := url.Values{}
	for _, m := range o {
		text, ok := m.Value.Scalar()
		if !ok {
			return nil, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a parameter is wrong", Faults: []Fault{{clip(m.Name, 64), "want a text or a number"}}}
		}
		values.Add(m.Name, text)
	}
	return values, nil
}
