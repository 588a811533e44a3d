package bus

import (
	"cmp"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// inboxPrefix is where answers to a worker arrive. It is fixed, so that an
// account can be allowed this and nothing else.
const inboxPrefix = "_INBOX_ttp-worker"

// Connection says how to reach the server and as whom. All files are read
// again on each reconnect, so that what is in them can be replaced while the
// program runs.
type Connection struct {
	URL  string // several with commas between; empty means nats://127.0.0.1:4222
	Name string // what the server's operator sees; empty means ttp-worker

	// Inbox is the beginning of the subjects that answers arrive on; empty
	// means _INBOX_ttp-worker, which is for workers alone.
	Inbox string

	// Renew, if set, is asked for URL before each attempt to connect. The user
	// and the password, or the token, of its first server are then used; the
	// servers stay those of URL.
	Renew func() (url string, err error)

	// InProcess is a server in this process, used instead of URL.
	InProcess interface{ InProcessConn() (net.Conn, error) }

	CredsFile string // .creds: a JWT and its seed
	NKeyFile  string // the seed

	// TLS: files in PEM. A server that asks for TLS gets it without these, too.
	CAFile       string // the authorities to trust, instead of the system's
	CertFile     string // the client's, with KeyFile
	KeyFile      string
	TLSImmediate bool // the server speaks TLS from the first byte
}

// dial returns a connection that is there or is being tried. away says which,
// refused what the server does not let us do.
func (c *Connection) dial(log *zap.Logger, away, refused *outage) (*nats.Conn, error) {
	opts := append(steady(c.Name, c.Inbox), c.observed(log, away, refused)...)
	conn := new(atomic.Pointer[nats.Conn])
	identity, err := c.identity(conn)
	if err != nil {
		return nil, err
	}
	opts = append(opts, identity...)
	servers, login, err := c.login()
	if err != nil {
		return nil, err
	}
	opts = append(opts, login...)
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	nc, err := nats.Connect(servers, opts...)
	conn.Store(nc)
	return nc, err
}

// server is where nc is connected to. In process the library has an address
// that nobody listens on.
func (c *Connection) server(nc *nats.Conn) string {
	if c.InProcess != nil {
		return "in this process"
	}
	return nc.ConnectedUrlRedacted()
}

// isLogin reports whether err says that the server does not let us in.
func isLogin(err error) bool {
	for _, refused := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported,
	} {
		if errors.Is(err, refused) {
			return true
		}
	}
	return false
}

// steady are the options that let a connection outlive the server: the
// library's defaults give up after two minutes, notice a dead peer after four
// and send old acks late.
func steady(name, inbox string) []nats.Option {
	return []nats.Option{
		nats.Name(cmp.Or(name, "ttp-worker")),
		nats.CustomInboxPrefix(cmp.Or(inbox, inboxPrefix)),
		nats.Timeout(answerWithin),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), // credentials may be being rotated
	}
}

// observed are the handlers that log what happens to the connection. They run
// on the library's goroutines, any number of times a second.
func (c *Connection) observed(log *zap.Logger, away, refused *outage) []nats.Option {
	trouble := newOutage(log, "NATS client reports an error", "")
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) {
			away.recovered()
			log.Info("connected to NATS", zap.String("server", c.server(nc)), zap.String("version", nc.ConnectedServerVersion()))
		}),
		nats.ReconnectHandler(func(*nats.Conn) { away.recovered() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if !errors.Is(err, nats.ErrNoServers) { // the next attempt says why
				away.failed(err)
			}
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if err == nil && nc.IsClosed() {
				return // we closed it
			}
			away.failed(cmp.Or(err, nats.ErrDisconnected))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused.failed(err)
				return
			}
			if isLogin(err) {
				away.failed(err) // the library tells that here, and of the attempt to connect nothing
				return
			}
			trouble.failed(err)
		}),
		nats.LameDuckModeHandler(func(*nats.Conn) { log.Info("NATS server is about to stop") }),
	}
}
