// Package stix makes STIX 2.1 bundles of what was observed: who, which
// techniques, and a sighting for each.
package stix

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

// Bundle is what is exchanged.
type Bundle struct {
	Type    string `json:"type"` // "bundle"
	ID      string `json:"id"`
	Objects []any  `json:"objects"`
}

// Time is a time as STIX writes it: UTC, milliseconds.
type Time time.Time

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z") + `"`), nil
}

// common is what all objects have.
type common struct {
	Type        string `json:"type"`
	SpecVersion string `json:"spec_version"`
	ID          string `json:"id"`
	CreatedBy   string `json:"created_by_ref,omitempty"`
	Created     Time   `json:"created"`
	Modified    Time   `json:"modified"`
}

// Identity is the sensor: the fleet of decoys.
type Identity struct {
	common
	Name  string `json:"name"`
	Class string `json:"identity_class"`
}

// Actor is a threat-actor or a campaign.
type Actor struct {
	common
	Name        string    `json:"name"`
	Description string    `json:"description"`
	FirstSeen   Time      `json:"first_seen"`
	LastSeen    Time      `json:"last_seen"`
	Types       *[]string `json:"threat_actor_types,omitempty"`
}

// AttackPattern is a technique of ATT&CK.
type AttackPattern struct {
	common
	Name       string      `json:"name"`
	References []Reference `json:"external_references"`
	Phases     []Phase     `json:"kill_chain_phases,omitempty"`
}

// Reference says what somebody else calls it.
type Reference struct {
	Source string `json:"source_name"`
	ID     string `json:"external_id"`
	URL    string `json:"url,omitempty"`
}

// Phase is a tactic.
type Phase struct {
	Chain string `json:"kill_chain_name"`
	Name  string `json:"phase_name"`
}

// Relationship says that the actor uses a technique.
type Relationship struct {
	common
	Kind      string `json:"relationship_type"`
	Source    string `json:"source_ref"`
	Target    string `json:"target_ref"`
	StartTime Time   `json:"start_time"`
	StopTime  *Time  `json:"stop_time,omitempty"` // must be later than the start
}

// Sighting says how often a technique was seen, and when.
type Sighting struct {
	common
	Description string   `json:"description"`
	Confidence  int      `json:"confidence"` // from 1 to 99
	FirstSeen   Time     `json:"first_seen"`
	LastSeen    Time     `json:"last_seen"`
	Count       int64    `json:"count"`
	Of          string   `json:"sighting_of_ref"`
	Where       []string `json:"where_sighted_refs"`
	Summary     bool     `json:"summary"`
}

// maxCount is the highest count of a sighting.
const maxCount = 999_999_999

// shape is that of the ids of ATT&CK.
var shape = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

// namespace is that of the ids: the same thing has the same id in every bundle.
var namespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("ttp-worker:stix:v1"))

// epoch is when what stays the same was made: the release of the catalogue.
var epoch = Time(time.Date(2026, 5, 12, 0, 0, 0, 0, time.UTC))

func id(kind string, key ...string) string {
	return kind + "--" + uuid.NewSHA1(namespace, []byte(kind+"|"+strings.Join(key, "|"))).String()
}

// builder collects the objects of one bundle.
type builder struct {
	scope  ttp.Scope
	sensor string
	actor  string // "" if the scope is none
	seen   map[string]bool
	list   []any
}

// NewBundle returns what rollups, those of scope's tags, say. A fleet or a
// session is no actor: its bundle has sightings only.
func NewBundle(scope ttp.Scope, rollups []ttp.Rollup) Bundle {
	b := &builder{scope: scope, sensor: id("identity", "sensor"), seen: map[string]bool{}}
	b.list = append(b.list, Identity{
		common: common{Type: "identity", SpecVersion: "2.1", ID: b.sensor, Created: epoch, Modified: epoch},
		Name:   "ttp-worker honeypot fleet", Class: "system",
	})
	if len(rollups) > 0 {
		b.addActor(rollups)
	}
	for i := range rollups {
		b.add(&rollups[i])
	}
	content, _ := json.Marshal(b.list) // texts and numbers always marshal
	return Bundle{Type: "bundle", ID: id("bundle", string(content)), Objects: b.list}
}

// addActor adds who did it, if scope says who.
func (b *builder) addActor(rollups []ttp.Rollup) {
	first := slices.MinFunc(rollups, func(x, y ttp.Rollup) int { return x.FirstSeen.Compare(y.FirstSeen) }).FirstSeen
	last := slices.MaxFunc(rollups, func(x, y ttp.Rollup) int { return x.LastSeen.Compare(y.LastSeen) }).LastSeen
	a := Actor{FirstSeen: Time(first), LastSeen: Time(last)}
	switch b.scope.By {
	case ttp.ByCampaign:
		a.common = b.common("campaign", first, last, b.scope.ID)
		a.Name, a.Description = "Campaign "+b.scope.ID, "Identities that a honeypot fleet takes to act together."
	case ttp.ByIdentity, ttp.ByAttacker:
		a.common = b.common("threat-actor", first, last, string(b.scope.By), b.scope.ID)
		a.Name, a.Description = "Honeypot "+string(b.scope.By)+" "+b.scope.ID, "Seen by a honeypot fleet."
		a.Types = &[]string{"unknown"}
	default:
		return
	}
	b.actor = a.ID
	b.list = append(b.list, a)
}

// common makes what an object of that id has that was first seen and last
// changed at these times. It is made when it was first seen.
func (b *builder) common(kind string, first, last time.Time, key ...string) common {
	return common{Type: kind, SpecVersion: "2.1", ID: id(kind, key...), CreatedBy: b.sensor, Created: Time(first), Modified: Time(last)}
}

// add adds the technique, who uses it, and the sighting.
func (b *builder) add(r *ttp.Rollup) {
	technique := b.pattern(cmp.Or(r.SubTechnique, r.Technique))
	stamp := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
	key := []string{string(b.scope.By), b.scope.ID, technique, r.Tactic, stamp(r.FirstSeen)}
	if b.actor != "" && b.once("uses "+technique) {
		use := Relationship{common: b.common("relationship", r.FirstSeen, r.LastSeen, b.actor, technique, stamp(r.FirstSeen)), Kind: "uses", Source: b.actor, Target: technique, StartTime: Time(r.FirstSeen)}
		if r.LastSeen.Sub(r.FirstSeen) >= time.Millisecond {
			use.StopTime = new(Time(r.LastSeen))
		}
		b.list = append(b.list, use)
	}
	b.list = append(b.list, Sighting{
		common: b.common("sighting", r.FirstSeen, r.LastSeen, append(key, fmt.Sprint(r.Count))...), Description: ruleList(r),
		Confidence: percent(r.MaxConfidence), FirstSeen: Time(r.FirstSeen), LastSeen: Time(r.LastSeen),
		Count: min(r.Count, maxCount), Of: technique, Where: []string{b.sensor}, Summary: true,
	})
}

// percent returns a confidence as a sighting has it. MITRE's library takes
// neither 0 nor 100.
func percent(confidence float64) int { return min(max(int(math.Round(confidence*100)), 1), 99) }

// once reports whether it is asked for key for the first time.
func (b *builder) once(key string) bool {
	known := b.seen[key]
	b.seen[key] = true
	return !known
}

// pattern returns the id of the technique's object, which it adds if need be.
// A revoked technique is what replaced it.
func (b *builder) pattern(technique string) string {
	technique = cmp.Or(attack.Successor(technique), technique)
	p := AttackPattern{
		common: common{Type: "attack-pattern", SpecVersion: "2.1", ID: id("attack-pattern", technique), CreatedBy: b.sensor, Created: epoch, Modified: epoch},
		Name:   technique, References: []Reference{{Source: "ttp-worker", ID: technique}},
	}
	if shape.MatchString(technique) {
		p.References[0].Source = "mitre-attack"
	}
	if known, ok := attack.Lookup(technique); ok {
		p.Name, p.References[0].URL, p.Phases = known.Name, known.URL, chain(known)
	}
	if b.once(technique) {
		b.list = append(b.list, p)
	}
	return p.ID
}

// chain returns the tactics of a technique.
func chain(t attack.Technique) (phases []Phase) {
	name := "mitre-attack"
	if t.ICS {
		name = "mitre-ics-attack"
	}
	for _, tactic := range t.Tactics {
		if known, ok := attack.LookupTactic(tactic); ok {
			phases = append(phases, Phase{name, known.ShortName})
		}
	}
	return phases
}

func ruleList(r *ttp.Rollup) string {
	names := make([]string, len(r.Rules))
	for i, hits := range r.Rules {
		names[i] = fmt.Sprintf("%s (%d)", hits.RuleID, hits.Count)
	}
	return "Under " + r.Tactic + " by " + strings.Join(names, ", ")
}
