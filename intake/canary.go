package intake

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// addToken tells the hit what kind of token it was, which rules ask for.
func (r *Resolver) addToken(ctx context.Context, m *Message) error {
	token, ok, err := r.db.CanaryToken(ctx, m.tokenID)
	if err != nil || !ok {
		return err
	}
	hit := m.Events[0]
	for _, member := range token {
		name := member.Name
		if name == "kind" {
			name = "token_kind"
		}
		hit.setAbsent(name, member.Value)
	}
	return nil
}

// addStoredFingerprint appends the fingerprint that the sensor stored with the
// hit. One that was sent in chunks is spread over as many hits and belongs to
// the hit with the last chunk. Chunks arrive in any order, so that whichever
// hit finds them all appends it; twice appended it is the same event.
func (r *Resolver) addStoredFingerprint(ctx context.Context, m *Message) error {
	row, ok, err := r.db.CanaryTrigger(ctx, m.triggerID)
	if err != nil || !ok {
		return err
	}
	fp, whole := row.Headers.Object("_fp")
	owner := m.Events[0].sourceID
	if !whole {
		var last string
		if fp, last, err = r.joinChunks(ctx, row); err != nil || fp == nil {
			return err
		}
		owner = fixedID(last)
	}
	m.addFingerprint(m.Events[0].Payload.Set("_fp", ttp.Value(fp.AppendJSON(nil))))
	m.Events[len(m.Events)-1].sourceID = owner
	return nil
}

// Fingerprint chunks are a few kilobytes each, at most 64 of them.
const maxChunks = 64

// joinChunks returns the fingerprint that hit brought a part of, and the uuid
// of the hit that brought its last part. It is nil while any part is missing.
func (r *Resolver) joinChunks(ctx context.Context, hit ttp.CanaryTrigger) (fp ttp.Object, last string, err error) {
	sid := hit.Headers.ID("_fp_sid")
	total, ok := hit.Headers.Int("_fp_total")
	if sid == "" || !ok || total < 1 || total > maxChunks {
		return nil, "", nil
	}
	rows, err := r.db.CanaryChunks(ctx, hit.TokenUUID, sid)
	if err != nil {
		return nil, "", err
	}
	chunks := make([]string, total)
	for _, row := range slices.Concat(rows, []ttp.CanaryTrigger{hit}) {
		i, ok := row.Headers.Int("_fp_idx")
		if !ok || i < 0 || i >= total {
			continue
		}
		chunks[i] = row.Headers.Text("_fp_chunk")
		if i == total-1 {
			last = row.UUID
		}
	}
	if slices.Contains(chunks, "") {
		return nil, "", nil
	}
	return decodeChunks(strings.Join(chunks, "")), last, nil
}

// decodeChunks reads a fingerprint in base64, of either alphabet, padded or
// not; nil if it is none.
func decodeChunks(text string) ttp.Object {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	fp, err := ttp.ParseObject(string(data))
	if err != nil {
		return nil
	}
	return fp
}

// addCountry tells a fingerprint which country the attacker's address is in:
// languages and clocks are held against it.
func (r *Resolver) addCountry(_ context.Context, m *Message) error {
	for _, e := range m.Events {
		if e.Kind != ttp.CanaryFingerprint {
			continue
		}
		if a, _ := r.attackers.get(e.key()); a.Country != "" {
			e.setAbsent("country_code", ttp.Quote(a.Country))
		}
	}
	return nil
}
