package logfile

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
)

// rotated reports whether the file that is followed has become another one: it
// was renamed and made anew, or it was cut off.
func (r *Reader) rotated() bool {
	if r.in.file == nil {
		return false
	}
	named, err := os.Stat(r.o.Files[0])
	if err != nil {
		return false // the new one is still to come
	}
	opened, err := r.in.file.Stat()
	if err != nil {
		return true
	}
	return !os.SameFile(named, opened) || opened.Size() < r.in.offset
}

// sinceRotation returns the files that hold what was written since m: the one
// that m is in, whatever it is called by now, those that were rotated after
// it, and the one that is written to.
func (r *Reader) sinceRotation(m Mark) []string {
	current := r.o.Files[0]
	if m.Name == current && m.within(current) {
		return []string{current}
	}
	older := rotatedFiles(current)
	for i, name := range older {
		if m.within(name) {
			return append(older[i:], current)
		}
	}
	return []string{current}
}

// rotatedFiles returns the files that were once called name, the oldest first:
// those whose names are longer by what log rotation appends.
func rotatedFiles(name string) []string {
	var files []string
	for _, pattern := range []string{".*", "-*"} {
		found, _ := filepath.Glob(escapeGlob(name) + pattern) // the pattern is well formed
		files = append(files, found...)
	}
	changed := make(map[string]int64)
	files = slices.DeleteFunc(files, func(f string) bool {
		info, err := os.Stat(f)
		if err != nil || !info.Mode().IsRegular() {
			return true
		}
		changed[f] = info.ModTime().UnixNano()
		return false
	})
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Or(cmp.Compare(changed[a], changed[b]), -cmp.Compare(a, b)) // log.2 is older than log.1
	})
	return files
}

func escapeGlob(name string) string {
	var escaped []rune
	for _, c := range name {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, c)
	}
	return string(escaped)
}

func sizeOf(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return -1
	}
	return info.Size()
}
