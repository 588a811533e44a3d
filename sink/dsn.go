package sink

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// open sets the dialect and the pools that dsn asks for.
func (d *DB) open(dsn string, maxOpen int, renew func() (string, error)) error {
	switch scheme, rest, _ := strings.Cut(dsn, "://"); scheme {
	case "mysql", "mariadb":
		return d.openMySQL(dsn, maxOpen, renew)
	case "sqlite":
		return d.openSQLite(rest, maxOpen)
	default:
		return errors.New("want mysql://user:pass@host:port/name or sqlite://PATH")
	}
}

// address is where a MySQL server is and what to say to it.
type address struct {
	user, password string
	network, addr  string // "tcp" and host:port, or "unix" and a path
	database       string
	options        url.Values
}

// parseAddress takes a mysql URL apart. Its errors don't quote the URL, nor
// what net/url says of it: a password with a "/" or "#" in it ends up in there.
func parseAddress(dsn string) (address, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return address{}, errors.New("not a URL; in the user's name and password every character but " +
			"letters and digits must be percent-encoded")
	}
	a := address{network: "tcp", addr: hostPort(u), user: u.User.Username()}
	a.password, _ = u.User.Password()
	a.database = strings.TrimPrefix(u.Path, "/")
	if a.database == "" || strings.Contains(a.database, "/") {
		return address{}, errors.New("no database name: want mysql://user:pass@host:port/name")
	}
	if u.Fragment != "" {
		return address{}, errors.New(`a "#" must be written %23`)
	}
	if a.options, err = url.ParseQuery(u.RawQuery); err != nil {
		return address{}, errors.New("the options behind the question mark are not of the form name=value&…")
	}
	if socket := a.options.Get("socket"); socket != "" {
		a.network, a.addr = "unix", socket
		a.options.Del("socket")
	}
	return a, nil
}

func hostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "3306"
	}
	return net.JoinHostPort(host, port)
}
