package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/go-sql-driver/mysql"
)

// The options of a dsn that name files of an encrypted connection, called as
// the mysql program calls them.
const (
	optionCA   = "ssl-ca"   // the authorities to trust, instead of the system's
	optionCert = "ssl-cert" // the client's certificate, with ssl-key
	optionKey  = "ssl-key"
)

// secureConfig returns what the ssl options ask for and removes them from a,
// or nil if there are none. The client's certificate is read again for each
// connection, so that it can be replaced while the program runs.
func secureConfig(a address) (*tls.Config, error) {
	ca, cert, key := a.options.Get(optionCA), a.options.Get(optionCert), a.options.Get(optionKey)
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	for _, o := range []string{optionCA, optionCert, optionKey} {
		a.options.Del(o)
	}
	host, _, _ := net.SplitHostPort(a.addr) // a socket has none
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if (cert == "") != (key == "") {
		return nil, errors.New("ssl-cert and ssl-key go together")
	}
	if cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("the client's certificate: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	if ca == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("the authorities to trust: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", ca)
	}
	return cfg, nil
}

// renewing lets each new connection use the user and the password that renew
// knows by then. If it knows none, those from before are tried: the file may
// be just being replaced.
func renewing(cfg *mysql.Config, renew func() (string, error)) error {
	if renew == nil {
		return nil
	}
	return cfg.Apply(mysql.BeforeConnect(func(_ context.Context, next *mysql.Config) error {
		dsn, err := renew()
		if err != nil {
			return nil
		}
		if a, err := parseAddress(dsn); err == nil {
			next.User, next.Passwd = a.user, a.password
		}
		return nil
	}))
}
