package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"ttp-worker/api"
	"ttp-worker/bus"
	"ttp-worker/tagger/rule"
	"ttp-worker/ttp"
)

// answerOptions say who may ask the live worker.
type answerOptions struct {
	http, httpToken, httpAdminToken string

	busReads bool
}

func (o *answerOptions) flags(s *settings) {
	s.text(&o.http, "http", "", "address of the page, the API, /healthz, /readyz and /metrics, such as 127.0.0.1:9464; empty means none", hostPort)
	s.token(&o.httpToken, "http-token", "what callers must show to read, as file:PATH or cred:NAME; required where --http is not the loopback")
	s.token(&o.httpAdminToken, "http-admin-token", "what callers must show to change the state of rules; empty means nobody may")
	s.flag(&o.busReads, "bus-reads", true, "answer questions on the bus, too (subjects ttp-reads.>)")
}

// check refuses to let everybody read who can reach this host.
func (o *answerOptions) check() error {
	if o.http == "" || o.httpToken != "" || onLoopback(o.http) {
		return nil
	}
	return errors.New("--http is not on the loopback: --http-token file:PATH is required")
}

func hostPort(addr string) error {
	if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
		return errors.New("want host:port")
	}
	return nil
}

// loopbackOnly refuses an address that others can reach.
func loopbackOnly(addr string) error {
	if err := hostPort(addr); err != nil || addr == "" {
		return err
	}
	if !onLoopback(addr) {
		return errors.New("only a loopback address, nobody has to log in there")
	}
	return nil
}

func onLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr) // checked with the options
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func notShort(token string) error {
	const shortest = 16
	if token != "" && len(token) < shortest {
		return errors.New("want at least 16 characters, such as those of openssl rand -hex 32")
	}
	return nil
}

// guard returns who may ask.
func (o *answerOptions) guard() api.Guard {
	return api.Guard{Token: o.httpToken, AdminToken: o.httpAdminToken}
}

// newService makes what answers questions, over HTTP and on the bus.
func (l *live) newService(log *zap.Logger) *api.Service {
	return &api.Service{Store: l.db, Rules: l.listRules, States: l.db, Log: log.Named("api")}
}

// newHandler makes what answers them over HTTP and shows the page.
func (l *live) newHandler(o *answerOptions) http.Handler {
	l.feed = &api.Feed{}
	return &api.Handler{Service: l.service, Feed: l.feed, Guard: o.guard()}
}

// answer tells the page what is announced, and answers questions on the bus,
// until stop is called.
func (l *live) answer(ctx context.Context, o *answerOptions, log *zap.Logger) (stop func()) {
	var stops []func()
	add := func(stop func(), err error) {
		if err != nil {
			log.Warn("not answering all questions, tagging goes on", zap.Error(err))
			return
		}
		stops = append(stops, stop)
	}
	if l.feed != nil {
		add(l.bus.Watch(ctx, "ttp.tagged", l.tell))
		stops = append(stops, l.countDays(ctx, log))
	}
	if o.busReads {
		add(l.bus.Serve(ctx, busEndpoints(l.service)))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// countDays lets the database count days gone by for the page, which shows the
// whole fleet first, until stop is called.
func (l *live) countDays(ctx context.Context, log *zap.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	counted := make(chan struct{}) // closed when the counting has ended
	go func() {
		defer close(counted)
		if err := l.db.CountDays(ctx); err != nil && ctx.Err() == nil {
			log.Warn("days gone by not counted, who asks for the whole fleet waits for it", zap.Error(err))
		}
	}()
	return func() {
		cancel()
		<-counted
	}
}

// tell passes on what was announced.
func (l *live) tell(_ string, data []byte) {
	env, err := ttp.ParseEnvelope(string(data))
	if err != nil {
		return // not ours: the worker's own are well formed
	}
	var tagged ttp.Tagged
	if err := tagged.UnmarshalJSON(env.Payload.AppendJSON(nil)); err == nil {
		l.feed.Tell(&tagged, time.Now())
	}
}

func busEndpoints(service *api.Service) (list []bus.Endpoint) {
	for _, e := range service.Endpoints() {
		list = append(list, bus.Endpoint{Name: e.Name, Does: e.Does, Answer: func(ctx context.Context, request []byte) bus.Reply {
			data, next, problem := service.AskJSON(ctx, e, request)
			if problem != nil {
				return bus.Reply{Data: problem.JSON(), Code: problem.Status, Why: problem.Detail}
			}
			return bus.Reply{Data: data, Next: next}
		}})
	}
	return list
}

// listRules returns the rules in use with what operators decided about them.
func (l *live) listRules(ctx context.Context) ([]api.Rule, error) {
	decided, err := l.db.RuleStates(ctx)
	if err != nil {
		return nil, err
	}
	infos := l.rules.Rules().Rules()
	list := make([]api.Rule, len(infos))
	for i := range infos {
		list[i] = newAPIRule(&infos[i])
		at := slices.IndexFunc(decided, func(s ttp.RuleState) bool { return s.RuleID == infos[i].ID })
		if at >= 0 && decided[at].Active(time.Now()) {
			state := api.NewRuleState(decided[at])
			list[i].State = &state
		}
	}
	return list, nil
}

func newAPIRule(info *rule.Info) api.Rule {
	r := api.Rule{
		ID: info.ID, Version: info.Version, Title: info.Title, Status: string(info.Status), Reason: info.Reason,
		Kinds: append([]ttp.Kind{}, info.Kinds...), Techniques: make([]api.RuleEmits, len(info.Emits)),
	}
	for i, e := range info.Emits {
		r.Techniques[i] = api.RuleEmits{Tactic: e.Tactic, Technique: e.Technique, Confidence: e.Confidence}
		if e.SubTechnique != "" {
			r.Techniques[i].SubTechnique = &info.Emits[i].SubTechnique
		}
	}
	return r
}
