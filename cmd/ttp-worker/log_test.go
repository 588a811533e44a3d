package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
)

func TestNewCore_tellsTheJournalThePriority(t *testing.T) {
	var out bytes.Buffer
	log := zap.New(newCore(&out, zap.InfoLevel, true))
	log.Debug("not written")
	log.Info("info")
	log.Warn("warn")
	log.Error("error")
	var begin []string
	for line := range strings.Lines(out.String()) {
		begin = append(begin, line[:18])
	}
	if got, want := strings.Join(begin, " "), `<6>{"level":"info" <4>{"level":"warn" <3>{"level":"error`; !strings.HasPrefix(got, want) {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	zap.New(newCore(&out, zap.InfoLevel, false)).Info("info")
	if !strings.HasPrefix(out.String(), "{") {
		t.Errorf("outside of the journal: %q", out.String())
	}
}

func TestInJournal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	this := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for stream, want := range map[string]bool{this: true, "": false, "1:2": false} {
		if got := inJournal(f, stream); got != want {
			t.Errorf("%q: %v", stream, got)
		}
	}
}
