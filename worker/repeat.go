package worker

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatEvery is how often a line that is about the same thing is logged.
const repeatEvery = 10 * time.Second

// repeats keeps what happens over and over from flooding the log: the first
// line of a kind is logged at once, then at most one every ten seconds with
// how many were left out. It is safe for concurrent use.
type repeats struct {
	mu    sync.Mutex // guards lines
	lines map[string]*line
}

type line struct {
	logged  time.Time
	leftOut int
}

// log writes the line, or counts it. kind says what it is about; there must be
// few of them.
func (r *repeats) log(log *zap.Logger, level zapcore.Level, kind, msg string, fields ...zap.Field) {
	leftOut, due := r.due(msg + "\x00" + kind)
	if !due {
		return
	}
	if leftOut > 0 {
		fields = append(fields, zap.Int("left_out", leftOut))
	}
	log.Log(level, msg, fields...)
}

func (r *repeats) due(key string) (leftOut int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines == nil {
		r.lines = make(map[string]*line)
	}
	l := r.lines[key]
	if l == nil {
		l = new(line)
		r.lines[key] = l
	}
	now := time.Now()
	if now.Sub(l.logged) < repeatEvery {
		l.leftOut++
		return 0, false
	}
	leftOut, l.logged, l.leftOut = l.leftOut, now, 0
	return leftOut, true
}
