package edgewstest

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// name returns how a message of the test calls the socket.
func (r *Recorder) name() string {
	if url := r.s.URL(); url != "" {
		return "the socket of " + url
	}
	return "the socket"
}

// mismatch says how the lines that are not checked yet differ from those that are wanted. why says why no more lines are there.
func (r *Recorder) mismatch(want []string, why string) string {
	r.mu.Lock()
	before, got := r.lines[:r.checked], r.lines[r.checked:]
	r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "edgewstest: %s did not do what the test wants (- wanted, + recorded):\n", r.name())
	b.WriteString(earlier(before))
	b.WriteString(diff(want, got))
	if why != "" {
		fmt.Fprintf(&b, "(%s)\n", why)
	}
	return b.String()
}

// transcript returns the last lines so far.
func (r *Recorder) transcript() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return earlier(r.lines)
}

// shownBefore is how many lines that match are shown before a difference.
const shownBefore = 5

// earlier returns the last lines that were as wanted.
func earlier(lines []line) string {
	var b strings.Builder
	if hidden := len(lines) - shownBefore; hidden > 0 {
		fmt.Fprintf(&b, "    (%d lines before)\n", hidden)
		lines = lines[hidden:]
	}
	for _, l := range lines {
		b.WriteString("    " + abridged(l.text, 0) + "\n")
	}
	return b.String()
}

// diff returns the lines of want and got: those in both with an indent, those only in want with a minus, those only in got with a plus.
func diff(want []string, got []line) string {
	var b strings.Builder
	var missing, extra []string
	flush := func() {
		b.WriteString(changes(missing, extra))
		missing, extra = nil, nil
	}
	common := commonLines(want, got)
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case i < len(want) && j < len(got) && got[j].matches(want[i]):
			flush()
			b.WriteString("    " + abridged(got[j].text, 0) + "\n")
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			missing = append(missing, want[i])
			i++
		default:
			extra = append(extra, got[j].text)
			j++
		}
	}
	flush()
	return b.String()
}

// commonLines returns the length of the longest common subsequence of want[i:] and got[j:] at [i][j].
func commonLines(want []string, got []line) [][]int {
	common := make([][]int, len(want)+1)
	for i := range common {
		common[i] = make([]int, len(got)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(got) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if got[j].matches(want[i]) {
				common[i][j] = max(common[i][j], common[i+1][j+1]+1)
			}
		}
	}
	return common
}

// changes returns lines that are missing and lines that are extra, at the same place. Lines that begin with the same word stand together.
func changes(missing, extra []string) string {
	var b strings.Builder
	for _, want := range missing {
		same := slices.IndexFunc(extra, func(got string) bool { return firstWord(got) == firstWord(want) })
		if same < 0 {
			b.WriteString("  - " + abridged(want, 0) + "\n")
			continue
		}
		for _, got := range extra[:same] {
			b.WriteString("  + " + abridged(got, 0) + "\n")
		}
		b.WriteString(lineDiff(want, extra[same]))
		extra = extra[same+1:]
	}
	for _, got := range extra {
		b.WriteString("  + " + abridged(got, 0) + "\n")
	}
	return b.String()
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// lineDiff returns both lines. If they begin with the same word, there is a mark under the first difference.
func lineDiff(want, got string) string {
	at := firstDifference(want, got)
	lines := fmt.Sprintf("  - %s\n  + %s\n", abridged(want, at), abridged(got, at))
	if firstWord(want) != firstWord(got) {
		return lines
	}
	return lines + "    " + strings.Repeat(" ", markOf(want, at)) + "^\n"
}

// firstDifference returns where a and b begin to differ, in bytes.
func firstDifference(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

// A line in a message is abridged to so many bytes before and after the place that matters.
const (
	shownLeft  = 60
	shownRight = 100
)

// abridged returns the part of a line around a place, with "…" for what is left out.
func abridged(s string, at int) string {
	from, to := part(s, at)
	shown := s[from:to]
	if from > 0 {
		shown = "…" + shown
	}
	if to < len(s) {
		shown += "…"
	}
	return shown
}

// part returns the part of s that is shown, which begins and ends with whole characters.
func part(s string, at int) (from, to int) {
	if len(s) > shownLeft+shownRight {
		from = max(0, min(at, len(s))-shownLeft)
	}
	to = min(len(s), max(from+shownLeft, at)+shownRight)
	for from > 0 && from < len(s) && !utf8.RuneStart(s[from]) {
		from--
	}
	for to < len(s) && !utf8.RuneStart(s[to]) {
		to++
	}
	return from, to
}

// markOf returns the column, in characters, at which the byte at stands in abridged(s, at).
func markOf(s string, at int) int {
	from, _ := part(s, at)
	column := utf8.RuneCountInString(s[from:min(at, len(s))])
	if from > 0 {
		column++ // the "…"
	}
	return column
}
