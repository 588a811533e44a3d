package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ttp-worker/internal/failpoint"
	"ttp-worker/internal/servers"
)

// stateFaults take away what the worker relies on being there.
func stateFaults() (list []fault) {
	s := setup{database: mariadb, rate: none}
	list = []fault{
		{name: "nats comes back empty", setup: s, short: true, inject: emptyNATS},
		{name: "stream of announcements missing", setup: s, inject: missing("TTP", (*generator).next)},
		{name: "stream of dead letters missing", setup: s, inject: missing("TTP_DLQ", func(g *generator) event {
			return raw(`{"v":9,"id":"%s","payload":{}}`)(g, actor{})
		})},
	}
	embedded := setup{database: sqlite, embedded: true}
	for _, p := range []failpoint.Point{failpoint.AfterInsert, failpoint.AfterCommit, failpoint.AfterPublish} {
		list = append(list, fault{name: "embedded, kill " + string(p), setup: embedded, redelivers: true, inject: crash(p)})
	}
	if os.Geteuid() == 0 { // others may not mount a disk to be filled
		small := embedded
		small.disk = 48
		list = append(list, fault{name: "embedded, disk full", setup: small, inject: fillDisk})
	}
	return list
}

// some sends a few events of make and waits until nothing is under way.
func (w *world) some(ctx context.Context, n int, make func(*generator) event) error {
	for range n {
		if err := w.prod.send(ctx, make(w.gen)); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until nothing is under way and everything announced was read.
func (w *world) settled(ctx context.Context) error {
	return errors.Join(w.quiet(ctx), w.seen.drain(ctx))
}

// emptyNATS loses the streams, the consumer and all that is in them. What was
// in the streams before must have been dealt with: it cannot be had again.
func emptyNATS(ctx context.Context, w *world) error {
	if err := errors.Join(w.some(ctx, 50, (*generator).next), w.settled(ctx)); err != nil {
		return err
	}
	if err := w.nats[0].Kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.nats[0].Dir, "store")); err != nil {
		return err
	}
	if err := w.nats[0].Start(); err != nil {
		return err
	}
	if err := w.probe(ctx, probeWithin); err != nil {
		return err
	}
	return w.some(ctx, 50, (*generator).next)
}

// missing removes a stream before events come that end in it.
func missing(stream string, make func(*generator) event) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if err := errors.Join(w.some(ctx, 20, (*generator).next), w.settled(ctx)); err != nil {
			return err
		}
		if err := w.js.DeleteStream(ctx, stream); err != nil {
			return fmt.Errorf("remove stream %s: %w", stream, err)
		}
		return w.some(ctx, 50, make)
	}
}

// fillDisk fills the disk that the embedded servers have their state on.
func fillDisk(ctx context.Context, w *world) error {
	for range 2 {
		filler := filepath.Join(filepath.Dir(w.sqliteFile()), "filler")
		if err := fill(filler); err != nil {
			return err
		}
		w.pause(ctx, longPause, longPause)
		if err := os.Remove(filler); err != nil {
			return err
		}
		if err := w.probe(ctx, probeWithin); err != nil {
			return fmt.Errorf("after there was room again: %w", err)
		}
	}
	return nil
}

// fill writes to name until there is no room left.
func fill(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		switch _, err := f.Write(make([]byte, size)); {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

// mountDisk gives the state a disk of that many MiB.
func mountDisk(dir string, mib int) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		return fmt.Errorf("mount a small disk: %w", err)
	}
	return nil
}

// unmount is tried for as long as somebody still looks at the disk.
func unmount(dir string) error {
	return servers.Eventually(5*time.Second, func() error { return syscall.Unmount(dir, 0) })
}
