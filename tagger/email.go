package tagger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// Email lifts mail that a decoy received (kind email): what the sensor says of
// it and, where that is silent, the stored message itself. It adds the members
// that are listed at [mailSignals] and [decnetMail] and asks Rules about the event. What rules
// for sessions say of a ransom note goes for mail, too.
//
// A rule that names one of these members in its evidence list gets figures,
// domains and hashes as its evidence; whatever it asks for, evidence of mail
// holds nothing that is not in [mailEvidence].
type Email struct {
	Rules Tagger

	// Artifacts is the directory that stored messages lie under, as
	// <decky>/smtp/<stored_as>. "" means that there are none: then only what
	// the event says counts.
	Artifacts string
}

// mailEvidence are the members that evidence of mail may have: none of them
// can hold an address, a body or a password.
var mailEvidence = []string{
	"body_sha256", "matched_headers", "rcpt_domain_set", "attachment_sha256s", "rcpt_count", "matched_kit",
	"matched_trigger", "matched_url_host", "matched_signals", "matched_subject_kw", "matched_body_kw", "encoded_byte_count",
}

// Tag implements [Tagger]. The error is transient if the stored message is
// there and could not be read; the findings of what the event says stand
// beside it.
func (e Email) Tag(ctx context.Context, ev *ttp.Event) ([]ttp.Finding, error) {
	m, readErr := e.read(ev)
	if readErr != nil {
		readErr = fmt.Errorf("read stored message: %w", readErr)
	}
	findings, err := lift(ctx, e.Rules, ev, m.signals())
	var noteErr error
	if note := m.ransomNote(); note != nil {
		var more []ttp.Finding
		more, noteErr = liftAs(ctx, ttp.Session, e.Rules, ev, note)
		findings = append(findings, more...)
	}
	for i := range findings {
		findings[i].Evidence = allowed(findings[i].Evidence)
	}
	return findings, errors.Join(readErr, err, noteErr)
}

// allowed returns the members of evidence that mail may have.
func allowed(evidence ttp.Object) ttp.Object {
	kept := make(ttp.Object, 0, len(evidence))
	for _, m := range evidence {
		if slices.Contains(mailEvidence, m.Name) {
			kept = append(kept, m)
		}
	}
	return kept
}

// received is a mail as the sensor describes it and, if it could be read, as
// it is.
type received struct {
	payload ttp.Object
	stored  *message // never nil
	text    string   // the body, "" if it is not known
	hash    string   // its SHA-256 in hex, "" if neither is known
}

func (e Email) read(ev *ttp.Event) (*received, error) {
	r := &received{payload: ev.Payload, stored: &message{}}
	name := storedPath(ev)
	var err error
	if e.Artifacts != "" && name != "" {
		var raw []byte
		if raw, err = readArtifact(e.Artifacts, name); raw != nil {
			r.stored = parseMessage(raw)
		}
	}
	r.text = orElse(ev.Payload.Text("body_text"), r.stored.body())
	r.hash = r.bodyHash()
	return r, err
}

// mailSignals are the members that [Email] adds:
//
//	rcpt_count          the recipients, as a number
//	sender_mismatch     true if From and envelope sender are of different domains
//	body_known          true if there is a body or a digest of one
//	matched_kit         the phishing kit that made the mail
//	idn_host            the host of a link, in another script than Latin
//	spoofed             how the sender is false, a list
//	attachment_trigger  what makes an attachment dangerous
//	lure                a subject that urges and a body that asks
//	encoded_byte_count  the bytes that base64 in the body stands for
var mailSignals = []func(*received) (signal, bool){
	(*received).recipients, (*received).senderMismatch, (*received).bodyKnown, (*received).kit, (*received).idnHost,
	(*received).spoofed, (*received).attachment, (*received).lure, (*received).encoded,
}

func (r *received) signals() []signal {
	var signals []signal
	for _, read := range slices.Concat(mailSignals, decnetMail) {
		if s, ok := read(r); ok {
			signals = append(signals, s)
		}
	}
	return signals
}

// evidence is what every finding about the mail says, and more.
func (r *received) evidence(headers []string, more ...ttp.Member) ttp.Object {
	o := ttp.Object{
		{Name: "body_sha256", Value: ttp.Quote(r.hash)},
		{Name: "matched_headers", Value: ttp.Strings(headers)},
		{Name: "rcpt_domain_set", Value: ttp.Strings(r.recipientDomains())},
		{Name: "attachment_sha256s", Value: ttp.Strings(r.attachmentHashes())},
	}
	if n, ok := r.payload.Int("rcpt_count"); ok {
		o = append(o, ttp.Member{Name: "rcpt_count", Value: ttp.Number(n)})
	}
	return append(o, more...)
}

func (r *received) bodyHash() string {
	if sum := r.payload.Text("body_sha256"); sum != "" {
		return clip(sum, 64)
	}
	if r.text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(r.text))
	return hex.EncodeToString(sum[:])
}

func (r *received) recipientDomains() []string {
	var domains []string
	for _, d := range texts(r.payload, "rcpt_domains") {
		if d = domain(d); d != "" {
			domains = append(domains, d)
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

func (r *received) attachmentHashes() []string {
	if sums := texts(r.payload, "attachment_sha256s"); len(sums) > 0 {
		return sums
	}
	var sums []string
	for _, a := range r.stored.attachments {
		sums = append(sums, a.sha256)
	}
	return sums
}

// domain returns the domain of an address or a domain, "" if there is none.
func domain(s string) string {
	s = s[strings.LastIndexByte(s, '@')+1:]
	return strings.Trim(strings.ToLower(clip(s, 255)), " \t\r\n<>.\"")
}

// ransomNote returns the signals that rules for sessions read.
func (r *received) ransomNote() []signal {
	note, ok := readRansomNote(r.text)
	if !ok {
		return nil
	}
	s := signal{"ransom_note", "true", r.evidence([]string{"body"},
		ttp.Member{Name: "matched_body_kw", Value: ttp.Quote(note.keywords[0])})}
	return []signal{s, s.named("decnet_note")}
}
