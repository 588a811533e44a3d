package ruleset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ttp-worker/tagger/rule"
)

// library is the rule files of all sources, as last read.
type library struct {
	sources  []Source
	shelves  []map[string]*entry // by source: path to file
	problems [][]rule.Problem    // by source: directories that cannot be read
}

// entry is what is known of one file.
type entry struct {
	info      fs.FileInfo
	trusted   bool       // the same info means the same content
	latest    *rule.File // as last read
	used      *rule.File // the same, or the last version without a fault
	emptySeen time.Time  // when the file was first seen empty; zero: it is not
}

const (
	// settled is how old a change must be until the time of the file tells it
	// from the next one: file systems count in ticks.
	settled = 2 * time.Second

	// fresh is how young a change is that may be the first part of one.
	fresh = 5 * time.Millisecond

	// vacant is how long a file must be empty until it counts as that:
	// editors empty a file before they write it.
	vacant = time.Second
)

func newLibrary(sources []Source) library {
	l := library{sources: sources, problems: make([][]rule.Problem, len(sources))}
	for range sources {
		l.shelves = append(l.shelves, make(map[string]*entry))
	}
	return l
}

// busy reports whether a file is being written just now.
func (l *library) busy(now time.Time) bool {
	for _, src := range l.sources {
		if src.Dir == "" {
			continue
		}
		names, _ := src.Files()
		for _, name := range names {
			info, err := fs.Stat(src.FS, name)
			if err != nil {
				continue
			}
			if age := now.Sub(info.ModTime()); 0 <= age && age < fresh {
				return true
			}
		}
	}
	return false
}

// refresh reads the files that have changed, all of them if forced, and
// reports whether anything is different from before.
func (l *library) refresh(now time.Time, force bool) (changed bool) {
	for i := range l.sources {
		if l.refreshSource(i, now, force) {
			changed = true
		}
	}
	return changed
}

func (l *library) refreshSource(i int, now time.Time, force bool) (changed bool) {
	src, old := l.sources[i], l.shelves[i]
	names, problems := src.Files()
	next := make(map[string]*entry, len(names))
	for i, e := range lookAll(src, old, names, now, force) {
		name := names[i]
		next[name] = e
		changed = changed || old[name] == nil || e.latest != old[name].latest
	}
	for name, e := range old {
		if next[name] != nil {
			continue
		}
		if slices.ContainsFunc(problems, func(p rule.Problem) bool { return below(p.File, e.used.Name) }) {
			next[name] = e // its directory cannot be read, which does not say that it is gone
			continue
		}
		changed = true
	}
	changed = changed || len(problems) != len(l.problems[i])
	l.shelves[i], l.problems[i] = next, problems
	return changed
}

func below(dir, file string) bool { return dir == "." || strings.HasPrefix(file, dir+"/") }

// lookAll returns what is known of the files now. Reading them is most of the
// work of a start, and none needs another: it is done on all processors.
func lookAll(src Source, old map[string]*entry, names []string, now time.Time, force bool) []*entry {
	entries := make([]*entry, len(names))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(names)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)); i = next.Add(1) - 1 {
				entries[i] = old[names[i]].look(src, names[i], now, force)
			}
		})
	}
	readers.Wait()
	return entries
}

// look returns what is known of the file now; e is what was, nil if nothing.
func (e *entry) look(src Source, name string, now time.Time, force bool) *entry {
	info, err := fs.Stat(src.FS, name)
	if e != nil && err == nil && !force && e.trusted && sameInfo(e.info, info) {
		return e
	}
	next := &entry{info: info}
	if e == nil {
		e = new(entry)
	}
	next.latest = src.Read(name, e.latest)
	if e.latest != nil && !e.latest.Readable() && !next.latest.Readable() {
		next.latest = e.latest // as unreadable as before
	}
	next.trusted = err == nil && next.latest.Readable() && now.Sub(info.ModTime()) > settled
	switch {
	case e.used == nil:
		next.used = next.latest
	case next.latest == e.latest:
		next.used = e.used
	case err == nil && info.Size() == 0 && next.stillVacant(e, now):
		next.latest, next.used = e.latest, e.used
	case len(next.latest.Problems()) > 0 && len(e.used.Problems()) == 0:
		next.used = e.used
	default:
		next.used = next.latest
	}
	return next
}

// stillVacant reports whether the file has not been empty for long enough.
func (e *entry) stillVacant(before *entry, now time.Time) bool {
	e.trusted = false
	e.emptySeen = before.emptySeen
	if e.emptySeen.IsZero() {
		e.emptySeen = now
	}
	return now.Sub(e.emptySeen) < vacant
}

// sameInfo reports whether nobody has touched the file in between. Embedded
// files have no identity and do not change.
func sameInfo(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && (os.SameFile(a, b) || a.Sys() == nil)
}

// errKept stands beside the faults of a file whose last good version works on.
var errKept = errors.New("the version before stays in use")

// compile makes a set of the files, in the order of sources and paths.
func (l *library) compile(o rule.Options) (*rule.Set, []rule.Problem) {
	var files []*rule.File
	var faults []rule.Problem
	for i, shelf := range l.shelves {
		faults = append(faults, l.problems[i]...)
		for _, name := range sortedKeys(shelf) {
			e := shelf[name]
			files = append(files, e.used)
			if e.used == e.latest {
				continue
			}
			for _, p := range e.latest.Problems() {
				p.Err = fmt.Errorf("%w; %w", p.Err, errKept)
				faults = append(faults, p)
			}
		}
	}
	set, problems := rule.Compile(o, files...)
	return set, append(faults, problems...)
}

func sortedKeys(shelf map[string]*entry) []string {
	names := make([]string, 0, len(shelf))
	for name := range shelf {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
