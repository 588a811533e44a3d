package sink

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ttp-worker/ttp"
)

// tagColumns are the columns of ttp_tag in the order of row.texts.
var tagColumns = []string{
	"uuid", "source_kind", "source_id", "attacker_uuid", "identity_uuid", "session_id", "decky_id",
	"tactic", "technique_id", "sub_technique_id", "confidence", "rule_id", "rule_version",
	"evidence", "attack_release", "mitre_url", "created_at",
}

// The columns that are no text, and those where an absent text is NULL.
const (
	confidenceColumn = 10
	versionColumn    = 12
	evidenceColumn   = 13
)

var nullColumns = [...]bool{3: true, 4: true, 5: true, 6: true, 9: true, 15: true, 16: false}

// row is a tag on its way into the table.
type row struct {
	arrived  int      // index into the batch
	tag      *ttp.Tag // of the batch
	evidence string   // JSON in ASCII
	created  string   // the text of created_at
	from, to int      // where its text is, as part of a statement, in writing.text
	fresh    bool     // it was not there before
}

// size is how many bytes the row takes in a statement.
func (r *row) size() int { return r.to - r.from }

// texts are the values by tagColumns, "" for numbers and what is absent.
func (r *row) texts() [len(nullColumns)]string {
	t := r.tag
	return [...]string{
		t.UUID, string(t.SourceKind), t.SourceID, t.AttackerUUID, t.IdentityUUID, t.SessionID, t.DeckyID,
		t.Tactic, t.Technique, t.SubTechnique, "", t.RuleID, "",
		r.evidence, t.AttackRelease, t.MitreURL, r.created,
	}
}

// args are the values as arguments of a statement.
func (r *row) args(dst []any) []any {
	for i, s := range r.texts() {
		switch {
		case i == confidenceColumn:
			dst = append(dst, r.tag.Confidence)
		case i == versionColumn:
			dst = append(dst, int64(r.tag.RuleVersion))
		case s == "" && nullColumns[i]:
			dst = append(dst, nil)
		default:
			dst = append(dst, s)
		}
	}
	return dst
}

// appendSQL appends the values as a statement has them, in brackets.
func (r *row) appendSQL(dst []byte) []byte {
	dst = append(dst, '(')
	for i, s := range r.texts() {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch {
		case i == confidenceColumn:
			dst = strconv.AppendFloat(dst, r.tag.Confidence, 'g', -1, 64)
		case i == versionColumn:
			dst = strconv.AppendInt(dst, int64(r.tag.RuleVersion), 10)
		case s == "" && nullColumns[i]:
			dst = append(dst, "NULL"...)
		default:
			dst = appendLiteral(dst, s)
		}
	}
	return append(dst, ')')
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// appendLiteral appends s as MySQL wants a text in a statement, on a connection
// in utf8mb4 whose sql_mode lets a backslash escape. The driver writes the same,
// one argument at a time; a batch has ten thousand.
func appendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '\'')
	from := 0
	for i := range len(s) {
		escaped := escapes[s[i]]
		if escaped == 0 {
			continue
		}
		dst = append(append(dst, s[from:i]...), '\\', escaped)
		from = i + 1
	}
	return append(append(dst, s[from:]...), '\'')
}

// escapes are what stands behind the backslash for the bytes that need one.
var escapes = [256]byte{0: '0', '\n': 'n', '\r': 'r', 0x1a: 'Z', '\'': '\'', '"': '"', '\\': '\\'}

// tagTable is the columns of ttp_tag by tagColumns; nil where the table lacks one.
type tagTable [len(nullColumns)]*column

func tagTableOf(found columns) (t tagTable) {
	for i, name := range tagColumns {
		if c, ok := found[name]; ok {
			t[i] = &c
		}
	}
	return t
}

// check says why the row would not be stored as it is, nil if nothing is
// known against it. packet is the longest statement, -1 if there is no limit.
func (r *row) check(table *tagTable, packet int) error {
	if !isUUID(r.tag.UUID) {
		return errors.New("uuid: not a UUID in lower case")
	}
	if r.tag.AttackerUUID == "" && r.tag.IdentityUUID == "" {
		return errors.New("attacker_uuid, identity_uuid: one of them must be set")
	}
	if err := ttp.CheckObject(r.evidence); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	for i, s := range r.texts() {
		if table[i] == nil {
			continue // the insert will say so, to the operator
		}
		if err := r.checkColumn(table[i], i, s); err != nil {
			return fmt.Errorf("%s: %w", tagColumns[i], err)
		}
	}
	if packet > 0 && r.size()+statementRoom > packet {
		return fmt.Errorf("evidence: the row takes %d bytes, the server's max_allowed_packet is %d", r.size(), packet)
	}
	return nil
}

func (r *row) checkColumn(c *column, i int, s string) error {
	switch {
	case i == confidenceColumn:
		return takesConfidence(r.tag.Confidence)
	case i == versionColumn:
		return c.takesInt(int64(r.tag.RuleVersion))
	case s == "" && nullColumns[i]:
		return c.takesNull()
	}
	return c.takesText(s)
}

// isUUID reports whether s is a UUID as the column has it, in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		isHyphen := i == 8 || i == 13 || i == 18 || i == 23
		if c := s[i]; isHyphen != (c == '-') || !isHyphen && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
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
	if !strings.Contains(text, `\u`) && ttp.IsASCII(text) {
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
