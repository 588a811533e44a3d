// Package rule is the rule engine: rule files are compiled once into a [Set],
// and the set says of each event which rules it matches.
//
// Three file formats compile into one form and are told apart by content: rules
// as the honeypot platform DECNET writes them, plain Sigma rules, and our own
// format, which is Sigma with a few more keys. docs/rules.md is the reference
// for rule authors.
//
// A set never changes and may be used by any number of goroutines. An event
// without a finding costs one pass over its fields and allocates nothing,
// however many rules there are: the literals that the rules require are looked
// for all at once, and a rule is evaluated only where the rarest of its own
// was seen.
package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"ttp-worker/tagger"
	"ttp-worker/tagger/shell"
	"ttp-worker/ttp"
)

// Options say how rules are compiled and matched. The zero value is useful.
type Options struct {
	// Expand makes functions that take a command line apart into the simple
	// commands it runs, see [shell.Expander]; nil means that rules see whole
	// lines only. Each is used by one goroutine at a time, and done with what
	// it returned when it is called again.
	Expand func() func(line string) []shell.Command

	// Lifters returns rules for events that lifters have looked at. A DECNET
	// rule whose logic is in a lifter takes the detection of the last one with
	// its id; nil: such rules are only listed.
	Lifters func() []*File

	// Memo is how many different events each kind remembers the outcome of;
	// 0 means none. Honeypots see the same lines over and over.
	Memo int
}

// Source is a place that rule files come from.
type Source struct {
	Name string // for messages: a directory, "builtin"
	FS   fs.FS  // every *.yml and *.yaml below its root is read, in the order of the paths
}

// Format is the shape of a rule file.
type Format string

// The formats that are understood.
const (
	DECNET Format = "decnet"
	Sigma  Format = "sigma"
	Own    Format = "ttp-worker"
)

// Status is what became of a rule at load.
type Status string

// What can become of a rule. Only loaded rules match events.
const (
	Loaded        Status = "loaded"
	OfLifter      Status = "lifter"         // its logic is code, see [Info.LifterKind]
	Deprecated    Status = "deprecated"     // its author says so
	NotApplicable Status = "not applicable" // nothing here it could match, or nothing it could say
	Refused       Status = "refused"        // faulty; there is a [Problem] that says how
)

// Info describes a rule that was read, whether or not it is in use.
type Info struct {
	ID          string
	Version     int
	Title       string
	Description string

	Status Status
	Reason string // why it is not loaded, or what of it is not used

	File   string // source and path
	Digest string // the same for the same definition, whatever its comments and layout
	Format Format
	Kinds  []ttp.Kind
	Emits  []Emit

	Level          string
	Author         string
	License        string
	References     []string
	FalsePositives []string
	AttackRelease  string
	Evidence       []string // the payload members that are copied into a finding
	Phase          string   // "" or "session_end"

	// Unindexed says that the rule requires no literal and is therefore
	// evaluated for every event of its kinds.
	Unindexed bool

	// LifterKind is the match.kind of a rule that belongs to a lifter, and
	// Match everything that stands under match.
	LifterKind string
	Match      map[string]any
}

// Emit is one technique that a rule reports.
type Emit struct {
	Tactic       string // "TA0004"
	Technique    string // "T1548"
	SubTechnique string // "T1548.001" or ""
	Confidence   float64
}

// Problem is why a rule, or a whole file, is not in use.
type Problem struct {
	File  string
	Rule  string // "" if the file did not get as far as naming one
	Field string // the key in the file that is at fault, "" if it is none in particular
	Err   error
}

// Error names the file, the rule and the key.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Rule != "" {
		b.WriteString(": rule " + p.Rule)
	}
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	return b.String() + ": " + p.Err.Error()
}

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// fault is an error that knows the key of the rule it is about.
type fault struct {
	field string
	err   error
}

func (f *fault) Error() string { return f.field + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(field, format string, args ...any) error {
	return &fault{field, fmt.Errorf(format, args...)}
}

// definition is a rule as it was read, the detection already an expression.
type definition struct {
	Info
	detect map[ttp.Kind]*expr // by kind: a default field may differ
	fields []string           // that the detection names, in order
	line   int                // where the rule begins in its file
	keys   []string           // at its top level, in no order
	tags   []string           // as written
	tests  []example

	name        string // of a Sigma rule, by which correlations may call it
	correlation *correlation
	parts       []*definition // that the correlation is about, and that are no rules of their own
}

// Set is rules, compiled. It is safe for concurrent use.
type Set struct {
	matchers map[ttp.Kind]*matcher
	sessions *sessions // nil: no rules over them
	infos    []Info
	tests    []suite
}

var _ tagger.Tagger = (*Set)(nil)

// Load reads and compiles the rules of the sources. It does not fail as a
// whole: good rules are in the set, and each bad one is a problem. Of two rules
// with the same id the one read first counts, the other is a problem.
func Load(o Options, sources ...Source) (*Set, []Problem) {
	files, problems := ReadFiles(sources...)
	set, more := Compile(o, files...)
	return set, append(problems, more...)
}

// Compile makes a set of files that were read before. It is [Load] without the
// reading, which is most of the work: of rules that change file by file only
// the changed file need be read again.
func Compile(o Options, files ...*File) (*Set, []Problem) {
	rules, problems := unique(files)
	if o.Lifters != nil {
		rules = lifted(rules, o.Lifters())
	}
	slices.SortStableFunc(rules, func(a, b *definition) int { return cmp.Compare(a.ID, b.ID) })
	return newSet(o, rules), problems
}

func newSet(o Options, rules []*definition) *Set {
	s := &Set{matchers: make(map[ttp.Kind]*matcher)}
	sessions, unanswered := newSessions(o, rules)
	s.sessions = sessions
	byKind := make(map[ttp.Kind][]*definition)
	for _, r := range rules {
		if _, ok := unanswered[r]; ok || r.Status != Loaded {
			continue
		}
		for kind := range r.detect {
			byKind[kind] = append(byKind[kind], r)
		}
		s.tests = append(s.tests, suite{r.ID, r.File, r.Kinds[0], r.tests})
	}
	for kind, list := range byKind {
		s.matchers[kind] = newMatcher(o, kind, list)
	}
	for _, r := range rules {
		info := r.Info
		if reason, ok := unanswered[r]; ok {
			info.Status, info.Reason = NotApplicable, reason
		}
		s.infos = append(s.infos, info)
	}
	return s
}

// Tag returns what the rules say about ev, in the order of the rule ids and of
// each rule's emits. A pattern that takes too long on this event is an error,
// and permanent: it would take as long the next time. The other rules' findings
// stand beside it.
func (s *Set) Tag(_ context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	var findings []ttp.Finding
	var err error
	if m := s.matchers[ev.Kind]; m != nil {
		findings, err = m.tag(ev)
	}
	if ev.Kind != ttp.Session || s.sessions == nil {
		return findings, err
	}
	more, moreErr := s.sessions.tag(ev)
	findings = append(findings, more...)
	slices.SortStableFunc(findings, func(a, b ttp.Finding) int { return cmp.Compare(a.RuleID, b.RuleID) })
	return findings, errors.Join(err, moreErr)
}

// Kinds returns the kinds that any loaded rule looks at, sorted.
func (s *Set) Kinds() []ttp.Kind {
	kinds := make([]ttp.Kind, 0, len(s.matchers))
	for kind := range s.matchers {
		kinds = append(kinds, kind)
	}
	if s.sessions != nil && s.matchers[ttp.Session] == nil {
		kinds = append(kinds, ttp.Session)
	}
	slices.Sort(kinds)
	return kinds
}

// Rules describes every rule that was read, sorted by id, those that are not
// in use included. The caller must not change what the infos point to.
func (s *Set) Rules() []Info { return slices.Clone(s.infos) }
