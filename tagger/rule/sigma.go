package rule

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

// sessionEnd is the phase of rules that judge a whole session.
const sessionEnd = "session_end"

// ownKeys are the top-level keys that our format adds to Sigma's. A file that
// has one of them may have no unknown key.
var ownKeys = []string{"version", "attack_release", "emit", "evidence", "phase", "tests"}

var sigmaKeys = []string{
	"title", "id", "name", "related", "taxonomy", "status", "description", "license", "author", "references",
	"date", "modified", "logsource", "detection", "fields", "falsepositives", "level", "tags", "scope",
	"custom_attributes", "simulation", "regression_tests_path", "correlation", "generate",
}

// readSigma reads a Sigma rule or one of our own, which is Sigma with more keys.
func readSigma(d *definition, root *yaml.Node) error {
	d.header(root)
	if err := d.checkKeys(root); err != nil {
		return err
	}
	if member(root, "correlation") != nil {
		return readCorrelation(d, root)
	}
	if err := d.checkID(); err != nil {
		return err
	}
	if err := d.own(root); err != nil {
		return err
	}
	if d.isRetired(root) {
		return nil
	}
	source, err := readLogsource(member(root, "logsource"))
	if err != nil {
		return err
	}
	kind, reason := source.kind()
	if source.product == "opencanary" {
		kind, reason = openCanaryKind(member(root, "detection"))
	}
	if reason != "" {
		d.Status, d.Reason = NotApplicable, reason
		return nil
	}
	d.Kinds = []ttp.Kind{kind}
	if err := d.sigmaEmits(root); err != nil {
		return err
	}
	if d.Status != Loaded {
		_ = d.sigmaDetection(root, source) // a correlation may ask for it all the same
		return nil
	}
	if err := d.sigmaDetection(root, source); err != nil || d.Status != Loaded {
		return err
	}
	if d.Phase == sessionEnd && kind != ttp.Session {
		return faultf("phase", "a rule about kind %s is not judged at the end of a session", kind)
	}
	d.tests, err = readExamples(root, kind)
	return err
}

// isRetired marks a rule that its author does not want to be used.
func (d *definition) isRetired(root *yaml.Node) bool {
	status := first(root, "status")
	if status != "deprecated" && status != "unsupported" {
		return false
	}
	d.Status, d.Reason = Deprecated, "its status is "+status
	return true
}

// first returns a scalar member, or the first of a list, "" if there is none.
func first(n *yaml.Node, name string) string {
	if list := scalars(member(n, name)); len(list) > 0 {
		return list[0]
	}
	return ""
}

func (d *definition) header(root *yaml.Node) {
	d.Format = Sigma
	for _, name := range ownKeys {
		if member(root, name) != nil {
			d.Format = Own
		}
	}
	d.ID = first(root, "id")
	d.name = first(root, "name")
	d.Title = first(root, "title")
	d.Description = strings.TrimSpace(first(root, "description"))
	d.Level = strings.ToLower(first(root, "level"))
	d.Author = strings.Join(scalars(member(root, "author")), ", ")
	d.License = first(root, "license")
	d.References = scalars(member(root, "references"))
	d.FalsePositives = scalars(member(root, "falsepositives"))
	d.Version = 1
	d.AttackRelease = attack.Release
}

// checkKeys refuses unknown top-level keys of our format. Sigma allows any.
func (d *definition) checkKeys(root *yaml.Node) error {
	known := slices.Concat(sigmaKeys, ownKeys)
	return eachMember(root, func(name string, _ *yaml.Node) error {
		if d.Format == Own && !slices.Contains(known, name) {
			return faultf(name, "unknown key%s", suggest(name, known))
		}
		return nil
	})
}

// own reads the keys that say something about the rule itself.
func (d *definition) own(root *yaml.Node) error {
	if v := member(root, "version"); v != nil {
		n, err := strconv.Atoi(v.Value)
		if err != nil || n < 1 {
			return faultf("version", "%.20q is not a whole number from 1", v.Value)
		}
		d.Version = n
	}
	if release := first(root, "attack_release"); release != "" {
		d.AttackRelease = release
	}
	d.Evidence = scalars(member(root, "evidence"))
	d.Phase = first(root, "phase")
	if d.Phase != "" && d.Phase != sessionEnd {
		return faultf("phase", "unknown phase %.40q, only %s is known", d.Phase, sessionEnd)
	}
	return nil
}

func (d *definition) sigmaEmits(root *yaml.Node) error {
	confidence, ok := confidences[d.Level]
	if !ok {
		return faultf("level", "unknown level %.40q", d.Level)
	}
	t := readTags(scalars(member(root, "tags")))
	var err error
	if emit := member(root, "emit"); emit != nil {
		d.Emits, err = readEmits(emit, t)
	} else {
		d.Emits, err = t.emits(confidence)
	}
	if err == nil && len(d.Emits) == 0 {
		d.Status, d.Reason = NotApplicable, "no tag names a technique, so it has nothing to say"
	}
	return err
}

func (d *definition) sigmaDetection(root *yaml.Node, source logsource) error {
	keywordField := anyText
	if source.isAuditd() {
		keywordField = "CommandLine"
	}
	e, fields, err := parseDetection(member(root, "detection"), keywordField)
	if err != nil {
		return err
	}
	if source.isAuditd() && source.category == "" {
		if reason := auditdReason(e); reason != "" {
			d.Status, d.Reason = NotApplicable, reason
			return nil
		}
	}
	d.fields = fields
	d.detect = map[ttp.Kind]*expr{d.Kinds[0]: e}
	return nil
}
