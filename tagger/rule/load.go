package rule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the size of a rule file, in bytes.
const maxFile = 4 << 20

// loader reads rule files and remembers what went wrong.
type loader struct {
	rules    []*definition
	problems []Problem
	first    map[string]string // rule id to the file it was in
}

func (l *loader) problem(file, rule, field string, err error) {
	l.problems = append(l.problems, Problem{File: file, Rule: rule, Field: field, Err: err})
}

func (l *loader) source(src Source) {
	err := fs.WalkDir(src.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			l.problem(path.Join(src.Name, name), "", "", fmt.Errorf("read rules: %w", err))
			return nil
		}
		if ext := path.Ext(name); !entry.IsDir() && (ext == ".yml" || ext == ".yaml") {
			l.file(src, name)
		}
		return nil
	})
	if err != nil {
		l.problem(src.Name, "", "", fmt.Errorf("read rules: %w", err))
	}
}

func (l *loader) file(src Source, name string) {
	file := path.Join(src.Name, name)
	data, err := readFile(src.FS, name)
	if err != nil {
		l.problem(file, "", "", fmt.Errorf("read rule file: %w", err))
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			if !errors.Is(err, io.EOF) {
				l.problem(file, "", "", fmt.Errorf("read rule file: %w", err))
			}
			return
		}
		l.document(file, &doc)
	}
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, err
}

// document reads one rule. Decoding it into values first refuses what a walk
// over the nodes would trip over: aliases that lead in circles or multiply.
func (l *loader) document(file string, doc *yaml.Node) {
	if len(doc.Content) == 0 || resolve(doc.Content[0]).ShortTag() == "!!null" {
		return
	}
	root := resolve(doc.Content[0])
	var values map[string]any
	if err := doc.Decode(&values); err != nil {
		l.problem(file, "", "", fmt.Errorf("line %d: %w", root.Line, err))
		return
	}
	d := &definition{Info: Info{File: file, Status: Loaded}}
	var err error
	switch {
	case has(values, "rule_id") || has(values, "match"):
		err = readDECNET(d, root, values)
	case has(values, "detection") || has(values, "logsource"):
		err = readSigma(d, root)
	case has(values, "correlation") || has(values, "filter"):
		d.Format, d.ID, d.Title = Sigma, strings.Join(scalars(member(root, "id")), ""), strings.Join(scalars(member(root, "title")), "")
		d.Status, d.Reason = NotApplicable, "correlations and filters are not supported"
	default:
		err = errors.New("neither a DECNET rule (rule_id, match) nor a Sigma rule (detection, logsource)")
	}
	l.add(d, err)
}

func has(values map[string]any, name string) bool {
	_, ok := values[name]
	return ok
}

func (l *loader) add(d *definition, err error) {
	if earlier, taken := l.first[d.ID]; err == nil && taken {
		err = faultf(d.idKey(), "the id is taken by a rule in %s", earlier)
	}
	if err == nil {
		l.first[d.ID] = d.File
		l.rules = append(l.rules, d)
		return
	}
	field := ""
	var f *fault
	if errors.As(err, &f) {
		field, err = f.field, f.err
	}
	l.problem(d.File, d.ID, field, err)
	d.Status, d.Reason = Refused, err.Error()
	if field != "" {
		d.Reason = field + ": " + d.Reason
	}
	l.rules = append(l.rules, d)
}

func (d *definition) idKey() string {
	if d.Format == DECNET {
		return "rule_id"
	}
	return "id"
}

// token is what an id may be: it goes into a tag's key, whose parts are set
// apart by a bar, and into a NATS subject, whose parts are set apart by dots.
var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (d *definition) checkID() error {
	if !token.MatchString(d.ID) {
		return faultf(d.idKey(), "%.40q is not 1 to 128 letters, digits, - and _", d.ID)
	}
	return nil
}
