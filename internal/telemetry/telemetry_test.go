package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"ttp-worker/worker"
)

type message struct {
	worker.Delivery
	meta worker.Meta
}

func (m message) Meta() worker.Meta { return m.meta }

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTracer_oneTreeABatch(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	tracer := with(trace.WithSyncer(exporter), "v1")
	ctx, end := tracer.Batch(t.Context(), []worker.Delivery{
		message{meta: worker.Meta{Stream: "S", Sequence: 7, TraceParent: parent}},
		message{meta: worker.Meta{Stream: "S", Sequence: 8, TraceParent: parent}},
		message{meta: worker.Meta{Stream: "S", Sequence: 9, TraceParent: "nonsense"}},
	})
	start := time.Now().Add(-time.Second)
	tracer.Stage(ctx, "tag", start, start.Add(300*time.Millisecond))
	tracer.Stage(ctx, "write", start, start.Add(time.Second))
	end()

	spans := exporter.GetSpans()
	var names []string
	for _, s := range spans {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"tag", "write", "batch"}) {
		t.Fatalf("spans %q", names)
	}
	batch, tag := spans[2], spans[0]
	if batch.Parent.IsValid() || tag.Parent.SpanID() != batch.SpanContext.SpanID() || tag.EndTime.Sub(tag.StartTime) != 300*time.Millisecond {
		t.Errorf("batch %+v, tag %+v", batch, tag)
	}
	if len(batch.Links) != 1 || batch.Links[0].SpanContext.TraceID().String() != parent[3:35] {
		t.Errorf("links %+v", batch.Links)
	}
	var attributes []string
	for _, a := range batch.Attributes {
		attributes = append(attributes, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(attributes)
	want := []string{"messaging.batch.message_count=3", "messaging.destination.name=S", "messaging.system=nats", "ttp.sequence.first=7", "ttp.sequence.last=9"}
	if !slices.Equal(attributes, want) {
		t.Errorf("attributes %q, want %q", attributes, want)
	}
}

func TestTracer_boundsLinks(t *testing.T) {
	var messages []worker.Delivery
	for i := range 2 * maxLinks {
		messages = append(messages, message{meta: worker.Meta{TraceParent: fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)}})
	}
	if n := len(links(messages)); n != maxLinks {
		t.Errorf("%d links", n)
	}
}

func TestNew_sendsToTheCollector(t *testing.T) {
	paths := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	t.Cleanup(collector.Close)
	tracer, err := New(t.Context(), collector.URL, "v1", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	_, end := tracer.Batch(t.Context(), nil)
	end()
	if err := tracer.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-paths; got != "/v1/traces" {
		t.Errorf("sent to %s", got)
	}
}
