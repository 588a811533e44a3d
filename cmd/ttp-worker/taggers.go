package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
)

// memoSize is how many different events each kind remembers the outcome of:
// most of what honeypots see is a few hundred lines.
const memoSize = 16_384

// loadRules loads the rule sets that dirs name; "builtin" is the built-in one.
// Rules that are refused are returned as problems, the others work.
func loadRules(dirs []string) (*rule.Set, []rule.Problem, error) {
	var sources []rule.Source
	var errs []error
	for _, dir := range dirs {
		if dir == "builtin" {
			sources = append(sources, rule.Source{Name: "builtin", FS: builtin.FS})
			continue
		}
		if info, err := os.Stat(dir); err != nil {
			errs = append(errs, fmt.Errorf("--rules: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("--rules: %s is not a directory", dir))
		}
		sources = append(sources, rule.Source{Name: dir, FS: os.DirFS(dir)})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, usageError{err}
	}
	set, problems := rule.Load(rule.Options{Expand: shell.Expander, Memo: memoSize}, sources...)
	return set, problems, nil
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

// logProblems reports the rules that were refused.
func logProblems(log *zap.Logger, problems []rule.Problem) {
	for _, p := range problems {
		log.Warn("rule refused, the others work", zap.String("file", p.File), zap.String("rule", p.Rule), zap.String("field", p.Field), zap.NamedError("cause", p.Err))
	}
}
