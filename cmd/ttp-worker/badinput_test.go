package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"ttp-worker/internal/testdb"
)

// secretText stands for what an attacker wrote; no log line may hold it.
const secretText = "hunter2-in-a-payload"

// command makes an attacker.command whose text ends in one that yields a tag.
func command(more string) string {
	return `{"v":1,"payload":{"attacker_ip":"198.51.100.9","ts":"2026-05-02T06:22:48","command_text":"` + more + `"}}`
}

var deadLetters = map[string]string{
	"not JSON":               secretText,
	"cut off":                `{"v":1,"payload":{"command_text":"` + secretText,
	"an envelope of a list":  `[1,"` + secretText + `"]`,
	"no payload":             `{"v":1,"topic":"attacker.command","x":"` + secretText + `"}`,
	"a payload that is text": `{"v":1,"payload":"` + secretText + `"}`,
	"another major version":  `{"v":2,"payload":{"command_text":"` + secretText + `","attacker_ip":"198.51.100.9"}}`,
	"a version that is text": `{"v":"` + secretText + `","payload":{}}`,
	"a text that is a list":  `{"v":1,"payload":{"attacker_ip":"198.51.100.9","command_text":["` + secretText + `"]}}`,
	"a raw NUL":              command(secretText + "\x00 && cat /etc/shadow"),
	"not UTF-8":              command(secretText + "\xff\xfe; cat /etc/shadow"),
	"nested deep":            `{"v":1,"payload":{"x":` + strings.Repeat(`[`, 1<<20) + strings.Repeat(`]`, 1<<20) + `,"y":"` + secretText + `"}}`,
	"nearly 8 MiB":           command(strings.Repeat("a", 8<<20-4096) + secretText),
	"nobody to pin it on":    `{"v":1,"payload":{"command_text":"cat /etc/shadow # ` + secretText + `"}}`,
}

var tagged = map[string]string{
	"a command of 1 MiB":    command(strings.Repeat(":;", 1<<19) + "cat /etc/shadow"),
	"an escaped NUL":        command(`\u0000; cat /etc/shadow`),
	"half a surrogate pair": command(`\ud83d; cat /etc/shadow`),
	"any script":            command("echo é名😀\u202e; cat /etc/shadow"),
}

func TestLive_badInputBecomesDeadLettersAndTheRestGoesOn(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"mariadb": testdb.MySQL, "decnet": testdb.DECNET, "sqlite": testdb.SQLite} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.DebugLevel)
			address := dsn(t)
			h := startLive(t, address, zap.New(core))
			for _, bad := range deadLetters {
				h.publish(t, "attacker.command", bad)
			}
			for _, good := range tagged {
				h.publish(t, "attacker.command", good)
			}
			until(t, "every bad message is a dead letter and every other one is tagged", func() bool {
				return h.count("ttp.dlq.attacker.command") == len(deadLetters) && h.count("ttp.tagged") == len(tagged)
			})
			h.stop()
			said := 0
			for _, line := range logs.All() {
				if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, secretText) {
					t.Errorf("a log line quotes a payload: %.300s", text)
				}
				if line.Message == "message became a dead letter" {
					said++
				}
			}
			if said != len(deadLetters) {
				t.Errorf("%d log lines for %d dead letters", said, len(deadLetters))
			}
			for _, size := range testdb.Query(t, address, "SELECT MAX(LENGTH(evidence)) FROM ttp_tag") {
				if len(size) > 4 {
					t.Errorf("evidence of %s bytes", size)
				}
			}
			h.readDeadLetters(t)
		})
	}
}

// readDeadLetters checks what a dead letter says of itself.
func (h *harness) readDeadLetters(t *testing.T) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(h.server))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(t.Context(), "TTP_DLQ", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	originals := make(map[string]bool)
	for _, text := range deadLetters {
		originals[text] = true
	}
	for range deadLetters {
		msg, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !originals[string(msg.Data())] {
			t.Errorf("a dead letter of %d bytes is not what was sent", len(msg.Data()))
		}
		for _, name := range []string{"Ttp-Reason", "Ttp-Error", "Ttp-Stream", "Ttp-Sequence", "Ttp-Deliveries", "Ttp-First-Seen"} {
			if v := msg.Headers().Get(name); v == "" || strings.Contains(v, secretText) {
				t.Errorf("header %s is %.100q", name, v)
			}
		}
	}
}
