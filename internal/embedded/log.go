package embedded

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// logger hands the server's log on to zap. What the server tells of its life
// is debugging for us; what goes wrong keeps its level.
type logger struct {
	log    *zap.Logger
	quiet  atomic.Bool // warnings are debugging, too, for the moment
	failed atomic.Bool // an error was logged

	mu     sync.Mutex           // guards what follows
	err    error                // why the server could not start
	logged map[string]time.Time // when an error was, by its format
}

// repeatEvery is how often an error of the same sort is logged: the server
// writes a line for each message that it cannot store.
const repeatEvery = 10 * time.Second

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }

func (l *logger) Warnf(format string, v ...any) {
	if l.quiet.Load() {
		l.Debugf(format, v...)
		return
	}
	l.log.Warn(fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) {
	l.failed.Store(true)
	if l.due(format) {
		l.log.Error(fmt.Sprintf(format, v...))
	}
}

func (l *logger) due(format string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logged == nil {
		l.logged = make(map[string]time.Time)
	}
	now := time.Now()
	if now.Sub(l.logged[format]) < repeatEvery {
		return false
	}
	l.logged[format] = now
	return true
}

// Fatalf keeps the error for whoever started the server, and does not end the
// process.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = fmt.Errorf(format, v...)
}

// fatal returns why the server could not start, nil if it could.
func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
