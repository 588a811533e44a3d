package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"ttp-worker/ttp"
)

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// Service answers questions, whatever way they come. Its fields are set before
// it is used; it is safe for concurrent use.
type Service struct {
	Store  Store
	Rules  func(ctx context.Context) ([]Rule, error) // nil: no rules are known
	States RuleStates                                // nil: nobody may change the state of a rule
	Log    *zap.Logger                               // nil: none

	// Reads limits how many questions are put to the store at once, so that
	// they leave it to the worker; 0 means 3. AnswerWithin is how long one may
	// take, waiting included; 0 means 20s.
	Reads        int
	AnswerWithin time.Duration

	once  sync.Once
	slots chan struct{} // who reads holds one
}

// Answer is what there is to say.
type Answer struct {
	Body any    // to be sent as JSON
	Next string // names the page that follows, "" if there is none
}

// Endpoint is one sort of question.
type Endpoint struct {
	Name string // of letters and dashes, "techniques-by-identity"
	Path string // below /api/v1/ttp/, as a pattern of net/http
	Does string // in a few words

	parameters  []string // beside those in the path
	scope       ttp.ScopeKind
	most, usual int
	answer      func(s *Service, ctx context.Context, q Question) (Answer, error)
}

// Endpoints returns the sorts of questions that there are.
func (s *Service) Endpoints() []Endpoint {
	list := slices.Concat(
		perScope(Endpoint{Name: "techniques", Does: "the techniques and how often", answer: techniques, parameters: append([]string{"limit"}, filterNames...), most: maxRollups, usual: maxRollups}, "techniques", "by-"),
		perScope(Endpoint{Name: "tags", Does: "the tags with their evidence, latest first", answer: tags, parameters: append([]string{"limit", "after"}, filterNames...), most: maxTags, usual: defaultTags}, "tags", "tags/by-"),
		perScope(Endpoint{Name: "navigator", Does: "an ATT&CK Navigator layer", answer: layer, parameters: append([]string{"domain"}, filterNames...), most: maxRollups, usual: maxRollups}, "export/navigator", "export/navigator/"),
		perScope(Endpoint{Name: "stix", Does: "a STIX 2.1 bundle", answer: bundle, parameters: filterNames, most: maxRollups, usual: maxRollups}, "export/stix", "export/stix/"),
	)
	return append(
		list,
		Endpoint{Name: "tags-of-technique", Path: "tags/{technique}", Does: "the fleet's tags of one technique", answer: tags, parameters: append([]string{"limit", "after"}, filterNames...), most: maxTags, usual: defaultTags},
		Endpoint{Name: "phases-by-identity", Path: "phases/by-identity/{id}", Does: "what an identity did on which decky, earliest first", scope: ttp.ByIdentity, answer: phases, parameters: append([]string{"limit"}, filterNames...), most: maxRollups, usual: maxRollups},
		Endpoint{Name: "rules", Path: "rules", Does: "the rules and their states", answer: rules},
		Endpoint{Name: "matrix", Path: "matrix", Does: "the bundled ATT&CK catalogue", answer: func(*Service, context.Context, Question) (Answer, error) { return Answer{Body: NewMatrix()}, nil }},
	)
}

// perScope returns e for the fleet at path fleet and for every kind of scope at
// one that begins with before. Tags go by technique, too.
func perScope(e Endpoint, fleet, before string) []Endpoint {
	name := e.Name
	e.Path = fleet
	list := []Endpoint{e}
	for _, kind := range ttp.ScopeKinds {
		e.Name, e.scope, e.Path = name+"-by-"+string(kind), kind, before+string(kind)+"/{id}"
		list = append(list, e)
		if name == "tags" {
			e.Name, e.Path = e.Name+"-of-technique", e.Path+"/{technique}"
			list = append(list, e)
		}
	}
	return list
}

func orDefault[T comparable](v, usual T) T {
	var zero T
	if v == zero {
		return usual
	}
	return v
}

// Ask answers a question whose parameters, those in the path included, are
// values. An error is a [Problem].
func (s *Service) Ask(ctx context.Context, e Endpoint, values url.Values) (Answer, error) {
	allowed := slices.Concat(e.parameters, e.pathParameters())
	q, err := newQuestion(values, allowed, e.most, e.usual)
	if err != nil {
		return Answer{}, err
	}
	if e.scope != "" && q.Scope.ID == "" {
		return Answer{}, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a parameter is wrong", Faults: []Fault{{"id", "is missing"}}}
	}
	q.Scope.By = e.scope
	ctx, cancel := context.WithTimeout(ctx, orDefault(s.AnswerWithin, 20*time.Second))
	defer cancel()
	s.once.Do(func() { s.slots = make(chan struct{}, orDefault(s.Reads, 3)) })
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Answer{}, &Problem{Status: http.StatusServiceUnavailable, Detail: "too many questions at once"}
	}
	answer, err := e.answer(s, ctx, q)
	if err == nil {
		return answer, nil
	}
	problem, expected := problemOf(err)
	if !expected && !errors.Is(err, context.Canceled) {
		s.log().Warn("question not answered", zap.String("endpoint", e.Name), zap.Error(err))
	}
	return Answer{}, problem
}

func (s *Service) log() *zap.Logger {
	if s.Log == nil {
		return zap.NewNop()
	}
	return s.Log
}

// pathParameters are the names in braces of the path.
func (e *Endpoint) pathParameters() (names []string) {
	for _, m := range pathParameter.FindAllStringSubmatch(e.Path, -1) {
		names = append(names, m[1])
	}
	return names
}

func techniques(s *Service, ctx context.Context, q Question) (Answer, error) {
	list, err := Techniques(ctx, s.Store, q)
	return Answer{Body: list}, err
}

func phases(s *Service, ctx context.Context, q Question) (Answer, error) {
	list, err := Phases(ctx, s.Store, q)
	return Answer{Body: list}, err
}

func tags(s *Service, ctx context.Context, q Question) (Answer, error) {
	list, next, err := Tags(ctx, s.Store, q)
	return Answer{list, next}, err
}

func layer(s *Service, ctx context.Context, q Question) (Answer, error) {
	l, err := Layer(ctx, s.Store, q)
	return Answer{Body: l}, err
}

func bundle(s *Service, ctx context.Context, q Question) (Answer, error) {
	b, err := Bundle(ctx, s.Store, q)
	return Answer{Body: b}, err
}

func rules(s *Service, ctx context.Context, _ Question) (Answer, error) {
	if s.Rules == nil {
		return Answer{Body: []Rule{}}, nil
	}
	list, err := s.Rules(ctx)
	if list == nil {
		list = []Rule{}
	}
	return Answer{Body: list}, err
}
