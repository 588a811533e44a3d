package rule

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"ttp-worker/ttp"
)

// decnetRelease is the ATT&CK release that DECNET writes beside every tag.
const decnetRelease = "v15.1"

// defaultField is the payload member that a pattern without a field, and a
// test that is a bare string, are about.
var defaultField = map[ttp.Kind]string{
	ttp.Command:           "command_text",
	ttp.HTTPRequest:       "raw_url",
	ttp.Email:             "subject",
	ttp.Intel:             "verdict",
	ttp.CanaryFingerprint: "ua_signature",
	ttp.AuthAttempt:       "username",
	ttp.Payload:           "payload_text",
}

// decnetFile mirrors a DECNET rule. What else it says is ignored.
type decnetFile struct {
	ID            string     `yaml:"rule_id"`
	Version       *int       `yaml:"rule_version"`
	Name          string     `yaml:"name"`
	Description   string     `yaml:"description"`
	AppliesTo     []ttp.Kind `yaml:"applies_to"`
	AttackRelease string     `yaml:"attack_release"`
	Match         struct {
		Kind    string `yaml:"kind"`
		Field   string `yaml:"field"`
		Pattern string `yaml:"pattern"`
	} `yaml:"match"`
	Emits []struct {
		Tactic       string   `yaml:"tactic"`
		Technique    string   `yaml:"technique_id"`
		SubTechnique string   `yaml:"sub_technique_id"`
		Confidence   *float64 `yaml:"confidence"`
	} `yaml:"emits"`
	Evidence []string `yaml:"evidence_fields"`
}

func readDECNET(d *definition, root *yaml.Node) error {
	d.Format = DECNET
	d.ID = strings.Join(scalars(member(root, "rule_id")), "")
	var file decnetFile
	if err := root.Decode(&file); err != nil {
		return err
	}
	d.Title, d.Description, d.Kinds, d.Evidence = file.Name, file.Description, file.AppliesTo, file.Evidence
	d.AttackRelease = file.AttackRelease
	if d.AttackRelease == "" {
		d.AttackRelease = decnetRelease
	}
	if err := d.checkID(); err != nil {
		return err
	}
	if file.Version == nil {
		return faultf("rule_version", "it is missing")
	}
	d.Version = *file.Version
	if len(d.Kinds) == 0 {
		return faultf("applies_to", "no kinds")
	}
	if err := d.decnetEmits(&file); err != nil {
		return err
	}
	if strings.HasPrefix(file.Match.Kind, "lifter:") {
		d.Status, d.Reason = OfLifter, "its logic is code: "+file.Match.Kind
		d.LifterKind = file.Match.Kind
		return root.Decode(&struct {
			Match *map[string]any `yaml:"match"`
		}{&d.Match})
	}
	if len(d.Emits) == 0 {
		d.Status, d.Reason = NotApplicable, "it emits nothing"
		return nil
	}
	return d.decnetPattern(file.Match.Field, file.Match.Pattern)
}

func (d *definition) decnetEmits(file *decnetFile) error {
	for _, e := range file.Emits {
		if e.Technique == "" {
			return faultf("emits", "technique_id is missing")
		}
		if e.Confidence == nil {
			return faultf("emits", "confidence of %s is missing", e.Technique)
		}
		if parent, _, sub := strings.Cut(e.Technique, "."); sub {
			if e.SubTechnique == "" {
				e.SubTechnique = e.Technique
			}
			e.Technique = parent
		}
		emit := Emit{e.Tactic, e.Technique, e.SubTechnique, *e.Confidence}
		if err := emit.check("emits"); err != nil {
			return err
		}
		d.Emits = append(d.Emits, emit)
	}
	return nil
}

func (d *definition) decnetPattern(field, source string) error {
	if source == "" {
		return faultf("match.pattern", "it is missing")
	}
	p, err := newPythonPattern(source)
	if err != nil {
		return &fault{"match.pattern", err}
	}
	d.detect = make(map[ttp.Kind]*expr)
	for _, kind := range d.Kinds {
		name := field
		if name == "" {
			name = defaultField[kind]
		}
		if name != "" {
			k := key{field: name, strict: true, how: matches, text: "python:" + source}
			d.detect[kind] = leaf(test{key: k, pattern: p})
		}
	}
	if len(d.detect) == 0 {
		return &fault{"match.field", errors.New("it is missing, and these kinds have no default")}
	}
	return nil
}
