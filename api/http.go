package api

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"go.uber.org/zap"
)

// Root is what every path of the API begins with.
const Root = "/api/v1/ttp/"

// Handler serves the API and the page over HTTP. Its fields are set before it
// is used; it is safe for concurrent use.
type Handler struct {
	Service *Service
	Feed    *Feed // nil: nothing is announced live
	Guard   Guard

	once sync.Once
	mux  *http.ServeMux
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(h.route)
	for name, value := range securityHeaders {
		w.Header().Set(name, value)
	}
	h.mux.ServeHTTP(w, r)
}

// securityHeaders keep what attackers wrote from being more than text, even
// where the page has a fault.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"X-Frame-Options":              "DENY",
}

// route makes the table of paths: the page is open to all, as it holds nothing;
// what is below Root needs the guard's consent.
func (h *Handler) route() {
	api := http.NewServeMux()
	for _, e := range h.Service.Endpoints() {
		api.HandleFunc("GET "+Root+e.Path, func(w http.ResponseWriter, r *http.Request) { h.ask(w, r, e) })
	}
	api.HandleFunc("GET "+Root+"openapi.json", serveOpenAPI)
	if h.Feed != nil {
		api.HandleFunc("GET "+Root+"events", h.Feed.serve)
	}
	api.Handle("POST "+Root+"rules/{rule_id}/state", h.Guard.Admin(http.HandlerFunc(h.setState)))
	api.Handle("DELETE "+Root+"rules/{rule_id}/state", h.Guard.Admin(http.HandlerFunc(h.dropState)))

	h.mux = http.NewServeMux()
	h.mux.Handle(Root, h.Guard.Reader(problems(api)))
	h.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, &Problem{Status: http.StatusNotFound, Detail: "there is nothing here"})
	})
	h.mux.Handle("GET /{$}", page("index.html"))
	files, _ := fs.Glob(pageFiles, "page/*") // the pattern is well formed
	for _, f := range files {
		h.mux.Handle("GET /"+f, page(f[len("page/"):]))
	}
}

// ask answers a question that came over HTTP.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, e Endpoint) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		writeProblem(w, &Problem{Status: http.StatusUnprocessableEntity, Detail: "the query is not of the form name=value&…"})
		return
	}
	for _, name := range e.pathParameters() {
		if values.Has(name) {
			writeProblem(w, &Problem{Status: http.StatusUnprocessableEntity, Detail: "a parameter is wrong", Faults: []Fault{{name, "stands in the path"}}})
			return
		}
		values.Set(name, r.PathValue(name))
	}
	answer, err := h.Service.Ask(r.Context(), e, values)
	if err != nil {
		h.writeError(w, err)
		return
	}
	if answer.Next != "" {
		query := r.URL.Query()
		query.Set("after", answer.Next)
		w.Header().Set("Link", "<"+r.URL.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
	}
	writeJSON(w, answer.Body)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func (h *Handler) writeError(w http.ResponseWriter, err error) {
	problem, expected := problemOf(err)
	if !expected {
		h.Service.log().Warn("request not answered", zap.Error(err))
	}
	writeProblem(w, problem)
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // the client may have gone
}

// problems makes JSON problems of the texts that the table of paths itself
// answers with: 404, 405.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &status{header: w.Header()}
		mux.ServeHTTP(probe, r)
		detail := "there is nothing here; " + Root + "openapi.json lists what there is"
		if probe.code == http.StatusMethodNotAllowed {
			detail = "want " + w.Header().Get("Allow")
		}
		writeProblem(w, &Problem{Status: orDefault(probe.code, http.StatusNotFound), Detail: detail})
	})
}

// status takes an answer for its code.
type status struct {
	header http.Header
	code   int
}

// Header implements [http.ResponseWriter].
func (s *status) Header() http.Header { return s.header }

// Write implements [http.ResponseWriter].
func (s *status) Write(data []byte) (int, error) { return len(data), nil }

// WriteHeader implements [http.ResponseWriter].
func (s *status) WriteHeader(code int) { s.code = code }
