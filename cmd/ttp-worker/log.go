package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLog returns the log of a service: JSON on standard error, and where that
// is the journal, with the priorities it knows: journalctl -p err.
func newLog(level zapcore.LevelEnabler) *zap.Logger {
	return zap.New(newCore(os.Stderr, level, inJournal(os.Stderr, os.Getenv("JOURNAL_STREAM"))))
}

// priorities are those of syslog.
var priorities = map[zapcore.Level]int{zap.DebugLevel: 7, zap.InfoLevel: 6, zap.WarnLevel: 4, zap.ErrorLevel: 3}

func newCore(out io.Writer, level zapcore.LevelEnabler, journal bool) zapcore.Core {
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.RFC3339TimeEncoder
	encoder, lines := zapcore.NewJSONEncoder(cfg), zapcore.Lock(zapcore.AddSync(out))
	if !journal {
		return zapcore.NewCore(encoder, lines, level)
	}
	var cores []zapcore.Core
	for l, priority := range priorities {
		only := zap.LevelEnablerFunc(func(at zapcore.Level) bool { return level.Enabled(at) && min(at, zap.ErrorLevel) == l })
		cores = append(cores, zapcore.NewCore(encoder, prefixed{lines, priority}, only))
	}
	return zapcore.NewTee(cores...)
}

// prefixed writes lines with a priority in front, which the journal takes off.
type prefixed struct {
	zapcore.WriteSyncer
	priority int
}

// Write writes one line.
func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.WriteSyncer.Write(append(fmt.Appendf(nil, "<%d>", p.priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// inJournal reports whether f is the stream that systemd has set up, which it
// names by device and inode.
func inJournal(f *os.File, stream string) bool {
	if stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == strconv.FormatUint(sys.Dev, 10)+":"+strconv.FormatUint(sys.Ino, 10)
}
