package edgews

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// String returns the bill as a table for people, without a final newline. Prices are exact, costs are rounded to the cent:
// the costs of the lines may seem to differ from the total by a cent or two.
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

// unitPrice returns the price with the number of units that it is for, such as "$0.15 per million".
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

// grouped returns n with commas between thousands: 1,000,000.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// table aligns the cells of rows in columns. The columns in right are aligned to the right.
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
