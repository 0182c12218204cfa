package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// column is a column of a table of inspect.
type column struct {
	name  string
	right bool // numbers are on the right
	rank  int  // when the columns do not fit, those with the greatest rank are left out first; 0: never
}

// sheet is a table of inspect: rows of cells, which are escaped.
type sheet struct {
	title    string // a line above it; "": none
	headless bool   // the names of the columns are not printed
	columns  []column
	rows     [][]string
}

// add appends a row.
func (s *sheet) add(cells ...string) {
	for i, c := range cells {
		cells[i] = escape(c, onOneLine)
	}
	s.rows = append(s.rows, cells)
}

// paper is what a sheet is printed on.
type paper struct {
	columns int  // of the terminal; 0: no limit
	bold    bool // headings
}

// gap is the space between columns.
const gap = 2

// write prints the sheet. On a terminal it leaves out columns that do not fit, and cuts lines that are still too long.
func (s *sheet) write(w io.Writer, p paper) {
	if s.title != "" {
		fmt.Fprintln(w, clip(escape(s.title, onOneLine), p.columns))
	}
	widths := s.widths()
	shown := s.fitting(widths, p.columns)
	if !s.headless {
		s.writeHeading(w, widths, shown, p)
	}
	for _, row := range s.rows {
		fmt.Fprintln(w, s.line(row, widths, shown, p.columns))
	}
}

func (s *sheet) writeHeading(w io.Writer, widths []int, shown []bool, p paper) {
	names := make([]string, len(s.columns))
	for i, c := range s.columns {
		names[i] = c.name
	}
	line := s.line(names, widths, shown, p.columns)
	if p.bold {
		line = "\x1b[1m" + line + "\x1b[0m"
	}
	fmt.Fprintln(w, line)
}

// widths returns how many cells of a terminal each column needs.
func (s *sheet) widths() []int {
	widths := make([]int, len(s.columns))
	for i, c := range s.columns {
		widths[i] = terminalCells(c.name)
		for _, row := range s.rows {
			widths[i] = max(widths[i], terminalCells(row[i]))
		}
	}
	return widths
}

// fitting returns which columns are shown in a terminal of so many columns. A column without anything in it is not, if it may be left out. The
// last one may be cut, and is when it is longer than a short sentence.
func (s *sheet) fitting(widths []int, limit int) []bool {
	const lastNeeds = 48
	shown := make([]bool, len(s.columns))
	need := 0
	for i, c := range s.columns {
		shown[i] = limit == 0 || c.rank == 0 || !s.isEmpty(i)
		if i == len(widths)-1 {
			need += min(widths[i], lastNeeds)
		} else if shown[i] {
			need += widths[i] + gap
		}
	}
	for limit > 0 && need > limit {
		worst := -1
		for i, c := range s.columns {
			if shown[i] && c.rank > 0 && (worst < 0 || c.rank > s.columns[worst].rank) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		shown[worst] = false
		need -= widths[worst] + gap
	}
	return shown
}

// isEmpty reports whether no row has anything in column i.
func (s *sheet) isEmpty(i int) bool {
	for _, row := range s.rows {
		if row[i] != "" {
			return false
		}
	}
	return true
}

// line returns a row as text.
func (s *sheet) line(row []string, widths []int, shown []bool, limit int) string {
	var b strings.Builder
	for i, cell := range row {
		if !shown[i] {
			continue
		}
		space := strings.Repeat(" ", widths[i]-terminalCells(cell))
		if s.columns[i].right {
			b.WriteString(space + cell)
		} else {
			b.WriteString(cell + space)
		}
		b.WriteString(strings.Repeat(" ", gap))
	}
	return clip(strings.TrimRight(b.String(), " "), limit)
}

// clip cuts text so that it fits into so many cells of a terminal; 0: no limit.
func clip(text string, limit int) string {
	if limit <= 0 || terminalCells(text) <= limit {
		return text
	}
	const mark = "…"
	used := terminalCells(mark)
	for i, r := range text {
		if used += cellsOf(r); used > limit {
			return text[:i] + mark
		}
	}
	return text
}

// terminalCells returns how many cells of a terminal a text takes.
func terminalCells(text string) (n int) {
	if safe(text) {
		return len(text)
	}
	for _, r := range text {
		n += cellsOf(r)
	}
	return n
}

// wide are the characters that take two cells: East Asian ones and emoji, in the ranges that matter of Unicode's EastAsianWidth.txt.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1}, {0x3400, 0x4dbf, 1}, {0x4e00, 0x9fff, 1}, {0xa000, 0xa4cf, 1},
		{0xa960, 0xa97f, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

func cellsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}
