package bus_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/bus"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a stream that is missing":   {&bus.MissingStreamError{Stream: "S"}, ""},
		"a right that is missing":    {nats.ErrPermissionViolation, "this right"},
		"a certificate of theirs":    {&tls.CertificateVerificationError{Err: errors.New("expired")}, "--nats-ca"},
		"a certificate of ours":      {alert(t), "--nats-cert"},
		"what the library calls TLS": {nats.ErrTLS, "--nats-cert"},
		"a wrong password":           {nats.ErrAuthorization, "--nats-creds"},
		"a user that was revoked":    {nats.ErrAuthRevoked, "--nats-creds"},
		"no JetStream":               {jetstream.ErrJetStreamNotEnabled, "enable JetStream"},
		"an error of JetStream":      {&jetstream.APIError{Code: 500}, "the server's log"},
		"nobody there":               {errors.New("connection refused"), "check that the NATS server runs"},
	} {
		if got := bus.Explain(fmt.Errorf("wrapped: %w", c.err)); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := bus.Explain(nil); got != "" {
		t.Errorf("nil: %q", got)
	}
}

// alert is the error of a client whom the other side of TLS refuses.
func alert(t *testing.T) error {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	go func() { _ = tls.Server(there, &tls.Config{MinVersion: tls.VersionTLS12}).Handshake() }() // without a certificate
	return tls.Client(here, &tls.Config{ServerName: "x", MinVersion: tls.VersionTLS12}).Handshake()
}
