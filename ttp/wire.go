package ttp

import (
	"encoding/json"
	"slices"
	"strconv"
)

// AppendJSON appends the tag as a JSON object to dst: the columns of ttp_tag
// without created_at, in the table's order, absent ones null.
func (t *Tag) AppendJSON(dst []byte) []byte {
	dst = appendText(append(dst, '{'), "uuid", t.UUID)
	dst = appendText(append(dst, ','), "source_kind", string(t.SourceKind))
	dst = appendText(append(dst, ','), "source_id", t.SourceID)
	dst = appendNullable(append(dst, ','), "attacker_uuid", t.AttackerUUID)
	dst = appendNullable(append(dst, ','), "identity_uuid", t.IdentityUUID)
	dst = appendNullable(append(dst, ','), "session_id", t.SessionID)
	dst = appendNullable(append(dst, ','), "decky_id", t.DeckyID)
	dst = t.Finding.appendTechnique(append(dst, ','))
	return append(dst, '}')
}

// MarshalJSON implements [json.Marshaler]; see [Tag.AppendJSON].
func (t Tag) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// appendTechnique appends the finding's members without braces.
func (f *Finding) appendTechnique(dst []byte) []byte {
	dst = appendText(dst, "tactic", f.Tactic)
	dst = appendText(append(dst, ','), "technique_id", f.Technique)
	dst = appendNullable(append(dst, ','), "sub_technique_id", f.SubTechnique)
	dst = append(dst, `,"confidence":`...)
	dst = strconv.AppendFloat(dst, f.Confidence, 'g', -1, 64)
	dst = appendText(append(dst, ','), "rule_id", f.RuleID)
	dst = append(dst, `,"rule_version":`...)
	dst = strconv.AppendInt(dst, int64(f.RuleVersion), 10)
	dst = append(dst, `,"evidence":`...)
	dst = f.Evidence.AppendJSON(dst)
	dst = appendText(append(dst, ','), "attack_release", f.AttackRelease)
	return appendNullable(append(dst, ','), "mitre_url", f.MitreURL)
}

func appendText(dst []byte, name, value string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return AppendQuoted(dst, value)
}

func appendNullable(dst []byte, name, value string) []byte {
	if value != "" {
		return appendText(dst, name, value)
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, `":null`...)
}

// Techniques returns the distinct technique ids of the tags, sorted.
func (t *Tagged) Techniques() []string {
	return t.techniques(make([]string, 0, len(t.Tags)))
}

func (t *Tagged) techniques(ids []string) []string {
	for i := range t.Tags {
		ids = append(ids, t.Tags[i].Technique)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// MarshalJSON implements [json.Marshaler]; see [Tagged.AppendJSON].
func (t Tagged) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// AppendJSON appends the payload of ttp.tagged to dst. The tags in it leave out
// what they share with the event.
func (t *Tagged) AppendJSON(dst []byte) []byte {
	return t.appendMembers(append(dst, '{'), t.Tags)
}

// AppendHead is [Tagged.AppendJSON] with the uuids of the tags and nothing else
// of them.
func (t *Tagged) AppendHead(dst []byte) []byte {
	return t.appendMembers(append(dst, '{'), nil)
}

// AppendEntry is [Tagged.AppendHead] with the trace in front, if there is one:
// the form in which t waits to be published.
func (t *Tagged) AppendEntry(dst []byte) []byte {
	dst = append(dst, '{')
	if t.TraceParent != "" {
		dst = append(appendText(dst, "traceparent", t.TraceParent), ',')
	}
	return t.appendMembers(dst, nil)
}

func (t *Tagged) appendMembers(dst []byte, tags []Tag) []byte {
	dst = appendNullable(dst, "attacker_uuid", t.AttackerUUID)
	dst = appendNullable(append(dst, ','), "identity_uuid", t.IdentityUUID)
	dst = appendNullable(append(dst, ','), "session_id", t.SessionID)
	dst = appendNullable(append(dst, ','), "decky_id", t.DeckyID)
	dst = appendText(append(dst, ','), "source_kind", string(t.SourceKind))
	dst = appendText(append(dst, ','), "source_id", t.SourceID)
	dst = append(dst, `,"tag_uuids":[`...)
	for i := range t.Tags {
		dst = AppendQuoted(appendComma(dst, i), t.Tags[i].UUID)
	}
	dst = append(dst, `],"techniques_added":[`...)
	var few [8]string // most have as few, and stay off the heap
	for i, id := range t.techniques(few[:0]) {
		dst = AppendQuoted(appendComma(dst, i), id)
	}
	dst = append(dst, `],"tags":[`...)
	for i := range tags {
		tag := &tags[i]
		dst = appendText(append(appendComma(dst, i), '{'), "uuid", tag.UUID)
		dst = appendText(append(dst, ','), "source_kind", string(tag.SourceKind))
		dst = appendText(append(dst, ','), "source_id", tag.SourceID)
		dst = tag.Finding.appendTechnique(append(dst, ','))
		dst = append(dst, '}')
	}
	return append(dst, ']', '}')
}

// appendComma appends what stands before the ith element of a list.
func appendComma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

// taggedJSON mirrors what MarshalJSON writes, for reading it back.
type taggedJSON struct {
	AttackerUUID string `json:"attacker_uuid"`
	IdentityUUID string `json:"identity_uuid"`
	SessionID    string `json:"session_id"`
	DeckyID      string `json:"decky_id"`
	SourceKind   Kind   `json:"source_kind"`
	SourceID     string `json:"source_id"`
	TraceParent  string `json:"traceparent"` // in the outbox only
	Tags         []struct {
		UUID          string  `json:"uuid"`
		SourceKind    Kind    `json:"source_kind"`
		SourceID      string  `json:"source_id"`
		Tactic        string  `json:"tactic"`
		Technique     string  `json:"technique_id"`
		SubTechnique  string  `json:"sub_technique_id"`
		Confidence    float64 `json:"confidence"`
		RuleID        string  `json:"rule_id"`
		RuleVersion   int     `json:"rule_version"`
		Evidence      Object  `json:"evidence"`
		AttackRelease string  `json:"attack_release"`
		MitreURL      string  `json:"mitre_url"`
	} `json:"tags"`
}

// UnmarshalJSON reads the payload of ttp.tagged back, and the trace where
// [Tagged.AppendEntry] wrote it. The tags get the anchors and the place of the
// event.
func (t *Tagged) UnmarshalJSON(data []byte) error {
	var in taggedJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*t = Tagged{
		AttackerUUID: in.AttackerUUID, IdentityUUID: in.IdentityUUID,
		SessionID: in.SessionID, DeckyID: in.DeckyID,
		SourceKind: in.SourceKind, SourceID: in.SourceID, TraceParent: in.TraceParent,
		Tags: make([]Tag, len(in.Tags)),
	}
	for i, tag := range in.Tags {
		t.Tags[i] = Tag{
			UUID: tag.UUID, SourceKind: tag.SourceKind, SourceID: tag.SourceID,
			AttackerUUID: in.AttackerUUID, IdentityUUID: in.IdentityUUID,
			SessionID: in.SessionID, DeckyID: in.DeckyID,
			Finding: Finding{
				Claim: &Claim{
					RuleID: tag.RuleID, RuleVersion: tag.RuleVersion,
					Tactic: tag.Tactic, Technique: tag.Technique, SubTechnique: tag.SubTechnique,
					AttackRelease: tag.AttackRelease, MitreURL: tag.MitreURL,
				},
				Confidence: tag.Confidence, Evidence: tag.Evidence,
			},
		}
	}
	return nil
}
