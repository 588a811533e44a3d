package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ttp-worker/api"
	"ttp-worker/bus"
	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// pathValues fill in the paths of the questions.
var pathValues = map[string]string{"{id}": readIdentity, "{technique}": "T1083"}

// TestAnswers_areTheSameOnTheBusAndOverHTTP puts every sort of question, with
// and without filters and with a fault, in both ways.
func TestAnswers_areTheSameOnTheBusAndOverHTTP(t *testing.T) {
	db, err := sink.Open(readDB(t), sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	service := &api.Service{Store: db, Rules: func(context.Context) ([]api.Rule, error) {
		return []api.Rule{{ID: "R1", Version: 1, Kinds: []ttp.Kind{ttp.Command}, Techniques: []api.RuleEmits{}}}, nil
	}}
	overHTTP := httptest.NewServer(&api.Handler{Service: service})
	t.Cleanup(overHTTP.Close)
	nc := serveOnBus(t, service)
	for _, e := range service.Endpoints() {
		for name, filters := range map[string]map[string]string{
			"all":     {},
			"some":    {"min_confidence": "0.5", "since": "1h", "tactic": "discovery"},
			"few":     {"limit": "1"},
			"a fault": {"min_confidence": "2", "nonsense": "1"},
		} {
			query, request := url.Values{}, map[string]string{}
			for parameter, value := range filters {
				query.Set(parameter, value)
				request[parameter] = value
			}
			path := e.Path
			for parameter, value := range pathValues {
				if strings.Contains(path, parameter) {
					path = strings.ReplaceAll(path, parameter, value)
					request[strings.Trim(parameter, "{}")] = value
				}
			}
			_, want, err := httpGet(overHTTP.URL + api.Root + path + "?" + query.Encode())
			if err != nil {
				t.Fatal(err)
			}
			want = strings.TrimSpace(want)
			data, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := nc.Request("ttp-reads."+e.Name, data, 10*time.Second)
			if err != nil {
				t.Fatalf("%s, %s: %v", e.Name, name, err)
			}
			if string(got.Data) != want || len(want) < 2 {
				t.Errorf("%s, %s: on the bus %.300q, over HTTP %.300q", e.Name, name, got.Data, want)
			}
		}
	}
}

// serveOnBus answers questions on a server of the test's own.
func serveOnBus(t *testing.T, service *api.Service) *nats.Conn {
	t.Helper()
	s := natstest.Start(t)
	b, err := bus.Connect(bus.Options{Connection: bus.Connection{URL: s.URL()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	stop, err := b.Serve(t.Context(), busEndpoints(service))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
