package bus

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// identity are the options that say who we are. conn is where the connection
// will be once it is made.
func (c *Connection) identity(conn *atomic.Pointer[nats.Conn]) ([]nats.Option, error) {
	var opts []nats.Option
	if c.CredsFile != "" && c.NKeyFile != "" {
		return nil, errors.New("a credentials file and an NKEY exclude each other")
	}
	if c.CredsFile != "" {
		if _, err := os.Stat(c.CredsFile); err != nil {
			return nil, fmt.Errorf("NATS credentials: %w", err)
		}
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		opt, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("NKEY seed in %s: %w", c.NKeyFile, err)
		}
		opts = append(opts, opt, nats.SetCustomDialer(&nkeyDialer{file: c.NKeyFile, conn: conn}))
	}
	secure, err := c.tls()
	return append(opts, secure...), err
}

// tls are the options of an encrypted connection.
func (c *Connection) tls() (opts []nats.Option, err error) {
	if c.CAFile != "" {
		opts = append(opts, checked(nats.RootCAs(c.CAFile), &err))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a client certificate and its key go together")
	}
	if c.CertFile != "" {
		opts = append(opts, checked(nats.ClientCert(c.CertFile, c.KeyFile), &err))
	}
	if c.TLSImmediate {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, err
}

// checked applies opt to nothing, to learn early whether its files are good.
func checked(opt nats.Option, failed *error) nats.Option {
	*failed = cmp.Or(*failed, opt(new(nats.Options)))
	return opt
}

// login takes user and password out of the URL: those in a URL are kept by the
// library for ever, those from these functions are asked for on each connect.
func (c *Connection) login() (servers string, opts []nats.Option, err error) {
	list := strings.Split(cmp.Or(c.URL, nats.DefaultURL), ",")
	var first *url.Userinfo
	for i, s := range list {
		u, err := parseServer(s)
		if err != nil {
			return "", nil, err
		}
		if first == nil {
			first = u.User
		}
		u.User = nil
		list[i] = u.String()
	}
	if first == nil && c.Renew == nil {
		return strings.Join(list, ","), nil, nil
	}
	l := &login{renew: c.Renew, last: first}
	return strings.Join(list, ","), []nats.Option{nats.UserInfoHandler(l.user), nats.TokenHandler(l.token)}, nil
}

func parseServer(s string) (*url.URL, error) {
	if s = strings.TrimSpace(s); !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	return url.Parse(s)
}

// login answers the library's questions of who we are. It asks them one after
// the other, user first, from one goroutine at a time.
type login struct {
	renew func() (string, error)
	last  *url.Userinfo // nil means nobody
}

func (l *login) user() (user, password string) {
	if l.renew != nil {
		l.refresh()
	}
	if password, ok := l.last.Password(); ok {
		return l.last.Username(), password
	}
	return "", ""
}

// token returns the user if it has no password: that is how URLs hold tokens.
func (l *login) token() string {
	if _, ok := l.last.Password(); ok {
		return ""
	}
	return l.last.Username()
}

// refresh keeps the last one if there is no better: a file may be just being
// replaced.
func (l *login) refresh() {
	text, err := l.renew()
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(text, ",")
	if u, err := parseServer(first); err == nil {
		l.last = u.User
	}
}

// nkeyDialer reads the seed again before it connects. The library reads it for
// each signature, but the public key, which is sent along, once only.
type nkeyDialer struct {
	file string
	conn *atomic.Pointer[nats.Conn] // nil until the first connection is made
}

// Dial is called by the library with the connection locked, which is what
// allows to change its options.
func (d *nkeyDialer) Dial(network, address string) (net.Conn, error) {
	if nc := d.conn.Load(); nc != nil {
		if opt, err := nats.NkeyOptionFromSeed(d.file); err == nil {
			_ = opt(&nc.Opts) // fails for JWTs only
		}
	}
	return (&net.Dialer{Timeout: answerWithin}).Dial(network, address)
}
