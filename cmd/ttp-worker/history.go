package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"ttp-worker/bus"
	"ttp-worker/intake"
	"ttp-worker/logfile"
	"ttp-worker/replay"
	"ttp-worker/sink"
	"ttp-worker/ttp"
)

// history is what a replay reads and where its tags go.
type history struct {
	db      *sink.DB // nil in a dry run without one
	bus     *bus.Bus // nil unless it is used
	sources []replay.Source
}

func (h *history) close() {
	for _, s := range h.sources {
		s.Close()
	}
	if h.bus != nil {
		h.bus.Close()
	}
	if h.db != nil {
		_ = h.db.Close() // nothing is under way any more
	}
}

// open opens everything that the options name.
func (o *replayOptions) open(ctx context.Context, stdin io.Reader, log *zap.Logger) (h *history, err error) {
	h = &history{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := o.openDatabase(ctx, h, log); err != nil {
		return h, err
	}
	if o.useBus {
		options := o.bus.busOptions()
		options.Consumer = bus.Consumer{Name: o.bus.consumer}
		h.bus, err = bus.Connect(options, log.Named("bus"))
		if err != nil {
			return h, usageError{err}
		}
	}
	for _, name := range o.sources {
		t := replay.FromDatabase(name, h.db, o.window)
		t.MayLack = len(o.sources) > 1
		t.Complain = complaints(log)
		h.sources = append(h.sources, t)
	}
	if o.fromStream != "" {
		reader := h.bus.NewHistory(o.fromStream, o.window.Since, o.window.Until)
		reader.NoWorker = o.noLiveWorker
		h.sources = append(h.sources, replay.FromStream(&streamReader{reader}))
	}
	if len(o.from) > 0 {
		reader, err := logfile.NewReader(logfile.Options{
			Files: o.from, Stdin: interruptible(ctx, stdin), Format: o.format, Prefix: o.bus.prefix,
			Complain: fileComplaints(log),
		})
		if err != nil {
			return h, err
		}
		h.sources = append(h.sources, replay.FromFiles(reader, o.window))
	}
	return h, nil
}

// interruptible returns a reader of r that fails when ctx ends, also while it
// waits for r: a pipe may be silent for long. What reads r then ends with r.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	if r == nil {
		return nil
	}
	reader, writer := io.Pipe()
	var begin sync.Once
	context.AfterFunc(ctx, func() { _ = reader.CloseWithError(ctx.Err()); _ = writer.CloseWithError(ctx.Err()) }) // neither fails
	return readerFunc(func(p []byte) (int, error) {
		begin.Do(func() {
			go func() {
				_, err := io.Copy(writer, r)
				_ = writer.CloseWithError(err) // never fails
			}()
		})
		return reader.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

// Read implements [io.Reader].
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (o *replayOptions) openDatabase(ctx context.Context, h *history, log *zap.Logger) (err error) {
	if o.db == "" || o.dryRun && noFile(o.db) {
		return nil
	}
	h.db, err = sink.Open(o.db, sink.Options{Announce: false, Log: log.Named("sink")}) //nolint:contextcheck // it does not connect
	if err != nil {
		return usageError{fmt.Errorf("--db: %w", err)}
	}
	if o.dryRun || !o.migrate {
		return nil
	}
	if err := h.db.Migrate(ctx); err != nil {
		_, hint := sink.Explain(err)
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return nil
}

// noFile reports whether dsn is a SQLite file that is not there, which opening
// it would make.
func noFile(dsn string) bool {
	path, ok := strings.CutPrefix(dsn, "sqlite://")
	if !ok {
		return false
	}
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

// maxComplaints is how many pieces of malformed input are named; all are counted.
const maxComplaints = 10

func complaints(log *zap.Logger) func(table, key string, err error) {
	n := 0
	return func(table, key string, err error) {
		if n++; n <= maxComplaints {
			log.Warn("row left out", zap.String("table", table), zap.String("key", short(visible(key), 64)), zap.Error(err))
		}
	}
}

func fileComplaints(log *zap.Logger) func(file string, line int, err error) {
	n := 0
	return func(file string, line int, err error) {
		if n++; n <= maxComplaints {
			log.Warn("input left out", zap.String("file", file), zap.Int("line", line), zap.Error(err))
		}
		if n == maxComplaints {
			log.Warn("further malformed input is only counted")
		}
	}
}

// streamReader is a stream's history in the words of a replay.
type streamReader struct{ *bus.History }

// Next implements [replay.MessageReader].
func (r *streamReader) Next(ctx context.Context) (replay.Message, error) {
	m, err := r.History.Next(ctx)
	return replay.Message(m), err
}

// manyPending is from how many waiting messages on the live worker lags.
const manyPending = 1_000

// busy returns what tells a replay to let the live worker go first, nil if b is
// nil, so that nobody is asked. The live worker announces only what it is the
// first to store: a database that it works on, too, is then worth a warning.
func (o *replayOptions) busy(ctx context.Context, b *bus.Bus, log *zap.Logger) func() bool {
	if b != nil {
		return lagging(ctx, b, log)
	}
	if len(o.sources) > 0 && !o.dryRun {
		log.Warn("not asked whether the live worker lags: what it has still to tag is stored by this replay and never announced",
			zap.String("hint", "give --nats, as the live worker has it: the replay then waits for it"))
	}
	return nil
}

// lagging returns a function that asks, once a second at most, whether the
// live worker lags. A bus that does not answer is no reason to wait.
func lagging(ctx context.Context, b *bus.Bus, log *zap.Logger) func() bool {
	var asked time.Time
	var lags bool
	report := sync.OnceFunc(func() { log.Info("waiting for the live worker, which lags") })
	return func() bool {
		if time.Since(asked) < time.Second {
			return lags
		}
		asked = time.Now()
		backlog, err := b.Backlog(ctx)
		if lags = err == nil && backlog.Pending > manyPending; lags {
			report()
		}
		return lags
	}
}

// readOnly is a database that nothing is written to.
type readOnly struct{ intake.Database }

// CreateAttackers does as if.
func (readOnly) CreateAttackers(context.Context, []ttp.Attacker) error { return nil }

// CreateIdentities does as if.
func (readOnly) CreateIdentities(context.Context, []string) error { return nil }

// noDatabase is one without rows.
type noDatabase struct{}

// AttackersByAddress knows none.
func (noDatabase) AttackersByAddress(context.Context, []string) (map[string]ttp.Attacker, error) {
	return nil, nil
}

// AttackersByUUID knows none.
func (noDatabase) AttackersByUUID(context.Context, []string) (map[string]ttp.Attacker, error) {
	return nil, nil
}

// CreateAttackers does as if.
func (noDatabase) CreateAttackers(context.Context, []ttp.Attacker) error { return nil }

// CreateIdentities does as if.
func (noDatabase) CreateIdentities(context.Context, []string) error { return nil }

// Intel knows nothing.
func (noDatabase) Intel(context.Context, string) (ttp.Object, bool, error) { return nil, false, nil }

// CanaryTrigger knows none.
func (noDatabase) CanaryTrigger(context.Context, string) (ttp.CanaryTrigger, bool, error) {
	return ttp.CanaryTrigger{}, false, nil
}

// CanaryChunks knows none.
func (noDatabase) CanaryChunks(context.Context, string, string) ([]ttp.CanaryTrigger, error) {
	return nil, nil
}

// CanaryToken knows none.
func (noDatabase) CanaryToken(context.Context, string) (ttp.Object, bool, error) {
	return nil, false, nil
}

// CredentialReuse knows none.
func (noDatabase) CredentialReuse(context.Context, string) (ttp.Object, bool, error) {
	return nil, false, nil
}

// Spraying knows none.
func (noDatabase) Spraying(context.Context, string) (ttp.Spraying, bool, error) {
	return ttp.Spraying{}, false, nil
}
