package ttp

import (
	"crypto/sha1" // #nosec G505 -- UUIDv5 is SHA-1
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
	key := append(make([]byte, 0, 256), tagNamespace[:]...)
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
	// What uuid.NewSHA1 does, without its four allocations: this is done for
	// every tag, and dry runs do little else.
	sum := sha1.Sum(key) // #nosec G401 -- UUIDv5 is SHA-1
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 5<<4
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// AttackerUUID returns the uuid given to an attacker that no row is known of:
// the UUIDv5 of its address under the namespace of the tags.
func AttackerUUID(address string) string {
	return uuid.NewSHA1(tagNamespace, []byte(address)).String()
}
