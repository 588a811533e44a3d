package worker

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatEvery is how often a line that is about the same thing is logged.
const repeatEvery = 10 * time.Second

// repeats keeps what happens over and over from flooding the log: of each kind
// so many lines are logged at once, and then as many every ten seconds, with
// how many were left out. It is safe for concurrent use.
type repeats struct {
	mu    sync.Mutex // guards lines
	lines map[string]*lines
}

type lines struct {
	since           time.Time
	logged, leftOut int // since then
}

// log writes the line, or counts it. kind says what it is about; there must be
// few of them.
func (r *repeats) log(log *zap.Logger, level zapcore.Level, kind, msg string, fields ...zap.Field) {
	r.logSome(1, log, level, kind, msg, fields...)
}

// logSome is the same for events of which each is worth a line, if there are few.
func (r *repeats) logSome(most int, log *zap.Logger, level zapcore.Level, kind, msg string, fields ...zap.Field) {
	leftOut, due := r.due(msg+"\x00"+kind, most)
	if !due {
		return
	}
	if leftOut > 0 {
		fields = append(fields, zap.Int("left_out", leftOut))
	}
	log.Log(level, msg, fields...)
}

func (r *repeats) due(key string, most int) (leftOut int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines == nil {
		r.lines = make(map[string]*lines)
	}
	l := r.lines[key]
	if l == nil {
		l = new(lines)
		r.lines[key] = l
	}
	if now := time.Now(); now.Sub(l.since) >= repeatEvery {
		leftOut = l.leftOut
		*l = lines{since: now}
	}
	if l.logged == most {
		l.leftOut++
		return 0, false
	}
	l.logged++
	return leftOut, true
}
