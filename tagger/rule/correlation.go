package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ttp-worker/ttp"
)

// correlation is what a rule asks of the events inside a session.
type correlation struct {
	sort    string
	rules   []string // names of the parts of this rule, or ids and names of others
	groupBy []string
	aliases map[string]map[string]string // group to rule to field
	span    time.Duration                // 0: as long as the session
	field   string                       // value_count
	limits  []limit
}

// The sorts of correlations.
const (
	eventCount      = "event_count"
	valueCount      = "value_count"
	temporal        = "temporal"
	temporalOrdered = "temporal_ordered"
)

// limit is a number that a count is compared with.
type limit struct {
	compare string
	n       int
}

var limitNames = []string{"gt", "gte", "lt", "lte", "eq", "neq"}

func (l limit) holds(n int) bool {
	switch l.compare {
	case "gt":
		return n > l.n
	case "gte":
		return n >= l.n
	case "lt":
		return n < l.n
	case "lte":
		return n <= l.n
	case "eq":
		return n == l.n
	}
	return n != l.n
}

// readCorrelation reads a rule over a session: a correlation of Sigma, or one
// of ours, whose detection has the parts that it is about.
func readCorrelation(d *definition, root *yaml.Node) error {
	if d.ID == "" {
		d.ID = d.name // Sigma lets a correlation have only one of them
	}
	if err := d.checkID(); err != nil {
		return err
	}
	if err := d.own(root); err != nil {
		return err
	}
	d.Phase, d.Kinds = sessionEnd, []ttp.Kind{ttp.Session}
	if d.isRetired(root) {
		return nil
	}
	if err := d.sigmaEmits(root); err != nil || d.Status != Loaded {
		return err
	}
	if err := d.readParts(member(root, "detection")); err != nil {
		return err
	}
	c, reason, err := parseCorrelation(member(root, "correlation"))
	if err != nil || reason != "" {
		d.Status, d.Reason = NotApplicable, reason
		return err
	}
	d.correlation = c
	d.tests, err = readExamples(root, ttp.Session)
	return err
}

// readParts reads the selections that stand in the rule itself. Each is about
// events of the category that it names, by default commands.
func (d *definition) readParts(n *yaml.Node) error {
	if n == nil {
		return nil
	}
	return eachMember(n, func(name string, value *yaml.Node) error {
		if name == "condition" {
			return faultf("detection.condition", "what is asked of the parts stands under correlation")
		}
		value, category, err := cutCategory(resolve(value))
		if err != nil {
			return inside(name, err)
		}
		kind, reason := logsource{category: category}.kind()
		if reason != "" || !inSession(kind) {
			return faultf("detection."+name, "a session has no events of category %.40q", category)
		}
		p := detection{keywordField: anyText}
		e, err := p.selection(value)
		if err != nil {
			return inside(name, err)
		}
		d.parts = append(d.parts, &definition{
			Info: Info{ID: name, Kinds: []ttp.Kind{kind}}, fields: p.fields, detect: map[ttp.Kind]*expr{kind: e},
		})
		return nil
	})
}

// cutCategory takes the category out of a selection.
func cutCategory(n *yaml.Node) (rest *yaml.Node, category string, err error) {
	if n.Kind != yaml.MappingNode {
		return n, "command", nil
	}
	node := member(n, "category")
	if node == nil {
		return n, "command", nil
	}
	if node.Kind != yaml.ScalarNode {
		return nil, "", faultf("detection", "category wants one name")
	}
	copied := *n
	copied.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "category" {
			copied.Content = append(copied.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &copied, node.Value, nil
}

// parseCorrelation reads the correlation itself. Reason says why it is none
// that can be answered within a session.
func parseCorrelation(n *yaml.Node) (c *correlation, reason string, err error) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, "", faultf("correlation", "a map with type, rules, timespan and condition is wanted")
	}
	c = &correlation{sort: first(n, "type"), rules: scalars(member(n, "rules")), groupBy: scalars(member(n, "group-by"))}
	err = eachMember(n, func(name string, value *yaml.Node) error {
		switch name {
		case "type", "rules", "group-by", "generate":
		case "timespan":
			c.span, err = parseSpan(value.Value)
			return err
		case "condition":
			return c.readCondition(resolve(value))
		case "aliases":
			return value.Decode(&c.aliases)
		default:
			return fmt.Errorf("unknown key %q%s", name, suggest(name, []string{"type", "rules", "group-by", "timespan", "condition", "aliases"}))
		}
		return nil
	})
	if err != nil {
		return nil, "", &fault{"correlation", err}
	}
	return c, c.unanswerable(), c.check()
}

func (c *correlation) unanswerable() string {
	switch c.sort {
	case "value_sum", "value_avg", "value_percentile", "value_median":
		return "correlations of type " + c.sort + " are not evaluated"
	}
	return ""
}

func (c *correlation) check() error {
	counts := c.sort == eventCount || c.sort == valueCount
	switch {
	case c.unanswerable() != "":
		return nil
	case !counts && c.sort != temporal && c.sort != temporalOrdered:
		return faultf("correlation.type", "unknown type %.40q", c.sort)
	case len(c.rules) == 0:
		return faultf("correlation.rules", "no rules")
	case counts && len(c.limits) == 0:
		return faultf("correlation.condition", "a count wants one of %s", strings.Join(limitNames, ", "))
	case !counts && len(c.limits) > 0:
		return faultf("correlation.condition", "type %s takes none", c.sort)
	case (c.sort == valueCount) != (c.field != ""):
		return faultf("correlation.condition", "field belongs to value_count, which must have it")
	}
	return nil
}

func (c *correlation) readCondition(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("condition: a map like {gte: 5} is wanted")
	}
	return eachMember(n, func(name string, value *yaml.Node) error {
		value = resolve(value)
		if name == "field" {
			c.field = value.Value
			return nil
		}
		if !slices.Contains(limitNames, name) {
			return fmt.Errorf("condition: unknown key %q%s", name, suggest(name, append(limitNames, "field")))
		}
		count, err := strconv.Atoi(value.Value)
		if err != nil {
			return fmt.Errorf("condition: %.20q is not a whole number", value.Value)
		}
		c.limits = append(c.limits, limit{name, count})
		return nil
	})
}

func (c *correlation) holds(n int) bool {
	return !slices.ContainsFunc(c.limits, func(l limit) bool { return !l.holds(n) })
}

// String says what is asked of the parts.
func (c *correlation) String() string {
	var b strings.Builder
	switch c.sort {
	case temporal:
		b.WriteString("all of")
	case temporalOrdered:
		b.WriteString("one after the other")
	case eventCount:
		b.WriteString("how often any of")
	case valueCount:
		b.WriteString("how many different " + c.field + " of any of")
	}
	for _, l := range c.limits {
		fmt.Fprintf(&b, ", %s %d", l.compare, l.n)
	}
	if c.span > 0 {
		b.WriteString(", within " + c.span.String())
	}
	if len(c.groupBy) > 0 {
		b.WriteString(", with the same " + strings.Join(c.groupBy, ", "))
	}
	return b.String()
}

// parseSpan reads Sigma's timespan, such as 10m.
func parseSpan(s string) (time.Duration, error) {
	units := map[byte]time.Duration{
		's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
		'M': 30 * 24 * time.Hour, 'y': 365 * 24 * time.Hour,
	}
	if s != "" {
		n, err := strconv.ParseUint(s[:len(s)-1], 10, 16)
		if unit, ok := units[s[len(s)-1]]; ok && err == nil && n > 0 {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fmt.Errorf("timespan: %.20q is not a number with one of s m h d w M y", s)
}

// fieldOf returns the field of a rule's events that a group is about.
func (c *correlation) fieldOf(group, rule string) string {
	if field := c.aliases[group][rule]; field != "" {
		return field
	}
	return group
}
