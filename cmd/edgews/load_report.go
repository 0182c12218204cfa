package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
)

// loadReport is what load prints at its end.
type loadReport struct {
	URL    string `json:"url"`
	Wanted int    `json:"sockets"`
	Opened int    `json:"opened"`

	Failed map[string]int `json:"failed"` // sockets that did not open, by reason
	Lost   map[string]int `json:"lost"`   // sockets that ended before the end, by reason

	OpeningSeconds   float64 `json:"opening_seconds"`
	OpenedPerSecond  float64 `json:"opened_per_second"`
	MeasuringSeconds float64 `json:"measuring_seconds"`

	Sent          int64 `json:"sent"` // messages
	Received      int64 `json:"received"`
	SentBytes     int64 `json:"sent_bytes"`
	ReceivedBytes int64 `json:"received_bytes"`
	Unsent        int64 `json:"unsent"`
	Echoed        int64 `json:"echoed"`
	WrongEchoes   int64 `json:"wrong_echoes"`
	LostPings     int64 `json:"unanswered_pings"`

	Handshake *distribution `json:"handshake"`
	Echo      *distribution `json:"echo,omitempty"`
	Ping      *distribution `json:"ping,omitempty"`
	RoundTrip *distribution `json:"round_trip,omitempty"` // Echo, or else Ping
	Bars      []bar         `json:"round_trip_histogram,omitempty"`

	Late       *distribution `json:"late,omitempty"`   // how late messages and pings were sent
	Processor  float64       `json:"processor_share"`  // of all processors, while measuring
	Processors int           `json:"processors"`       // that Go may use
	OpenFiles  int           `json:"open_files_limit"` // 0: not known
	Limits     []string      `json:"limits"`           // what limited edgews itself

	handshakeBars []bar
}

// report returns the report.
func (l *load) report() *loadReport {
	c, m := l.snapshot(), &l.limits
	opening := m.openedAt.at.Sub(m.start.at).Seconds()
	r := &loadReport{
		URL: l.url, Wanted: l.sockets, Opened: c.opened, Failed: c.failed, Lost: c.lost,
		OpeningSeconds: opening, OpenedPerSecond: float64(c.opened) / max(opening, 1e-3), MeasuringSeconds: m.measuredAt.at.Sub(m.openedAt.at).Seconds(),
		Sent: c.sent, Received: c.received, SentBytes: c.sentBytes, ReceivedBytes: c.receivedBytes,
		Unsent: c.unsent, Echoed: c.echoed, WrongEchoes: c.wrongEcho, LostPings: c.badPing,
		Handshake: l.opening.distribution(), Echo: l.echoes.distribution(), Ping: l.pings.distribution(), Late: l.late.distribution(),
		Processor: share(m.openedAt, m.measuredAt), Processors: runtime.GOMAXPROCS(0), OpenFiles: m.files,
		Limits: append([]string{}, m.texts(c, &l.late)...), handshakeBars: l.opening.bars(),
	}
	r.RoundTrip, r.Bars = r.Ping, l.pings.bars()
	if r.Echo != nil {
		r.RoundTrip, r.Bars = r.Echo, l.echoes.bars()
	}
	return r
}

// write prints the report, as JSON or for people.
func (r *loadReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	b := bufio.NewWriter(w)
	r.writeText(b)
	return b.Flush()
}

func (r *loadReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "%d of %d sockets opened in %.1f s: %.0f per second; measured for %.1f s\n",
		r.Opened, r.Wanted, r.OpeningSeconds, r.OpenedPerSecond, r.MeasuringSeconds)
	perSecond := func(n int64) float64 { return float64(n) / max(r.MeasuringSeconds, 1e-3) }
	fmt.Fprintf(w, "messages sent %d (%.0f per second, %d bytes), received %d (%.0f per second, %d bytes)\n",
		r.Sent, perSecond(r.Sent), r.SentBytes, r.Received, perSecond(r.Received), r.ReceivedBytes)
	if r.Echo != nil || r.WrongEchoes > 0 {
		fmt.Fprintf(w, "echoes right %d, different %d, missing %d\n", r.Echoed, r.WrongEchoes, r.Sent-r.Echoed-r.WrongEchoes)
	}
	if r.LostPings > 0 {
		fmt.Fprintf(w, "pings without answer %d\n", r.LostPings)
	}
	fmt.Fprintf(w, "\n%-10s %8s %9s %9s %9s %9s %9s %9s\n", "", "count", "min", "p50", "p90", "p99", "p99.9", "max")
	writeRow(w, "handshake", r.Handshake)
	writeRow(w, "echo", r.Echo)
	writeRow(w, "ping", r.Ping)
	writeRow(w, "late", r.Late)
	if r.RoundTrip == nil {
		writeBars(w, "handshake", r.handshakeBars)
	}
	if r.Ping != nil && r.Echo == nil {
		writeBars(w, "ping", r.Bars)
	}
	if r.Echo != nil {
		writeBars(w, "echo", r.Bars)
	}
	writeReasons(w, "not opened", r.Failed)
	writeReasons(w, "lost", r.Lost)
	r.writeLimits(w)
}

// writeLimits says what limited edgews itself, or that nothing did.
func (r *loadReport) writeLimits(w io.Writer) {
	fmt.Fprintf(w, "\nedgews itself used %.0f %% of %d processors", r.Processor*100, r.Processors)
	if r.OpenFiles > 0 {
		fmt.Fprintf(w, " and may have %d open files", r.OpenFiles)
	}
	if len(r.Limits) == 0 {
		fmt.Fprintln(w, "; it was not the limit")
		return
	}
	fmt.Fprintln(w, ". It was limited by:")
	for _, text := range r.Limits {
		fmt.Fprintf(w, "  %s\n", text)
	}
}

func writeRow(w io.Writer, name string, d *distribution) {
	if d != nil {
		fmt.Fprintf(w, "%-10s %8d %9s %9s %9s %9s %9s %9s\n", name, d.Count, d.Min, d.P50, d.P90, d.P99, d.P999, d.Max)
	}
}

func writeBars(w io.Writer, name string, rows []bar) {
	if len(rows) > 0 {
		fmt.Fprintf(w, "\n%s:\n", name)
		draw(w, rows)
	}
}

// writeReasons prints how many sockets have which reason, the most first.
func writeReasons(w io.Writer, what string, reasons map[string]int) {
	if len(reasons) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", what)
	names := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		if reasons[a] != reasons[b] {
			return reasons[b] - reasons[a]
		}
		return len(a) - len(b)
	})
	for _, name := range names {
		fmt.Fprintf(w, "%9d  %s\n", reasons[name], name)
	}
}
