package intake

import (
	"context"
	"fmt"
	"time"

	"ttp-worker/ttp"
)

// Enrich reads what the messages only point at: the fingerprint and the token
// of a canary hit, the row of a credential finding, the passwords that an
// identity tried, what intelligence is known about the attacker of a session
// that ended. It may append events to a message. An error means that the
// database could not be asked; what was read by then is kept, and calling again
// goes on from there.
func (r *Resolver) Enrich(ctx context.Context, messages []*Message) error {
	if err := r.lookUp(ctx, early(messages)); err != nil {
		return err
	}
	for _, m := range messages {
		if err := r.enrich(ctx, m); err != nil {
			return fmt.Errorf("enrich %s: %w", m.Subject, err)
		}
	}
	return nil
}

// early returns the events whose attacker must be known before tagging.
func early(messages []*Message) (events []*Event) {
	for _, m := range messages {
		if m.wantIntel || m.wantCountry {
			events = append(events, m.Events[0])
		}
	}
	return events
}

// enrich takes the steps that the message still needs.
func (r *Resolver) enrich(ctx context.Context, m *Message) error {
	for _, step := range []struct {
		wanted bool
		take   func(context.Context, *Message) error
		done   func()
	}{
		{m.tokenID != "", r.addToken, func() { m.tokenID = "" }},
		{m.triggerID != "", r.addStoredFingerprint, func() { m.triggerID = "" }},
		{m.wantCountry, r.addCountry, func() { m.wantCountry = false }},
		{m.reuseID != "", r.addReuse, func() { m.reuseID = "" }},
		{m.identityID != "", r.addSpraying, func() { m.identityID = "" }},
		{m.wantIntel, r.addIntel, func() { m.wantIntel = false }},
		{m.intelOf != "", r.completeIntel, func() { m.intelOf = "" }},
	} {
		if !step.wanted {
			continue
		}
		if err := step.take(ctx, m); err != nil {
			return err
		}
		step.done()
	}
	return nil
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

// completeIntel fills in what the attacker's row says and the message does not:
// it holds only what the providers answered this time, and of the reports of
// AbuseIPDB no categories.
func (r *Resolver) completeIntel(ctx context.Context, m *Message) error {
	row, ok, err := r.db.Intel(ctx, m.intelOf)
	if err != nil || !ok {
		return err
	}
	e := m.Events[0]
	for _, member := range row {
		v, _ := e.Payload.Get(member.Name)
		if list, isList := v.List(); (v.IsNull() || isList && len(list) == 0) && !member.Value.IsNull() {
			e.Payload = e.Payload.Set(member.Name, member.Value)
		}
	}
	r.intel.put(m.intelOf, row, intelFor)
	return nil
}

// addSpraying tells of an identity how many accounts it tried the same password
// with, which is in no message.
func (r *Resolver) addSpraying(ctx context.Context, m *Message) error {
	s, ok, err := r.db.Spraying(ctx, m.identityID)
	if err != nil || !ok {
		return err
	}
	e := m.Events[0]
	e.setAbsent("shared_password_hash", ttp.Quote(s.SecretHash))
	e.setAbsent("account_count", ttp.Number(int64(s.Accounts)))
	return nil
}
