package main

import (
	"os"
	"path/filepath"

	"ttp-worker/tagger"
	"ttp-worker/tagger/builtin"
	"ttp-worker/tagger/rule"
	"ttp-worker/tagger/shell"
)

// pack is rules that are scored together.
type pack struct {
	name    string
	sources []rule.Source
}

func (o *options) packs() []pack {
	own := rule.Source{Name: "builtin", FS: builtin.FS}
	decnet := rule.Source{Name: "decnet", FS: os.DirFS(o.decnet)}
	sigma := rule.Source{Name: "sigma", FS: os.DirFS(filepath.Join(o.data, "sigma"))}
	return []pack{
		{"built-in", []rule.Source{own}},
		{"DECNET", []rule.Source{decnet}},
		{"Sigma", []rule.Source{sigma}},
		{"all", []rule.Source{own, decnet, sigma}},
	}
}

// load compiles the pack as the program does. The rules that were refused are
// counted: all sources together have some ids twice.
func (p *pack) load() (t tagger.Tagger, refused int, err error) {
	set, problems := rule.Load(rule.Options{Expand: shell.Expander}, p.sources...)
	c, err := tagger.NewComposite(tagger.Routes(set, set.Kinds(), "")...)
	return c, len(problems), err
}
