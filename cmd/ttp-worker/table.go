package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// table is what a command shows: rows of texts, which attackers may have
// written.
type table struct {
	head    []string
	rows    [][]string
	numbers map[int]bool // the columns that are aligned at their right

	// What a narrow terminal does without, the first at once; and what it may
	// show the beginning of.
	spare, cut []string
}

// wide is the width that is kept to where it is not known.
const wide = 160

// write writes the columns aligned. On a terminal lines end at its edge, on
// anything else the last column is as wide as it is.
func (t *table) write(out io.Writer, columns int) error {
	rows := make([][]string, 0, len(t.rows)+1)
	rows = append(rows, t.head)
	for _, row := range t.rows {
		shown := make([]string, len(row))
		for i, cell := range row {
			shown[i] = visible(cell)
		}
		rows = append(rows, shown)
	}
	widths := t.widths(rows)
	if columns > 0 {
		t.fit(widths, columns)
	}
	var b strings.Builder
	for _, row := range rows {
		line := t.line(row, widths)
		if columns > 0 {
			line = short(line, columns)
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// widths returns those of the columns. None is wider than half a line.
func (t *table) widths(rows [][]string) []int {
	widths := make([]int, len(t.head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = min(max(widths[i], utf8.RuneCountInString(cell)), wide/2)
		}
	}
	return widths
}

// A column that may be cut is so wide before anything is left out for it, and
// at least so wide.
const (
	comfortable = 24
	enough      = 12
)

// fit makes the lines no longer than columns, if it can: it leaves out what is
// spare, then cuts what is widest. A column that is left out has no width.
func (t *table) fit(widths []int, columns int) {
	cut := make([]int, len(t.cut))
	most := slices.Clone(widths)
	for i, name := range t.cut {
		cut[i] = slices.Index(t.head, name)
		most[cut[i]] = min(most[cut[i]], comfortable)
	}
	for _, name := range t.spare {
		if length(most) > columns {
			i := slices.Index(t.head, name)
			most[i], widths[i] = 0, 0
		}
	}
	for length(widths) > columns && len(cut) > 0 {
		widest := slices.MaxFunc(cut, func(a, b int) int { return cmp.Compare(widths[a], widths[b]) })
		if widths[widest] <= enough {
			return
		}
		widths[widest]--
	}
}

// length is that of a line.
func length(widths []int) (n int) {
	for _, width := range widths {
		if width > 0 {
			n += width + len(gap)
		}
	}
	return n - len(gap)
}

// gap stands between two columns.
const gap = "  "

// line writes the cells as wide as their columns are. The last is as long as it
// likes; what is too long for the terminal is cut there.
func (t *table) line(row []string, widths []int) string {
	var cells []string
	for i, cell := range row {
		last := i == len(row)-1
		if widths[i] == 0 {
			continue
		}
		if !last {
			cell = short(cell, widths[i])
		}
		padding := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
		switch {
		case t.numbers[i]:
			cell = padding + cell
		case !last:
			cell += padding
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, gap)
}

// terminalWidth returns that of out, 0 if it is no terminal.
func terminalWidth(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// visible shows what an attacker wrote: it escapes what could move the cursor,
// hide or reorder text, or take more or less room than one place.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if plain(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

func plain(r rune) bool {
	return r >= 0x20 && r < 0x7f || r != utf8.RuneError && unicode.IsPrint(r) && unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Common) && r < 0x2600
}

// writeCSV writes the rows for a spreadsheet. A text that one would take for a
// formula gets an apostrophe in front.
func (t *table) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write(t.head); err != nil {
		return err
	}
	for _, row := range t.rows {
		safe := make([]string, len(row))
		for i, cell := range row {
			if cell != "" && !t.numbers[i] && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				cell = "'" + cell
			}
			safe[i] = cell
		}
		if err := w.Write(safe); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// writeJSON writes v indented.
func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
