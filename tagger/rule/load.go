package rule

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the size of a rule file, in bytes.
const maxFile = 4 << 20

// File is one rule file, read and parsed. It never changes, and any number of
// sets may be compiled of it.
type File struct {
	Name string // source and path, for messages

	sum      [sha256.Size]byte // of its content; zero: it could not be read
	pieces   map[piece][]*definition
	rules    []*definition
	problems []Problem
}

// piece is some documents of a file: the hash of their text, and the line where
// it begins.
type piece struct {
	sum  [sha256.Size]byte
	line int
}

// Readable reports whether the file could be read at all.
func (f *File) Readable() bool { return f.sum != [sha256.Size]byte{} }

// Problems returns what is wrong with the file, or with rules in it, by itself.
// That an id is taken by another file shows only when files are compiled.
func (f *File) Problems() []Problem { return slices.Clone(f.problems) }

func (f *File) problem(rule, field string, err error) {
	f.problems = append(f.problems, Problem{File: f.Name, Rule: rule, Field: field, Err: err})
}

// Files returns the paths of the rule files of src, sorted. What is hidden, a
// name that begins with a dot, is none: editors and version control keep their
// own things under such names. Directories that cannot be read are problems.
func (src Source) Files() (names []string, problems []Problem) {
	_ = fs.WalkDir(src.FS, ".", func(name string, entry fs.DirEntry, err error) error { // it has no error of its own
		switch {
		case err != nil:
			problems = append(problems, Problem{File: path.Join(src.Name, name), Err: fmt.Errorf("read rules: %w", err)})
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir() && isRuleFile(name):
			names = append(names, name)
		}
		return nil
	})
	return names, problems
}

// ReadFiles reads all rule files of the sources, in the order of sources and
// paths. The problems are directories that cannot be read; what is wrong with a
// file is among the file's own, see [File.Problems].
func ReadFiles(sources ...Source) (files []*File, problems []Problem) {
	for _, src := range sources {
		names, unread := src.Files()
		problems = append(problems, unread...)
		for _, name := range names {
			files = append(files, src.Read(name, nil))
		}
	}
	return files, problems
}

func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return ext == ".yml" || ext == ".yaml"
}

// Read reads the rule file at a path that [Source.Files] returned. One that
// cannot be read is a file with a problem. Known is what was read there
// before, or nil; it is returned if the content is the same, and rules in it
// whose text is the same are not read again.
func (src Source) Read(name string, known *File) *File {
	f := &File{Name: path.Join(src.Name, name)}
	data, err := readFile(src.FS, name)
	if err != nil {
		f.problem("", "", fmt.Errorf("read rule file: %w", err))
		return f
	}
	f.sum = sha256.Sum256(data)
	if known != nil && known.Readable() && known.sum == f.sum {
		return known
	}
	f.pieces = make(map[piece][]*definition)
	for text, line := range documents(data) {
		if f.piece(text, line, known) {
			continue
		}
		// By itself it is no YAML: a mistake, or text of another encoding, or
		// an anchor of a document above, which the parser knows.
		f.pieces, f.rules, f.problems = nil, nil, nil
		if err := eachDocument(data, 1, f.document); err != nil {
			f.problem("", "", fmt.Errorf("read rule file: %w", err))
		}
		break
	}
	return f
}

// documents takes the text of a file apart into its documents. Each is there
// with the number of its first line, from 1 on. A document begins where a line
// begins with three dashes, which nothing inside one may: YAML 1.2, section 9.1.4.
// A file that has more than that between two documents is not taken apart.
func documents(data []byte) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		from, line, splits := 0, 1, !isOddYAML(data)
		for i := 0; splits; {
			next := bytes.Index(data[i:], []byte("\n---"))
			if next < 0 {
				break
			}
			i += next + len("\n")
			if rest := data[i+len("---"):]; len(rest) > 0 && strings.IndexByte(" \t\r\n", rest[0]) < 0 {
				continue
			}
			if !yield(data[from:i], line) {
				return
			}
			from, line = i, line+bytes.Count(data[from:i], []byte("\n"))
		}
		yield(data[from:], line)
	}
}

// isOddYAML reports whether the text may have directives, ends of documents, or
// line ends that are neither those of Unix nor those of Windows.
func isOddYAML(data []byte) bool {
	has := func(s string) bool { return bytes.Contains(data, []byte(s)) }
	begins := func(s string) bool { return bytes.HasPrefix(data, []byte(s)) || has("\n"+s) }
	return begins("%") || begins("...") || has("\u0085") || has("\u2028") || has("\u2029") ||
		bytes.Count(data, []byte("\r")) != bytes.Count(data, []byte("\r\n"))
}

// piece reads some documents of the file, unless they are known. ok is false if
// they are no YAML.
func (f *File) piece(text []byte, line int, known *File) (ok bool) {
	id := piece{sha256.Sum256(text), line}
	if known != nil {
		if rules, ok := known.pieces[id]; ok {
			f.pieces[id], f.rules = rules, append(f.rules, rules...)
			return true
		}
	}
	rules, problems := len(f.rules), len(f.problems)
	if eachDocument(text, line, f.document) != nil {
		return false
	}
	if len(f.problems) == problems {
		f.pieces[id] = slices.Clone(f.rules[rules:])
	}
	return true
}

// eachDocument parses documents, the first line of which is that one in the file.
func eachDocument(text []byte, line int, do func(*yaml.Node)) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		moveDown(&doc, line-1)
		do(&doc)
	}
}

func moveDown(n *yaml.Node, lines int) {
	n.Line += lines
	for _, kid := range n.Content {
		moveDown(kid, lines)
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

// document reads one rule.
func (f *File) document(doc *yaml.Node) {
	if len(doc.Content) == 0 || resolve(doc.Content[0]).ShortTag() == "!!null" {
		return
	}
	root := resolve(doc.Content[0])
	if err := checkDocument(doc); err != nil {
		f.problem("", "", fmt.Errorf("line %d: %w", root.Line, err))
		return
	}
	d := &definition{Info: Info{File: f.Name, Status: Loaded, Digest: digest(root)}, line: root.Line, tags: scalars(member(root, "tags"))}
	for i := 0; i < len(root.Content); i += 2 {
		d.keys = append(d.keys, root.Content[i].Value)
	}
	has := func(name string) bool { return slices.Contains(d.keys, name) }
	var err error
	switch {
	case has("rule_id") || has("match"):
		err = readDECNET(d, root)
	case has("detection") || has("logsource") || has("correlation"):
		err = readSigma(d, root)
	case has("filter"):
		d.header(root)
		d.Status, d.Reason = NotApplicable, "filters of other rules are not supported"
	default:
		err = errors.New("neither a DECNET rule (rule_id, match) nor a Sigma rule (detection, logsource)")
	}
	f.add(d, err)
}

// digest tells definitions apart.
func digest(root *yaml.Node) string {
	return fmt.Sprintf("%x", sha256.Sum256(appendCanonical(make([]byte, 0, 4096), root)))
}

func (f *File) add(d *definition, err error) {
	if err != nil {
		f.problems = append(f.problems, d.refuse(err))
	}
	f.rules = append(f.rules, d)
}

// refuse takes d out of use and says why.
func (d *definition) refuse(err error) Problem {
	field := ""
	var f *fault
	if errors.As(err, &f) {
		field, err = f.field, f.err
	}
	d.Status, d.Reason = Refused, err.Error()
	if field != "" {
		d.Reason = field + ": " + d.Reason
	}
	return Problem{File: d.File, Rule: d.ID, Field: field, Err: err}
}

// unique returns the rules of all files, and of two with the same id the
// later one refused. They are copies, for compiling marks them.
func unique(files []*File) (rules []*definition, problems []Problem) {
	first := make(map[string]string) // rule id to the file it is in
	for _, f := range files {
		problems = append(problems, f.problems...)
		for _, read := range f.rules {
			d := *read
			rules = append(rules, &d)
			if d.Status == Refused {
				continue
			}
			if earlier, taken := first[d.ID]; taken {
				problems = append(problems, d.refuse(faultf(d.idKey(), "the id is taken by a rule in %s", earlier)))
				continue
			}
			first[d.ID] = d.File
		}
	}
	return rules, problems
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
