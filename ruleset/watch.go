package ruleset

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

const (
	// gather is how long after the first sign of a change the files are read:
	// saving a file is several steps.
	gather = 10 * time.Millisecond

	// maxGather is how often the reading is put off while files are written.
	maxGather = 20

	// lookEvery is how often the files are looked at without any sign of a
	// change: network file systems give none, and signs can be lost.
	lookEvery = time.Second
)

// followFiles takes over what changes in the directories until ctx ends.
func (l *Live) followFiles(ctx context.Context) {
	signs := l.watch()
	defer signs.close()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	soon := time.NewTimer(0) // at the start: what changed since the rules were loaded
	defer soon.Stop()
	waiting, patience := true, maxGather
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-signs.events:
			if waiting || event.Op == fsnotify.Chmod {
				continue
			}
			soon.Reset(gather)
			waiting = true
			continue
		case <-signs.errors: // some signs are lost; the next look does without
			continue
		case <-soon.C:
			waiting = false
		case <-look.C:
		}
		if patience--; patience > 0 && l.library.busy(l.now()) {
			soon.Reset(gather)
			waiting = true
			continue
		}
		patience = maxGather
		signs.add()
		if err := l.load(false); err != nil {
			l.o.Log.Error("rules not reloaded, those before stay in use", zap.Error(err))
		}
	}
}

// signs are what the file system says of changes. Where it says nothing the
// channels are nil.
type signs struct {
	watcher *fsnotify.Watcher
	dirs    []string
	log     *zap.Logger
	silent  bool // a directory could not be watched, which was logged
	events  chan fsnotify.Event
	errors  chan error
}

func (l *Live) watch() *signs {
	s := &signs{log: l.o.Log}
	for _, src := range l.o.Sources {
		if src.Dir != "" {
			s.dirs = append(s.dirs, src.Dir)
		}
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.complain(err)
		return s
	}
	s.watcher, s.events, s.errors = watcher, watcher.Events, watcher.Errors
	s.add()
	return s
}

// add watches every directory that there is now; those that are watched
// already stay so.
func (s *signs) add() {
	if s.watcher == nil {
		return
	}
	for _, root := range s.dirs {
		if target, err := filepath.EvalSymlinks(root); err == nil {
			root = target // a walk does not follow it
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // unreadable ones are the library's to report
			switch {
			case err != nil || !d.IsDir():
				return nil
			case path != root && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			}
			if err := s.watcher.Add(path); err != nil {
				s.complain(err)
			}
			return nil
		})
	}
}

func (s *signs) complain(err error) {
	if !s.silent {
		s.silent = true
		s.log.Warn("a directory of rules cannot be watched; changes in it are found by looking, within seconds", zap.Error(err),
			zap.String("hint", "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances"))
	}
}

func (s *signs) close() {
	if s.watcher != nil {
		_ = s.watcher.Close() // it is of no more use, whatever it says
	}
}
