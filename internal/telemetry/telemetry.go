// Package telemetry sends traces of the worker's batches to an OpenTelemetry
// collector: a span for each batch, one below it for each stage, and links to
// the traces that its messages belong to. There are ids and counts in them and
// nothing that a sensor sent.
package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"ttp-worker/worker"
)

// Tracer implements [worker.Tracer].
type Tracer struct {
	provider *trace.TracerProvider
	spans    api.Tracer
}

var _ worker.Tracer = (*Tracer)(nil)

// New returns a tracer that sends to the collector at address, by OTLP over
// HTTP: http://127.0.0.1:4318, to whose /v1/traces it posts. A collector that is away costs its spans and nothing
// else; failed is told, at any rate. The caller must Close it.
func New(ctx context.Context, address, version string, failed func(error)) (*Tracer, error) {
	target, err := url.JoinPath(address, "v1", "traces")
	if err != nil {
		return nil, fmt.Errorf("traces to a collector: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target))
	if err != nil {
		return nil, fmt.Errorf("traces to a collector: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed))
	return with(trace.WithBatcher(exporter), version), nil
}

func with(export trace.TracerProviderOption, version string) *Tracer {
	provider := trace.NewTracerProvider(export, trace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "ttp-worker"), attribute.String("service.version", version))))
	return &Tracer{provider: provider, spans: provider.Tracer("ttp-worker/worker")}
}

// Close sends what is left, for as long as ctx allows.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// maxLinks bounds the links of one batch; most sensors send none at all.
const maxLinks = 64

// Batch implements [worker.Tracer].
func (t *Tracer) Batch(ctx context.Context, messages []worker.Delivery) (traced context.Context, end func()) {
	options := []api.SpanStartOption{
		api.WithNewRoot(), api.WithSpanKind(api.SpanKindConsumer), api.WithLinks(links(messages)...),
		api.WithAttributes(attribute.Int("messaging.batch.message_count", len(messages)), attribute.String("messaging.system", "nats")),
	}
	if len(messages) > 0 {
		first, last := messages[0].Meta(), messages[len(messages)-1].Meta()
		options = append(options, api.WithAttributes(
			attribute.String("messaging.destination.name", first.Stream),
			attribute.Int64("ttp.sequence.first", int64(first.Sequence)), //nolint:gosec // no stream gets that far
			attribute.Int64("ttp.sequence.last", int64(last.Sequence)),   //nolint:gosec // no stream gets that far
		))
	}
	ctx, span := t.spans.Start(ctx, "batch", options...)
	return ctx, func() { span.End() }
}

// Stage implements [worker.Tracer].
func (t *Tracer) Stage(ctx context.Context, name string, start, end time.Time) {
	_, span := t.spans.Start(ctx, name, api.WithTimestamp(start))
	span.End(api.WithTimestamp(end))
}

// links returns the traces that messages belong to, each once.
func links(messages []worker.Delivery) (list []api.Link) {
	seen := make(map[string]bool)
	for _, m := range messages {
		parent := m.Meta().TraceParent
		if parent == "" || seen[parent] {
			continue
		}
		if len(list) == maxLinks {
			break
		}
		seen[parent] = true
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
		if sc := api.SpanContextFromContext(ctx); sc.IsValid() {
			list = append(list, api.Link{SpanContext: sc})
		}
	}
	return list
}
