package ttp

import (
	"strconv"

	"github.com/google/uuid"
)

// tagNamespace is the UUIDv5 of "decnet:ttp_tag:v1" under the URL namespace,
// 1ca31f08-5522-5aae-8371-fe81f0e39de3. DECNET's tagger uses the same, so that
// both give one fact one row.
var tagNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("decnet:ttp_tag:v1"))

// TagUUID returns the identity of a tag: the UUIDv5 of what was seen, which
// rule said so, and which technique it names, joined with "|". Tagging the
// same thing again gives the same uuid, which is what makes storing idempotent.
// Nothing else enters it: not the attacker, the tactic, the confidence, the
// evidence nor the time. An absent sub-technique is "".
func TagUUID(kind Kind, sourceID, ruleID string, ruleVersion int, technique, subTechnique string) string {
	key := make([]byte, 0, 160)
	key = append(key, kind...)
	key = append(key, '|')
	key = append(key, sourceID...)
	key = append(key, '|')
	key = append(key, ruleID...)
	key = append(key, '|')
	key = strconv.AppendInt(key, int64(ruleVersion), 10)
	key = append(key, '|')
	key = append(key, technique...)
	key = append(key, '|')
	key = append(key, subTechnique...)
	return uuid.NewSHA1(tagNamespace, key).String()
}

// AttackerUUID returns the uuid given to an attacker that no row is known of:
// the UUIDv5 of its address under the namespace of the tags.
func AttackerUUID(address string) string {
	return uuid.NewSHA1(tagNamespace, []byte(address)).String()
}
