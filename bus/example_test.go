package bus_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"ttp-worker/bus"
	"ttp-worker/internal/embedded"
)

func Example() {
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := embedded.Start(embedded.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()

	b, err := bus.Connect(bus.Options{Connection: bus.Connection{InProcess: server}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ctx := context.Background()
	if err := b.Provision(ctx, bus.Storage{}); err != nil {
		log.Fatal(err)
	}
	if err := b.Publish(ctx, bus.Message{Subject: "attacker.command", Data: []byte(`{"payload":{}}`)}); err != nil {
		log.Fatal(err)
	}

	lane := b.NewSource(bus.Batch{})
	defer func() { _ = lane.Close() }()
	batch, err := lane.Fetch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range batch {
		fmt.Println(d.Subject(), d.Meta().Sequence)
		if err := d.AckSync(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output: attacker.command 1
}
