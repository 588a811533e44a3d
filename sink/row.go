package sink

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"ttp-worker/ttp"
)

// tagColumns are the columns of ttp_tag in the order of row.values.
var tagColumns = []string{
	"uuid", "source_kind", "source_id", "attacker_uuid", "identity_uuid", "session_id", "decky_id",
	"tactic", "technique_id", "sub_technique_id", "confidence", "rule_id", "rule_version",
	"evidence", "attack_release", "mitre_url", "created_at",
}

// row is a tag on its way into the table.
type row struct {
	arrived int // index into the batch
	tag     ttp.Tag
	values  []any // by tagColumns: nil, string, int64 or float64
	size    int   // in bytes, as part of a statement
}

// newRow makes the row of tag. createdAt is the text of the column.
func newRow(arrived int, tag ttp.Tag, createdAt string) row {
	r := row{arrived: arrived, tag: tag}
	r.values = []any{
		tag.UUID, string(tag.SourceKind), tag.SourceID,
		orNull(tag.AttackerUUID), orNull(tag.IdentityUUID), orNull(tag.SessionID), orNull(tag.DeckyID),
		tag.Tactic, tag.Technique, orNull(tag.SubTechnique), tag.Confidence, tag.RuleID, int64(tag.RuleVersion),
		asciiJSON(string(tag.Evidence.AppendJSON(nil))), tag.AttackRelease, orNull(tag.MitreURL), createdAt,
	}
	r.size = statementSize(r.values)
	return r
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// statementSize is how many bytes the values take as text in a statement.
func statementSize(values []any) int {
	size := 2 + len(values)
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			size += 24 // the longest number
			continue
		}
		size += len(s) + 2
		for i := range len(s) {
			switch s[i] {
			case 0, '\n', '\r', '\x1a', '"', '\'', '\\':
				size++
			}
		}
	}
	return size
}

// check says why the row would not be stored as it is, nil if nothing is
// known against it. packet is the longest statement, -1 if there is no limit.
func (r *row) check(table columns, packet int) error {
	if id, err := uuid.Parse(r.tag.UUID); err != nil || id.String() != r.tag.UUID {
		return errors.New("uuid: not a UUID in lower case")
	}
	if r.tag.AttackerUUID == "" && r.tag.IdentityUUID == "" {
		return errors.New("attacker_uuid, identity_uuid: one of them must be set")
	}
	if _, err := ttp.ParseObject(r.values[13].(string)); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	for i, name := range tagColumns {
		col, ok := table[name]
		if !ok {
			continue // the insert will say so, to the operator
		}
		if err := col.takes(r.values[i]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if packet > 0 && r.size+statementRoom > packet {
		return fmt.Errorf("evidence: the row takes %d bytes, the server's max_allowed_packet is %d", r.size, packet)
	}
	return nil
}

// timeText writes t for a column with that many digits of fraction. The rest
// is cut off here since MySQL would round up, into the future.
func timeText(t time.Time, digits int) string {
	text := t.UTC().Format("2006-01-02 15:04:05.000000")
	if digits <= 0 {
		return text[:19]
	}
	return text[:20+min(digits, 6)]
}

// asciiJSON returns valid JSON text with what is beyond ASCII in its strings
// escaped, so that no column's character set stands in its way. The half of a
// surrogate pair, which an attacker can make a payload hold and MySQL refuses,
// becomes U+FFFD.
func asciiJSON(text string) string {
	if !strings.Contains(text, `\u`) && isASCII(text) {
		return text
	}
	dst := make([]byte, 0, len(text)+len(text)/2)
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\':
			n := escapeLen(text[i:])
			dst = appendEscape(dst, text[i:i+n])
			i += n
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(text[i:])
			quoted := ttp.Quote(string(r))
			dst = append(dst, quoted[1:len(quoted)-1]...)
			i += n
		}
	}
	return string(dst)
}

// escapeLen is the length of the escape that text begins with, that of a whole
// pair of surrogates if there is one.
func escapeLen(text string) int {
	switch {
	case len(text) < 6 || text[1] != 'u':
		return min(2, len(text))
	case isSurrogate(text, "89abAB") && isSurrogate(text[6:], "cdefCDEF"):
		return 12
	}
	return 6
}

func isSurrogate(text, third string) bool {
	return len(text) >= 6 && text[0] == '\\' && text[1] == 'u' && text[2]|0x20 == 'd' &&
		strings.IndexByte(third, text[3]) >= 0
}

// appendEscape appends an escape, or U+FFFD if it is half of a pair.
func appendEscape(dst []byte, escape string) []byte {
	if len(escape) == 6 && isSurrogate(escape, "89abcdefABCDEF") {
		return append(dst, `\ufffd`...)
	}
	return append(dst, escape...)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
