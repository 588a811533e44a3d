package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/bus"
	"ttp-worker/ttp"
)

func TestEnsureConsumer(t *testing.T) {
	t.Parallel()

	t.Run("it makes the consumer", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Prefix: "decnet.", Consumer: bus.Consumer{AckWait: 7 * time.Second, Version: "v1"}})
		ensure(t, f.bus)
		got := f.consumer(t).Config
		if len(got.FilterSubjects) != 14 || !strings.HasPrefix(got.FilterSubjects[0], "decnet.") {
			t.Errorf("filter subjects %q", got.FilterSubjects)
		}
		if got.AckPolicy != jetstream.AckExplicitPolicy || got.DeliverPolicy != jetstream.DeliverAllPolicy {
			t.Errorf("%s, %v", got.AckPolicy, got.DeliverPolicy)
		}
		if got.AckWait != 7*time.Second || got.MaxDeliver != -1 || got.MaxAckPending != 100_000 || len(got.BackOff) > 0 {
			t.Errorf("ack wait %s, max deliver %d, max ack pending %d, backoff %v", got.AckWait, got.MaxDeliver, got.MaxAckPending, got.BackOff)
		}
		if v := got.Metadata["ttp-worker-version"]; v != "v1" {
			t.Errorf("version %q", v)
		}
	})

	t.Run("it brings what exists up to date and leaves the rest", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{AckWait: 9 * time.Second, Version: "v2"}})
		f.createConsumer(t, jetstream.ConsumerConfig{
			Durable: "ttp-worker", Description: "theirs", DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
			BackOff: []time.Duration{time.Second}, MaxDeliver: 5, MaxAckPending: 7, MaxWaiting: 99, FilterSubject: "attacker.command",
			Metadata: map[string]string{"owner": "them"},
		})
		ensure(t, f.bus)
		got := f.consumer(t).Config
		if got.AckWait != 9*time.Second || got.MaxDeliver != -1 || got.MaxAckPending != 100_000 || len(got.BackOff) > 0 || len(got.FilterSubjects) != 14 {
			t.Errorf("not up to date: %+v", got)
		}
		if got.Description != "theirs" || got.DeliverPolicy != jetstream.DeliverNewPolicy || got.MaxWaiting != 99 || got.Metadata["owner"] != "them" {
			t.Errorf("changed: %+v", got)
		}
		if v := got.Metadata["ttp-worker-version"]; v != "v2" {
			t.Errorf("version %q", v)
		}
	})

	t.Run("one that is as it should be is not touched", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{Consumer: bus.Consumer{Version: "v1"}})
		ensure(t, f.bus)
		updates, err := f.nc.SubscribeSync("$JS.API.CONSUMER.CREATE.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		ensure(t, f.connect(t, bus.Options{Consumer: bus.Consumer{Version: "v2"}}))
		if msg, err := updates.NextMsg(100 * time.Millisecond); err == nil {
			t.Errorf("updated by %s", msg.Subject)
		}
	})

	t.Run("several processes at once are fine", func(t *testing.T) {
		t.Parallel()
		f := start(t, bus.Options{})
		atOnce(t, func(i int) func() error {
			b := f.connect(t, bus.Options{Consumer: bus.Consumer{AckWait: time.Duration(10+i) * time.Second}})
			return func() error { return b.EnsureConsumer(t.Context()) }
		})
	})

	t.Run("without a stream it says how to get one", func(t *testing.T) {
		t.Parallel()
		f := bare(t, bus.Options{Telemetry: "EVENTS"})
		err := f.bus.EnsureConsumer(t.Context())
		var missing *bus.MissingStreamError
		if !errors.As(err, &missing) || missing.Stream != "EVENTS" || !strings.Contains(err.Error(), "--provision") {
			t.Errorf("got %v", err)
		}
	})

	for name, test := range map[string]struct {
		cfg  jetstream.ConsumerConfig
		want string
	}{
		"one that acknowledges for others": {jetstream.ConsumerConfig{AckPolicy: jetstream.AckAllPolicy}, "ack policy is AckAll, need AckExplicit"},
		"one without acknowledgements":     {jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy}, "ack policy is AckNone, need AckExplicit"},
		"one without the messages":         {jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true}, "headers only"},
		"one that pushes":                  {jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, DeliverSubject: "to.me"}, "kind is push, need pull"},
	} {
		t.Run(name+" is refused with advice", func(t *testing.T) {
			t.Parallel()
			f := start(t, bus.Options{})
			test.cfg.Durable = "ttp-worker"
			f.createConsumer(t, test.cfg)
			err := f.bus.EnsureConsumer(t.Context())
			var drift *bus.DriftError
			if !errors.As(err, &drift) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "remove the consumer") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func ensure(t *testing.T, b *bus.Bus) {
	t.Helper()
	if err := b.EnsureConsumer(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) createConsumer(t *testing.T, cfg jetstream.ConsumerConfig) {
	t.Helper()
	var err error
	if cfg.DeliverSubject == "" {
		_, err = f.js.CreateConsumer(t.Context(), "TELEMETRY", cfg)
	} else {
		_, err = f.js.CreatePushConsumer(t.Context(), "TELEMETRY", cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLeastPrivilege runs the bus as a user who may do what a worker has to do
// and nothing else.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	admin := &server.User{Username: "admin", Password: "a"}
	worker := &server.User{Username: "worker", Password: "w", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.CONSUMER.INFO.TELEMETRY.ttp-worker", "$JS.API.CONSUMER.MSG.NEXT.TELEMETRY.ttp-worker", "$JS.ACK.>", "ttp.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_ttp-worker.>"}},
	}}
	url := serve(t, server.Options{Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, Users: []*server.User{admin, worker}})
	as := func(user, version string) *bus.Bus {
		return connectTo(t, strings.Replace(url, "//", "//"+user+"@", 1), bus.Options{Consumer: bus.Consumer{Version: version}})
	}
	manager := as("admin:a", "v1")
	if err := manager.Provision(t.Context(), bus.Storage{}); err != nil {
		t.Fatal(err)
	}
	ensure(t, manager)
	publish(t, manager, 0, 2)

	b := as("worker:w", "v2")
	batch := collect(t, source(t, b, bus.Batch{}), 2)
	bury(t, b, batch[0], "bad", nil)
	if err := batch[0].Reject("bad"); err != nil {
		t.Error(err)
	}
	if _, err := b.NewPublisher().Publish(t.Context(), []ttp.Announcement{announcement("id1")}); err != nil {
		t.Error(err)
	}
	ackAll(t, batch[1:])
}
