package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// reload is one thing that is read again on SIGHUP. It either takes over what
// is new or leaves all as it was.
type reload struct {
	what string
	do   func(context.Context) error
}

// What is read again on SIGHUP, as metrics and logs call it.
const (
	reloadRules       = "rules"
	reloadLevel       = "log-level"
	reloadCredentials = "credentials"
)

// reloads are what the live worker reads again, in this order.
func reloads(o *runOptions, s *settings, l *live, level zap.AtomicLevel) []reload {
	return []reload{
		{reloadRules, l.rules.Reload},
		{reloadLevel, func(context.Context) error { return s.renewLevel(level) }},
		{reloadCredentials, func(context.Context) error { return l.reloadCredentials(o) }},
	}
}

// renewLevel reads the options again and takes over the log level, the only
// one that can change without a restart.
func (s *settings) renewLevel(level zap.AtomicLevel) error {
	again := &settings{cmd: s.cmd}
	var o runOptions
	for _, opt := range s.options {
		if opt.name == logLevelFlag {
			opt.set = func(values []string) error { o.logLevel = values[0]; return validLevel(values[0]) }
			again.options = append(again.options, opt)
		}
	}
	if err := again.read(); err != nil {
		return err
	}
	level.SetLevel(levelOf(o.logLevel))
	return nil
}

// reloadCredentials connects to NATS anew if what it is told there has changed:
// messages on their way would be lost with a connection, and come again only
// after the ack wait. The database's credentials are read for each of its
// connections, none of which lives long.
func (l *live) reloadCredentials(o *runOptions) error {
	if l.server != nil {
		return nil
	}
	if err := o.busOptions().Validate(); err != nil {
		return err
	}
	if o.renewDB != nil {
		if _, err := o.renewDB(); err != nil {
			return err
		}
	}
	now, err := o.natsCredentials()
	if err != nil || now == l.credentials {
		return err
	}
	if err := l.bus.Reconnect(); err != nil {
		return err
	}
	l.credentials = now
	return nil
}

// credentials tell whether what stands in files has changed.
type credentials [sha256.Size]byte

// natsCredentials reads all that a connection to NATS is made with.
func (o *runOptions) natsCredentials() (c credentials, err error) {
	sum := sha256.New()
	for _, name := range []string{o.natsCreds, o.natsNKey, o.natsCA, o.natsCert, o.natsKey} {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return c, err
		}
		fmt.Fprintf(sum, "%d %s", len(text), text)
	}
	if o.renewNATS != nil {
		url, err := o.renewNATS()
		if err != nil {
			return c, err
		}
		fmt.Fprint(sum, url)
	}
	return credentials(sum.Sum(nil)), nil
}

// reloadOnHangup reloads on each SIGHUP until stop is called. One that fails
// leaves what it is about as it was and does not keep the others from it.
func (l *live) reloadOnHangup(ctx context.Context, log *zap.Logger, list []reload) (stop func()) {
	hangups, ended := make(chan os.Signal, 1), make(chan struct{}) // the kernel sends, stop closes; the goroutine closes
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(ended)
		for range hangups {
			notifyReloading(log)
			l.reload(ctx, log, list)
			notify(log, daemon.SdNotifyReady)
		}
	}()
	return func() { signal.Stop(hangups); close(hangups); <-ended }
}

func (l *live) reload(ctx context.Context, log *zap.Logger, list []reload) {
	for _, r := range list {
		err := r.do(ctx)
		l.metrics.reloaded(r.what, err)
		if err != nil {
			log.Error("not reloaded, works on as it was; correct the cause and reload again", zap.String("what", r.what), zap.Error(err))
			continue
		}
		log.Info("reloaded", zap.String("what", r.what))
	}
}

// renewed returns how to read an option again whose value stands in a file, or
// nil if it does not.
func (s *settings) renewed(name string) func() (string, error) {
	from := s.given[name]
	if len(from.values) != 1 {
		return nil
	}
	value := from.values[0]
	if _, inFile := secretFile(value); !inFile {
		return nil
	}
	return func() (string, error) { return resolve(value) }
}
