// Package navigator makes layers for MITRE's ATT&CK Navigator, format 4.5, from
// scores of techniques.
package navigator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The domains that a layer can be of: one matrix each.
const (
	Enterprise = "enterprise-attack"
	ICS        = "ics-attack"
)

// The versions that are written into every layer. Of ATT&CK the Navigator
// reads the major number only, and it must be a text.
const (
	attackMajor      = "19"
	navigatorVersion = "5.1.0"
	layerVersion     = "4.5"
)

// Layer is one layer: what is drawn over one matrix.
type Layer struct {
	Name        string      `json:"name"`
	Versions    Versions    `json:"versions"`
	Domain      string      `json:"domain"`
	Description string      `json:"description,omitempty"`
	Sorting     int         `json:"sorting"` // 3: highest score first
	Layout      Layout      `json:"layout"`
	Techniques  []Technique `json:"techniques"`
	Gradient    *Gradient   `json:"gradient,omitempty"`
	Metadata    []Metadata  `json:"metadata,omitempty"`
	Links       []Link      `json:"links,omitempty"`
}

// Versions say what the layer was made for.
type Versions struct {
	Attack    string `json:"attack"`
	Navigator string `json:"navigator"`
	Layer     string `json:"layer"`
}

// Layout is how the matrix is drawn.
type Layout struct {
	Layout                string `json:"layout"`
	ShowID                bool   `json:"showID"`
	ShowName              bool   `json:"showName"`
	ShowAggregateScores   bool   `json:"showAggregateScores"`
	CountUnscored         bool   `json:"countUnscored"`
	AggregateFunction     string `json:"aggregateFunction"`
	ExpandedSubtechniques string `json:"expandedSubtechniques"`
}

// Technique is one cell of the matrix.
type Technique struct {
	ID                string     `json:"techniqueID"`
	Tactic            string     `json:"tactic,omitempty"` // short name; "" is every tactic of the technique
	Score             *float64   `json:"score,omitempty"`
	Comment           string     `json:"comment,omitempty"`
	Metadata          []Metadata `json:"metadata,omitempty"`
	Links             []Link     `json:"links,omitempty"`
	ShowSubtechniques bool       `json:"showSubtechniques,omitempty"`
}

// Gradient is the colours of the scores from MinValue to MaxValue.
type Gradient struct {
	Colors   []string `json:"colors"`
	MinValue int      `json:"minValue"`
	MaxValue int      `json:"maxValue"`
}

// Metadata is a name and a value beside a layer or a technique; the Navigator
// drops one that is empty on either side.
type Metadata struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Link is a page to open from a layer or a technique.
type Link struct {
	Label string `json:"label"`
	URL   string `json:"url"` // with its scheme
}

// Write writes the layers as JSON: one as an object, more as a list, which the
// Navigator opens as tabs. A layer that the Navigator would misread without a
// word is an error, and then nothing is written.
func Write(w io.Writer, layers []Layer) error {
	if len(layers) == 0 {
		return errors.New("write layer: there is none")
	}
	for i := range layers {
		if err := layers[i].check(); err != nil {
			return fmt.Errorf("write layer %q: %w", layers[i].Name, err)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if len(layers) == 1 {
		return enc.Encode(layers[0])
	}
	return enc.Encode(layers)
}
