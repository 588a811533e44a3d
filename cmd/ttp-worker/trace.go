package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"ttp-worker/internal/telemetry"
)

func httpURL(text string) error {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return errors.New("want http://host:port or https://host:port")
	}
	return nil
}

// trace sends a trace of each batch to the collector at address, if there is
// one, until stop is called.
func (l *live) trace(ctx context.Context, address string, log *zap.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	now := rate.Sometimes{First: 1, Interval: time.Minute}
	tracer, err := telemetry.New(ctx, address, version, func(err error) {
		now.Do(func() {
			log.Warn("traces not sent, nothing else suffers; is the collector of --otlp there?", zap.Error(err))
		})
	})
	if err != nil {
		return nil, err
	}
	l.worker.Tracer = tracer
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = tracer.Close(ctx) // was said by the function above
	}, nil
}
