package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// Guard decides who may ask. Without a token everybody who calls this host by
// a name of the loopback may read, and nobody may change anything.
type Guard struct {
	Token      string // of those who may read; "": none is needed
	AdminToken string // of those who may also change the state of rules; "": nobody may
}

// The rights a caller may have.
type right int

const (
	none right = iota
	reader
	admin
)

// Reader lets through who may read.
func (g *Guard) Reader(next http.Handler) http.Handler { return g.require(reader, next) }

// Admin lets through who may change something.
func (g *Guard) Admin(next http.Handler) http.Handler { return g.require(admin, next) }

func (g *Guard) require(wanted right, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		has := g.right(r)
		switch {
		case has >= wanted:
			next.ServeHTTP(w, r)
		case has == none && g.Token == "" && !loopbackName(r.Host):
			// A page elsewhere could have its name lead here and read the answers.
			writeProblem(w, &Problem{Status: http.StatusForbidden, Detail: "without a token this server answers only when it is called 127.0.0.1, [::1] or localhost"})
		case has == none:
			w.Header().Set("WWW-Authenticate", `Bearer realm="ttp-worker"`)
			writeProblem(w, &Problem{Status: http.StatusUnauthorized, Detail: "want the header Authorization: Bearer TOKEN, with the token of --http-token"})
		default:
			writeProblem(w, &Problem{Status: http.StatusForbidden, Detail: "want the token of --http-admin-token"})
		}
	})
}

func (g *Guard) right(r *http.Request) right {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := strings.EqualFold(scheme, "Bearer") && token != ""
	isAdmin, isReader := same(token, g.AdminToken), same(token, g.Token)
	switch {
	case given && isAdmin:
		return admin
	case given && isReader, !given && g.Token == "" && loopbackName(r.Host):
		return reader
	}
	return none
}

// same compares without telling by its time where the texts differ. No token
// is the same as none.
func same(given, token string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && token != ""
}

// loopbackName reports whether the host of a request, with or without a port,
// is one that leads to this machine wherever it is resolved.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
