package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"ttp-worker/ttp"
)

// columns are the columns of a table by their name in lower case.
type columns map[string]column

// column is what a column takes.
type column struct {
	kind       string // the data type's name, "varchar"
	definition string // type, character set and collation as DDL wants them; MySQL only
	nullable   bool
	hasDefault bool   // or fills itself
	chars      int64  // longest text in characters, 0 if there is no limit
	octets     int64  // longest text in bytes, 0 if there is no limit
	charset    string // "" if the column takes any text
	unsigned   bool
	precision  int // digits of a second's fraction
}

// schema remembers what the database was found to look like.
type schema struct {
	mu     sync.Mutex // guards what follows
	tables map[string]readTable
	packet int // 0: not read yet, -1: no limit
}

type readTable struct {
	columns columns
	at      time.Time
}

// absentFor is how long a table that was not there is taken to be missing
// still: a DECNET that is installed beside us makes its tables at its start.
const absentFor = time.Minute

// columns returns the columns of table, none if it is absent.
func (d *DB) columns(ctx context.Context, table string) (columns, error) {
	d.schema.mu.Lock()
	known, ok := d.schema.tables[table]
	d.schema.mu.Unlock()
	if ok && (len(known.columns) > 0 || d.now().Sub(known.at) < absentFor) {
		return known.columns, nil
	}
	found, err := d.dialect.columns(ctx, d.read, table)
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", table, err)
	}
	d.schema.mu.Lock()
	defer d.schema.mu.Unlock()
	if d.schema.tables == nil {
		d.schema.tables = map[string]readTable{}
	}
	d.schema.tables[table] = readTable{found, d.now()}
	return found, nil
}

// packet returns the length of the longest statement, -1 if there is no limit.
func (d *DB) packet(ctx context.Context) (int, error) {
	d.schema.mu.Lock()
	n := d.schema.packet
	d.schema.mu.Unlock()
	if n != 0 {
		return n, nil
	}
	n, err := d.dialect.packet(ctx, d.read)
	if err != nil {
		return 0, fmt.Errorf("read the length of the longest statement: %w", err)
	}
	if n == 0 {
		n = -1
	}
	d.schema.mu.Lock()
	defer d.schema.mu.Unlock()
	d.schema.packet = n
	return n, nil
}

// forget makes the next write look at the database again.
func (s *schema) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables, s.packet = nil, 0
}

// required returns the names of the columns that an insert must give, sorted.
func (c columns) required() []string {
	var names []string
	for name, col := range c {
		if !col.nullable && !col.hasDefault {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// only returns those of names that are columns.
func (c columns) only(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, ok := c[name]
		return !ok
	})
}

// names returns the names of the columns, sorted.
func (c columns) names() []string { return slices.Sorted(maps.Keys(c)) }

func (c *column) takesNull() error {
	if !c.nullable {
		return errors.New("is missing")
	}
	return nil
}

func takesConfidence(v float64) error {
	if !(v >= 0 && v <= 1) {
		return fmt.Errorf("%v is not within 0..1", v)
	}
	return nil
}

// takesText says why the column would not store s as it is, nil if it would as
// far as can be told from here.
func (c *column) takesText(s string) error {
	if ttp.IsASCII(s) { // every column takes any of these characters
		return c.takesLength(int64(len(s)), int64(len(s)))
	}
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	if err := c.takesLength(int64(utf8.RuneCountInString(s)), int64(len(s))); err != nil {
		return err
	}
	for _, r := range s {
		if !inCharset(c.charset, r) {
			return fmt.Errorf("holds %U, which the column's character set %s lacks", r, c.charset)
		}
	}
	return nil
}

func (c *column) takesLength(chars, octets int64) error {
	if c.chars > 0 && chars > c.chars {
		return fmt.Errorf("is %d characters long, the column takes %d", chars, c.chars)
	}
	if c.octets > 0 && octets > c.octets && strings.HasPrefix(c.charset, "utf8") {
		return fmt.Errorf("is %d bytes long, the column takes %d", octets, c.octets)
	}
	return nil
}

// cp1252 are the characters beyond U+00FF that MySQL's latin1 has.
const cp1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"

// inCharset reports whether a column of that character set may take r. Of a
// character set that is not known here the server must say.
func inCharset(charset string, r rune) bool {
	switch charset {
	case "ascii":
		return r < 0x80
	case "latin1":
		return r <= 0xFF || strings.ContainsRune(cp1252, r)
	case "utf8", "utf8mb3", "ucs2":
		return r <= 0xFFFF
	}
	return true
}

// intBits are the sizes of the whole numbers that are narrower than int64.
var intBits = map[string]uint{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32}

func (c *column) takesInt(n int64) error {
	lowest, highest := int64(-1<<63), int64(1<<63-1)
	if bits, ok := intBits[c.kind]; ok {
		lowest, highest = -1<<(bits-1), 1<<(bits-1)-1
		if c.unsigned {
			highest = 1<<bits - 1
		}
	}
	if c.unsigned {
		lowest = 0
	}
	if n < lowest || n > highest {
		return fmt.Errorf("%d is not within %d..%d", n, lowest, highest)
	}
	return nil
}
