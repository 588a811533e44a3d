package ruleset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
)

func asGiven(set *rule.Set) (tagger.Tagger, error) { return set, nil }

// BenchmarkSave measures from a saved file to the first event that its rule is
// asked about, among all built-in rules:
//
//	go test ./ruleset -run '^$' -bench Save
func BenchmarkSave(b *testing.B) {
	dir := b.TempDir()
	if err := os.CopyFS(dir, builtin.FS); err != nil {
		b.Fatal(err)
	}
	used := make(chan int, 1) // Build sends, the benchmark receives
	l, err := New(Options{
		Sources: []Source{{Source: rule.Source{Name: dir, FS: os.DirFS(dir)}, Dir: dir}},
		Rules:   rule.Options{Memo: 16_384, Expand: shell.Expander},
		Build: func(set *rule.Set) (tagger.Tagger, error) {
			for _, info := range set.Rules() {
				if info.ID == "SAVED" {
					used <- info.Version
				}
			}
			return set, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var run sync.WaitGroup
	run.Go(func() { l.Run(ctx) })
	defer func() { cancel(); run.Wait() }()
	data, err := builtin.FS.ReadFile("discovery.yaml")
	if err != nil {
		b.Fatal(err)
	}
	version := 0
	for b.Loop() {
		version++
		saved := fmt.Appendf(data[:len(data):len(data)], "\n---\n{title: x, id: SAVED, version: %d, tags: [attack.t1105], logsource: {category: command}, detection: {s: {line: x}, condition: s}}\n", version)
		if err := os.WriteFile(filepath.Join(dir, "discovery.yaml"), saved, 0o644); err != nil {
			b.Fatal(err)
		}
		for v := <-used; v != version; v = <-used {
		}
	}
}
