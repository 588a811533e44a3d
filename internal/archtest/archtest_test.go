// Package archtest holds the table of packages in docs/architecture.md against
// the import clauses of the code.
package archtest

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ttp-worker"

// testOnly are packages for tests alone: nothing of the product may import
// them, and they may import any dependency.
var testOnly = []string{
	"internal/archtest",
	"internal/bench",
	"internal/chaos",
	"internal/chaos/cmd",
	"internal/corpus",
	"internal/embedded/natstest",
	"internal/servers",
	"internal/testdb",
	"sink/sinktest",
}

// coming are packages that the table names and that need not be there yet.
var coming []string

// owned says which modules the table's "only importer of" means.
var owned = map[string][]string{
	"google/uuid":      {"github.com/google/uuid"},
	"mvdan.cc/sh":      {"mvdan.cc/sh"},
	"yaml":             {"go.yaml.in/yaml", "gopkg.in/yaml.v3"},
	"regexp2":          {"github.com/dlclark/regexp2"},
	"database drivers": {"github.com/go-sql-driver/mysql", "modernc.org/sqlite", "database/sql"},
	"fsnotify":         {"github.com/fsnotify/fsnotify"},
	"goose":            {"github.com/pressly/goose"},
	"backoff":          {"github.com/cenkalti/backoff"},
	"prometheus":       {"github.com/prometheus"},
	"nats.go":          {"github.com/nats-io/nats.go"},
	"nats-server":      {"github.com/nats-io/nats-server"},
	"opentelemetry":    {"go.opentelemetry.io"},
	"cobra":            {"github.com/spf13/cobra", "github.com/spf13/pflag"},
	"koanf":            {"github.com/knadh/koanf"},
}

// row is what the table says of a package.
type row struct {
	all     bool     // may import everything that is not for tests
	imports []string // of ours
	owns    []string // words of the last column
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseTable(string(text))
	if err != nil {
		t.Fatal(err)
	}
	code, err := readCode(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range coming {
		code[pkg] = slices.Clone(code[pkg]) // which may be none
	}
	for _, complaint := range check(table, code) {
		t.Error(complaint)
	}
}

// TestCheck makes sure that each sort of breach is found.
func TestCheck(t *testing.T) {
	t.Parallel()
	table, err := parseTable(`# A page

| other | table |
| --- | --- |
| ` + "`x`" + ` | y |

| package | what it is | may import (of ours) | only importer of |
| --- | --- | --- | --- |
| ` + "`ttp`" + ` | words | – | google/uuid |
| ` + "`bus`" + ` | the bus | ttp | nats.go |
| ` + "`sink/sinktest`" + ` | tests | ttp | – |
| ` + "`cmd/ttp-worker`" + ` | wiring | all but tests | cobra, koanf |

| ` + "`not`" + ` | in | the | table |
`)
	if err != nil {
		t.Fatal(err)
	}
	good := map[string][]string{
		"ttp":            {"github.com/google/uuid", "strings"},
		"bus":            {"ttp-worker/ttp", "github.com/nats-io/nats.go/jetstream"},
		"sink/sinktest":  {"ttp-worker/ttp", "github.com/google/uuid"},
		"cmd/ttp-worker": {"ttp-worker/ttp", "ttp-worker/bus", "github.com/spf13/cobra"},
	}
	if got := check(table, good); len(got) > 0 {
		t.Errorf("good code: %q", got)
	}
	for want, change := range map[string]map[string][]string{
		"bus: imports ttp-worker/sink, which the table does not allow":                        {"bus": {"ttp-worker/sink"}},
		"ttp: imports ttp-worker/bus, which the table does not allow":                         {"ttp": {"ttp-worker/bus"}},
		"cmd/ttp-worker: imports ttp-worker/sink/sinktest, which the table does not allow":    {"cmd/ttp-worker": {"ttp-worker/sink/sinktest"}},
		"cmd/ttp-worker: imports github.com/nats-io/nats.go, which the table leaves to bus":   {"cmd/ttp-worker": {"github.com/nats-io/nats.go"}},
		"bus: imports github.com/knadh/koanf/v2, which the table leaves to cmd/ttp-worker":    {"bus": {"github.com/knadh/koanf/v2"}},
		"util: not in the table of docs/architecture.md":                                      {"util": nil},
		"ttp: in the table of docs/architecture.md, but there is no such package in the code": {"ttp": {"gone"}},
	} {
		code := maps.Clone(good)
		maps.Copy(code, change)
		if strings.Contains(want, "no such package") {
			delete(code, "ttp")
		}
		if got := check(table, code); !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, bad := range []string{
		"no table at all",
		"| package | what it is | may import (of ours) | only importer of |\n| --- |\n| `a` | b | – |\n",
		"| package | what it is | may import (of ours) | only importer of |\n| --- |\n| `a` | b | – | the moon |\n",
	} {
		if _, err := parseTable(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// check returns how code, the imports of each package, breaks the table.
func check(table map[string]row, code map[string][]string) []string {
	owner := owners(table)
	var complaints []string
	for _, pkg := range slices.Sorted(maps.Keys(code)) {
		rules, ok := table[pkg]
		if !ok {
			complaints = append(complaints, pkg+": not in the table of docs/architecture.md")
			continue
		}
		for _, imported := range code[pkg] {
			if c := breach(pkg, rules, imported, owner); c != "" {
				complaints = append(complaints, fmt.Sprintf("%s: imports %s, which the table %s", pkg, imported, c))
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(table)) {
		if _, ok := code[pkg]; !ok {
			complaints = append(complaints, pkg+": in the table of docs/architecture.md, but there is no such package in the code")
		}
	}
	return complaints
}

// breach says what the table has against one import, "" if nothing.
func breach(pkg string, rules row, imported string, owner map[string][]string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		if slices.Contains(rules.imports, ours) || rules.all && !slices.Contains(testOnly, ours) {
			return ""
		}
		return "does not allow"
	}
	if slices.Contains(testOnly, pkg) {
		return ""
	}
	for dependency, who := range owner {
		if !slices.Contains(who, pkg) && within(imported, dependency) {
			return "leaves to " + strings.Join(who, " and ")
		}
	}
	return ""
}

// owners maps each dependency that the table gives to one package to that one.
func owners(table map[string]row) map[string][]string {
	owner := make(map[string][]string)
	for pkg, rules := range table {
		for _, word := range rules.owns {
			for _, dependency := range owned[word] {
				owner[dependency] = append(owner[dependency], pkg)
			}
		}
	}
	return owner
}

// within reports whether the import is of the module, any version, or below.
func within(imported, dependency string) bool {
	return imported == dependency || strings.HasPrefix(imported, dependency+"/")
}

// parseTable reads the table of packages, the one whose heading says so.
func parseTable(text string) (map[string]row, error) {
	_, body, ok := strings.Cut(text, "| package | what it is | may import (of ours) | only importer of |\n")
	if !ok {
		return nil, errors.New("no table of packages")
	}
	table := make(map[string]row)
	for line := range strings.Lines(body) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells[0]) == 0 {
			break // the table is over
		}
		if strings.HasPrefix(strings.TrimSpace(cells[0]), "---") {
			continue
		}
		if len(cells) != 4 {
			return nil, fmt.Errorf("row %q has %d cells, want 4", line, len(cells))
		}
		rules := row{imports: list(cells[2]), owns: list(cells[3])}
		rules.all = slices.Equal(rules.imports, []string{"all but tests"})
		for _, word := range rules.owns {
			if owned[word] == nil {
				return nil, fmt.Errorf("row %q: no module is known as %q", line, word)
			}
		}
		table[strings.Trim(strings.TrimSpace(cells[0]), "`")] = rules
	}
	return table, nil
}

// list splits a cell at its commas; a dash is an empty list.
func list(cell string) []string {
	if cell = strings.TrimSpace(cell); cell == "–" {
		return nil
	}
	items := strings.Split(cell, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// readCode returns every package of the module with what its files import,
// those of tests left out.
func readCode(root fs.FS) (map[string][]string, error) {
	code := make(map[string][]string)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(root, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		pkg := path.Dir(name)
		var imports []string
		if !strings.HasSuffix(name, "_test.go") {
			imports, err = importsOf(root, name)
		}
		code[pkg] = append(code[pkg], imports...) // a package of tests only is one, too
		return err
	})
	for pkg := range code {
		slices.Sort(code[pkg])
		code[pkg] = slices.Compact(code[pkg])
	}
	return code, err
}

// skip leaves out what is no part of the module: hidden directories, test data
// and other modules.
func skip(root fs.FS, dir string) error {
	base := path.Base(dir)
	if dir == "." {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func importsOf(root fs.FS, name string) ([]string, error) {
	src, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	imports := make([]string, len(file.Imports))
	for i, spec := range file.Imports {
		if imports[i], err = strconv.Unquote(spec.Path.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return imports, nil
}

// moduleRoot finds the directory of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above this directory")
		}
		dir = filepath.Dir(dir)
	}
}
