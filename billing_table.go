package edgews

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bill is what a [Plan] asks for a [Usage]. Its total is the sum of its lines.
//
// In JSON its fields have lower-case names, and amounts are exact: strings such as "0.4125".
type Bill struct {
	Plan  string `json:"plan"`
	Lines []Line `json:"lines"`
	Total USD    `json:"total"`
}

// Line is one item of a bill. Quantities are in whole units, of which one that has begun counts as one; the cost may be
// for less, if the plan charges fractions.
type Line struct {
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"` // that was used
	Included int64  `json:"included"` // in the plan
	Billed   int64  `json:"billed"`   // what is beyond, after the plan's rounding
	Unit     string `json:"unit"`
	Price    USD    `json:"price"` // of Per units
	Per      int64  `json:"per"`
	Cost     USD    `json:"cost"`
}

// String returns the bill as a table for people, without a newline at its end. Prices are exact, costs are to the cent: so
// the costs of the lines may seem to miss the total by a cent or two.
func (b Bill) String() string {
	rows := [][]string{{"item", "quantity", "included", "billed", "unit", "price", "cost"}}
	for _, l := range b.Lines {
		rows = append(rows, []string{
			l.Item, grouped(l.Quantity), grouped(l.Included), grouped(l.Billed), l.Unit, l.unitPrice(), l.Cost.String(),
		})
	}
	rows = append(rows, []string{"total", "", "", "", "", "", b.Total.String()})
	return b.Plan + "\n\n" + table(rows, 1, 2, 3, 6)
}

func (l Line) unitPrice() string {
	price := l.Price.exact()
	switch l.Per {
	case 0, 1:
		return price
	case 1_000:
		return price + " per thousand"
	case 1_000_000:
		return price + " per million"
	case 1_000_000_000:
		return price + " per billion"
	default:
		return price + " per " + grouped(l.Per)
	}
}

// grouped writes thousands apart: 1,000,000.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// table aligns the rows' cells, those of the given columns to the right.
func table(rows [][]string, right ...int) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	toRight := make([]bool, len(widths))
	for _, i := range right {
		toRight[i] = true
	}
	var lines []string
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString("  ")
			}
			if toRight[i] {
				line.WriteString(space + cell)
			} else {
				line.WriteString(cell + space)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return strings.Join(lines, "\n")
}
