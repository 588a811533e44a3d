package bus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ttp-worker/bus"
	"ttp-worker/ttp"
)

func TestPublish_together(t *testing.T) {
	t.Parallel()
	list := func(first, n int) (list []ttp.Announcement) {
		for i := range n {
			list = append(list, announcement(fmt.Sprint("id", first+i)))
		}
		return list
	}
	publish := func(t *testing.T, b *bus.Bus, list []ttp.Announcement) {
		t.Helper()
		done, err := b.NewPublisher().Publish(t.Context(), list)
		if err != nil || len(done) != len(list) {
			t.Fatalf("done %d of %d, %v", len(done), len(list), err)
		}
	}
	batched := func(t *testing.T, f *fixture) (n int) {
		t.Helper()
		for _, m := range f.stored(t, "TTP") {
			if m.Header.Get("Nats-Batch-Id") != "" {
				n++
			}
		}
		return n
	}

	t.Run("more than a batch may have are taken in several, each message once", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Together: true})
		publish(t, f.bus, list(0, 400))
		if all, n := len(f.stored(t, "TTP")), batched(t, f); all != 1200 || n != all {
			t.Errorf("%d messages, %d of them in batches", all, n)
		}
		traced := announcement("traced")
		traced.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		publish(t, f.bus, []ttp.Announcement{traced})
		if last := f.stored(t, "TTP")[1200]; last.Subject != "ttp.tagged" || last.Header.Get("traceparent") != traced.TraceParent {
			t.Errorf("the trace is lost: %v", last.Header)
		}
	})

	t.Run("what the stream knows already is done, and the others are, too", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Together: true})
		publish(t, f.bus, list(0, 3))
		publish(t, f.bus, list(2, 3))
		if got := len(f.stored(t, "TTP")); got != 5*3 {
			t.Errorf("%d messages, want 15", got)
		}
	})

	t.Run("a stream that takes no batches gets them one by one, until it is made so", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		b := f.connect(t, bus.Options{Together: true})
		publish(t, b, list(0, 2))
		if all, n := len(f.stored(t, "TTP")), batched(t, f); all != 6 || n != 0 {
			t.Errorf("%d messages, %d of them in batches", all, n)
		}
		if err := b.Provision(t.Context(), bus.Storage{}); err != nil {
			t.Fatal(err)
		}
		publish(t, b, list(2, 2))
		if n := batched(t, f); n != 6 {
			t.Errorf("%d messages in batches, want 6", n)
		}
	})

	t.Run("one that is too large does not keep the others back", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Together: true})
		some := list(0, 3)
		huge := some[1].Tags[0]
		huge.UUID = strings.Repeat("u", 9<<20)
		some[1].Tags = append(some[1].Tags, huge)
		done, err := f.bus.NewPublisher().Publish(t.Context(), some)
		if !ttp.IsPermanent(err) || !slices.Equal(done, []string{"id0", "id2"}) {
			t.Errorf("done %q, %v", done, err)
		}
	})
}
