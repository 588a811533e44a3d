package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ttp-worker/internal/embedded/natstest"
	"ttp-worker/internal/servers"
	"ttp-worker/internal/testdb"
	"ttp-worker/ttp"
)

// TestMain lets the tests run the program as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("TTP_TEST_PROCESS") != "" {
		os.Exit(run(os.Args[1:]))
	}
	if dsn := os.Getenv("TTP_TEST_SQL"); dsn != "" {
		os.Exit(runSQL(dsn))
	}
	os.Exit(m.Run())
}

// product builds the program as users have it: it starts ten times as fast as
// a test under the race detector does, and some tests start it a hundred times.
var product = sync.OnceValues(func() (exe string, err error) {
	dir, err := os.MkdirTemp("", "ttp-product-")
	if err != nil {
		return "", err
	}
	if err := servers.RemoveAtEnd(dir); err != nil {
		return "", err
	}
	exe = filepath.Join(dir, "ttp-worker")
	cmd := exec.Command("go", "build", "-o", exe, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return exe, nil
})

// program runs a command in this process.
func program(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&b)
	code = exitCode(root.ExecuteContext(t.Context()))
	return b.String(), code
}

// spawn starts the program as a process of its own.
func spawn(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return spawnReading(t, nil, args...)
}

func spawnReading(t *testing.T, stdin *os.File, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := product()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", strings.Join(args, " "), stderr.String())
		}
	})
	return cmd
}

// process is a running ttp-worker.
type process struct {
	*exec.Cmd
	http string // the address of its --http
	mu   sync.Mutex
	log  bytes.Buffer
}

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(data)
}

// text is what the process has logged so far.
func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs ttp-worker with args and waits until it is ready.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := startUnready(t, args...)
	until(t, "the worker is ready", func() bool { return p.get("/readyz") != "" })
	return p
}

// startUnready runs ttp-worker with args and waits until it can be asked.
func startUnready(t *testing.T, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{http: freeAddress(t)}
	p.Cmd = exec.Command(exe, append(args, "--http", p.http)...)
	p.Env = append(os.Environ(), "TTP_TEST_PROCESS=1")
	p.Stderr = p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		if t.Failed() {
			p.mu.Lock()
			t.Logf("log of %s:\n%.8000s", p.http, p.log.String())
			p.mu.Unlock()
		}
	})
	until(t, "the worker answers", func() bool { return p.get("/healthz") != "" })
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get returns the body of a page, "" if it is not to be had.
func (p *process) get(path string) string {
	status, body, err := httpGet("http://" + p.http + path)
	if err != nil || status != http.StatusOK {
		return ""
	}
	return body
}

// httpGet returns what is at an address, whatever its status.
func httpGet(address string) (status int, body string, err error) {
	resp, err := http.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// metric returns the sum of a metric's values.
func (p *process) metric(name string) (sum float64) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (.*)$`).FindAllStringSubmatch(p.get("/metrics"), -1) {
		v, _ := strconv.ParseFloat(m[1], 64)
		sum += v
	}
	return sum
}

func (p *process) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil && sig != syscall.SIGKILL {
		t.Errorf("ended with %v", err)
	}
}

// onBus is a client of the bus, as other programs are.
type onBus struct{ jetstream.JetStream }

func connect(t *testing.T, url string, options ...nats.Option) onBus {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return onBus{js}
}

// unsettled is how many messages the workers have still to see or to settle.
func (b onBus) unsettled(ctx context.Context) int {
	consumer, err := b.Consumer(ctx, "TELEMETRY", "ttp-worker")
	if err != nil {
		return -1
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return -1
	}
	return int(info.NumPending) + info.NumAckPending
}

// announced reads the stream TTP from its beginning and returns how often each
// tag is announced in it.
func (b onBus) announced(t *testing.T) map[string]int {
	t.Helper()
	consumer, err := b.OrderedConsumer(t.Context(), "TTP", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"ttp.tagged"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	times := make(map[string]int)
	for range info.NumPending {
		msg, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		env, err := ttp.ParseEnvelope(string(msg.Data()))
		if err != nil {
			t.Fatal(err)
		}
		uuids, _ := env.Payload.List("tag_uuids")
		for _, uuid := range uuids {
			text, _ := uuid.Text()
			times[text]++
		}
	}
	return times
}

// commands publishes events, all of which yield tags.
func (b onBus) commands(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		data := fmt.Sprintf(`{"v":1,"payload":{"attacker_ip":"198.51.100.%d","command_text":"cat /etc/shadow","ts":"2026-05-02T06:%02d:%02d","decky_id":"d%d"}}`,
			i%200, i/60%60, i%60, i)
		if _, err := b.Publish(t.Context(), "attacker.command", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
}

// sameTags holds the table against the stream: every tag is in both, in the
// stream once.
func sameTags(t *testing.T, dsn string, announced map[string]int, atLeast int) {
	t.Helper()
	rows := testdb.Query(t, dsn, "SELECT uuid FROM ttp_tag")
	if len(rows) < atLeast {
		t.Errorf("%d tags are stored, want %d or more", len(rows), atLeast)
	}
	for _, uuid := range rows {
		if announced[uuid] != 1 {
			t.Errorf("tag %s is announced %d times", uuid, announced[uuid])
		}
	}
	if len(announced) != len(rows) {
		t.Errorf("%d tags are announced, %d stored", len(announced), len(rows))
	}
	if outbox := testdb.Query(t, dsn, "SELECT id FROM ttp_outbox"); len(outbox) > 0 {
		t.Errorf("%d announcements are left in the outbox", len(outbox))
	}
}

func TestProcess_twoWorkersShareOneConsumerOnADECNETDatabase(t *testing.T) {
	server, dsn := natstest.Start(t), testdb.DECNET(t)
	args := []string{"run", "--nats", server.URL(), "--db", dsn, "--provision", "--unknown-attacker", "create", "--batch-size", "20"}
	one, two := start(t, args...), start(t, args...)
	b := connect(t, server.URL())
	const events = 1000
	b.commands(t, 0, events)
	until(t, "all events are acknowledged", func() bool { return b.unsettled(t.Context()) == 0 })
	if one.metric("ttp_messages_total") == 0 || two.metric("ttp_messages_total") == 0 {
		t.Error("one of the workers had nothing to do")
	}
	one.end(t, syscall.SIGTERM)
	two.end(t, syscall.SIGTERM)
	sameTags(t, dsn, b.announced(t), events)
}

func TestProcess_embeddedSurvivesKill(t *testing.T) {
	dir, listen := t.TempDir(), freeAddress(t)
	args := []string{"run", "--embedded", dir, "--nats", "nats://" + listen, "--batch-size", "20", "--ack-wait", "1s"}
	const each, kills = 200, 3
	b := onBus{}
	for round := range kills {
		p := start(t, args...)
		if round == 0 {
			b = connect(t, "nats://"+listen)
		}
		b.commands(t, round*each, (round+1)*each)
		p.end(t, syscall.SIGKILL) // in the middle of the work
	}
	p := start(t, args...)
	until(t, "everything is acknowledged", func() bool { return b.unsettled(t.Context()) == 0 })
	announced := b.announced(t)
	p.end(t, syscall.SIGTERM)
	sameTags(t, "sqlite://"+filepath.Join(dir, "ttp.db"), announced, kills*each)
}
