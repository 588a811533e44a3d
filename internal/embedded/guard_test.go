package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/embedded"
)

// TestServer_comesBackAfterItCouldNotWrite takes the directory of a stream
// away for a while, which to the server is an error of the disk like a full
// one.
func TestServer_comesBackAfterItCouldNotWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := run(t, embedded.Options{Dir: dir})
	js := dial(t, "", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	send := func(data []byte) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "s", data)
		return err
	}
	if err := send([]byte("1")); err != nil {
		t.Fatal(err)
	}
	messages := filepath.Join(dir, "jetstream", "$G", "streams", "S", "msgs")
	if err := os.Rename(messages, messages+"-away"); err != nil {
		t.Fatal(err)
	}
	// A new block of the stream cannot be made: an error, once, and from then
	// on nothing is taken.
	deadline := time.Now().Add(20 * time.Second)
	for send(make([]byte, 6<<20)) == nil {
		if time.Now().After(deadline) {
			t.Fatal("messages are taken although there is no place for them")
		}
	}
	if err := os.Rename(messages+"-away", messages); err != nil {
		t.Fatal(err)
	}
	for send([]byte("2")) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the server does not take messages again")
		}
	}
}
