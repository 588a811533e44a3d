package main

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// stallLimit is how long a part of the main loop may take for one step. The
// longest are an attempt to store a batch, 30 s, and the requests that look
// after the consumer, 15 s.
const stallLimit = time.Minute

// notify tells systemd, if it is there, about the state of the service.
func notify(log *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not told", zap.Error(err), zap.String("state", state))
	}
}

// notifyReloading tells systemd that the service is busy reloading; ready ends
// it. systemd wants the time of it in the same message.
func notifyReloading(log *zap.Logger) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		log.Warn("systemd not told", zap.Error(err))
		return
	}
	notify(log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// watchdog tells systemd that the main loop moves, for as long as it does and
// until stop is called.
func (l *live) watchdog(log *zap.Logger) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{}) // closed by stop and by the goroutine
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval / 3)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				l.pet(log)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// pet tells systemd that all is well, unless a part of the main loop hangs.
func (l *live) pet(log *zap.Logger) {
	if stalled := l.worker.Pulse.Stalled(stallLimit); len(stalled) > 0 {
		log.Error("no progress, systemd will restart the service; the stacks that follow belong into a bug report",
			zap.Strings("parts", stalled), zap.Duration("for_more_than", stallLimit))
		return
	}
	notify(log, daemon.SdNotifyWatchdog)
}
