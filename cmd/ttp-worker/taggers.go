package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.uber.org/zap"

	"ttp-worker/ruleset"
	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/decnet"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
)

// memoSize is how many different events each kind remembers the outcome of:
// most of what honeypots see is a few hundred lines.
const memoSize = 16_384

// ruleSources returns the rule sets that dirs name; "builtin" is the built-in one.
func ruleSources(dirs []string) ([]ruleset.Source, error) {
	var sources []ruleset.Source
	var errs []error
	for _, dir := range dirs {
		if dir == "builtin" {
			sources = append(sources, ruleset.Source{Source: rule.Source{Name: "builtin", FS: builtin.FS}})
			continue
		}
		if info, err := os.Stat(dir); err != nil {
			errs = append(errs, fmt.Errorf("--rules: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("--rules: %s is not a directory", dir))
		}
		sources = append(sources, ruleset.Source{Source: rule.Source{Name: dir, FS: os.DirFS(dir)}, Dir: dir})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	return sources, nil
}

// ruleOptions say how rules are compiled.
func ruleOptions() rule.Options {
	return rule.Options{Expand: shell.Expander, Memo: memoSize, Lifters: lifterFiles}
}

// lifterFiles are the rules that say when a rule of one of DECNET's lifters
// fires, read once and only if somebody asks.
var lifterFiles = sync.OnceValue(func() []*rule.File {
	files, _ := rule.ReadFiles( // no directory inside the program is unreadable
		rule.Source{Name: "builtin", FS: builtin.FS},
		rule.Source{Name: "decnet", FS: decnet.FS},
	)
	return files
})

// loadRules loads the rule sets that dirs name, once. Rules that are refused
// are returned as problems, the others work.
func loadRules(dirs []string) (*rule.Set, []rule.Problem, error) {
	named, err := ruleSources(dirs)
	if err != nil {
		return nil, nil, err
	}
	set, problems := rule.Load(ruleOptions(), bare(named)...)
	return set, problems, nil
}

func bare(named []ruleset.Source) []rule.Source {
	sources := make([]rule.Source, len(named))
	for i, src := range named {
		sources[i] = src.Source
	}
	return sources
}

// newTagger wires the taggers: who looks at what.
func newTagger(rules *rule.Set, log *zap.Logger) (*tagger.Composite, error) {
	c, err := tagger.NewComposite(tagger.Routes(rules, rules.Kinds(), artifactsDir())...)
	if c != nil {
		c.Log = log
	}
	return c, err
}

// artifactsDir is where DECNET stores the mails its decoys receive.
func artifactsDir() string {
	return cmp.Or(os.Getenv("DECNET_ARTIFACTS_ROOT"), "/var/lib/decnet/artifacts")
}
