package intake

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// Enrich reads what the messages only point at: the fingerprint and the token
// of a canary hit, the row of a credential finding, what intelligence is known
// about the attacker of a session that ended. It may append events to a
// message. An error means that the database could not be asked; what was read
// by then is kept, and calling again goes on from there.
func (r *Resolver) Enrich(ctx context.Context, messages []*Message) error {
	if err := r.lookUp(ctx, sessions(messages)); err != nil {
		return err
	}
	for _, m := range messages {
		if err := r.enrich(ctx, m); err != nil {
			return fmt.Errorf("enrich %s: %w", m.Subject, err)
		}
	}
	return nil
}

// sessions returns the events whose attacker must be known before tagging.
func sessions(messages []*Message) (events []*Event) {
	for _, m := range messages {
		if m.wantIntel {
			events = append(events, m.Events[0])
		}
	}
	return events
}

func (r *Resolver) enrich(ctx context.Context, m *Message) error {
	if m.tokenID != "" {
		if err := r.addToken(ctx, m); err != nil {
			return err
		}
		m.tokenID = ""
	}
	if m.triggerID != "" {
		if err := r.addStoredFingerprint(ctx, m); err != nil {
			return err
		}
		m.triggerID = ""
	}
	if m.reuseID != "" {
		if err := r.addReuse(ctx, m); err != nil {
			return err
		}
		m.reuseID = ""
	}
	if m.wantIntel {
		if err := r.addIntel(ctx, m); err != nil {
			return err
		}
		m.wantIntel = false
	}
	return nil
}

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
		if !hit.Payload.Has(name) {
			hit.Payload = hit.Payload.Set(name, member.Value)
		}
	}
	return nil
}

// addStoredFingerprint appends the fingerprint that the sensor stored with the
// hit. One that was sent in chunks is spread over as many hits; it belongs to
// the hit that brought the last chunk.
func (r *Resolver) addStoredFingerprint(ctx context.Context, m *Message) error {
	row, ok, err := r.db.CanaryTrigger(ctx, m.triggerID)
	if err != nil || !ok {
		return err
	}
	fp, ok := row.Headers.Object("_fp")
	if !ok {
		if fp, ok, err = r.joinChunks(ctx, row); err != nil || !ok {
			return err
		}
	}
	m.addFingerprint(m.Events[0].Payload.Set("_fp", ttp.Value(fp.AppendJSON(nil))))
	return nil
}

// Fingerprint chunks are a few kilobytes each, at most 64 of them.
const maxChunks = 64

func (r *Resolver) joinChunks(ctx context.Context, last ttp.CanaryTrigger) (ttp.Object, bool, error) {
	sid := last.Headers.ID("_fp_sid")
	index, hasIndex := last.Headers.Int("_fp_idx")
	total, hasTotal := last.Headers.Int("_fp_total")
	if sid == "" || !hasIndex || !hasTotal || total < 1 || total > maxChunks || index != total-1 {
		return nil, false, nil
	}
	rows, err := r.db.CanaryChunks(ctx, last.TokenUUID, sid)
	if err != nil {
		return nil, false, err
	}
	chunks := make([]string, total)
	for _, row := range append(rows, last) {
		i, ok := row.Headers.Int("_fp_idx")
		if ok && i >= 0 && i < total {
			chunks[i] = row.Headers.Text("_fp_chunk")
		}
	}
	if slices.Contains(chunks, "") {
		return nil, false, nil
	}
	fp, ok := decodeChunks(strings.Join(chunks, ""))
	return fp, ok, nil
}

// decodeChunks reads a fingerprint in base64, of either alphabet, padded or not.
func decodeChunks(text string) (ttp.Object, bool) {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	fp, err := ttp.ParseObject(string(data))
	return fp, err == nil
}

// addReuse completes the events of a credential finding from its row.
func (r *Resolver) addReuse(ctx context.Context, m *Message) error {
	row, ok, err := r.db.CredentialReuse(ctx, m.reuseID)
	if err != nil || !ok {
		return err
	}
	for _, e := range m.Events {
		if hash := row.Text("secret_sha256"); hash != "" && e.Payload.Text("credential_hash") == m.reuseID {
			e.Payload = e.Payload.Set("credential_hash", ttp.Quote(hash))
		}
		for _, name := range []string{"principal", "secret_kind", "attempt_count"} {
			if v, ok := row.Get(name); ok && !v.IsNull() && !e.Payload.Has(name) {
				e.Payload = e.Payload.Set(name, v)
			}
		}
		if n, ok := row.Int("target_count"); ok && !e.Payload.Has("reuse_count") {
			e.Payload = e.Payload.Set("reuse_count", ttp.Number(n))
		}
	}
	return nil
}

// intelFor is how long what is known about an attacker is believed; the
// platform asks its providers once a day.
const intelFor = 30 * time.Second

// addIntel appends what is known about the attacker of a session, under the
// same source_id as when the finding itself arrives.
func (r *Resolver) addIntel(ctx context.Context, m *Message) error {
	session := m.Events[0]
	attacker, _ := r.attackers.get(session.key())
	if attacker.UUID == "" {
		return nil // nothing can be known about who has no row
	}
	intel, remembered := r.intel.get(attacker.UUID)
	if !remembered {
		row, ok, err := r.db.Intel(ctx, attacker.UUID)
		if err != nil {
			return err
		}
		if ok {
			intel = row
		}
		r.intel.put(attacker.UUID, intel, intelFor)
	}
	if intel == nil {
		return nil
	}
	e := &Event{Event: session.Event, Address: session.Address, sourceID: (*Event).attacker}
	e.Kind, e.Payload, e.AttackerUUID = ttp.Intel, intel, attacker.UUID
	m.Events = append(m.Events, e)
	return nil
}
