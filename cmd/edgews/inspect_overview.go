package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/edgews/edgews/inspect"
)

// readOverview asks for the sums.
func (i *inspection) readOverview(ctx context.Context) (*reading, error) {
	o, err := ask[inspect.Overview](ctx, i.client, inspect.CallOverview, nil)
	if err != nil {
		return nil, err
	}
	return &reading{reply: o, sheets: overviewSheets(o, i.client.hello)}, nil
}

// overviewSheets returns the sums, with one line for each kind of thing, and the distributions and namespaces as tables.
func overviewSheets(o inspect.Overview, h inspect.Hello) []sheet {
	sums := sheet{
		title:    fmt.Sprintf("%s, process %d on %s, %s; sums since %s", h.Program, h.PID, h.Host, h.Go, age(o.Since, time.UnixMilli(o.Now))),
		headless: true, columns: []column{{"", false, 0}, {"", false, 0}},
	}
	s, obj, m, r := o.Sockets, o.Objects, o.Messages, o.Rates
	sums.add("sockets", pairs("open", s.Open, "parked", s.Parked, "slow", s.Slow, "dialed", s.Dialed, "opened", s.Opened, "closed", s.Closed))
	sums.add("objects", pairs("active", obj.Active, "idle", obj.Idle, "hibernated", obj.Hibernated, "constructed", obj.Constructed, "put to sleep", obj.Slept,
		"crashed", obj.Crashed, "failures", obj.Failed))
	sums.add("messages", pairs("in", m.In, "out", m.Out, "dropped", m.Dropped, "answered by auto-response", m.Auto))
	sums.add("rates", fmt.Sprintf("in %.0f/s, %s/s; out %.0f/s, %s/s", r.In, sizeText(r.BytesIn), r.Out, sizeText(r.BytesOut)))
	sums.add("bytes", fmt.Sprintf("in %s, on the wire %s; out %s, on the wire %s", sizeText(m.BytesIn), sizeText(m.WireIn), sizeText(m.BytesOut), sizeText(m.WireOut)))
	sums.add("storage", fmt.Sprintf("commits %d, written %s; alarms %d", obj.Commits, sizeText(obj.CommitBytes), obj.Alarms))
	sums.add("closed", names(o.CloseCodes, func(c inspect.CodeCount) (string, int64) { return c.Name, c.Count }))
	sums.add("because", names(o.Causes, func(c inspect.NameCount) (string, int64) { return c.Name, c.Count }))
	sums.add("refused", names(o.Refusals, func(c inspect.NameCount) (string, int64) { return c.Name, c.Count }))

	times := sheet{columns: []column{{"DURATION", false, 0}, {"COUNT", true, 0}, {"P50", true, 0}, {"P99", true, 0}, {"MAX", true, 0}}}
	for _, d := range []struct {
		name string
		inspect.Quantiles
	}{
		{"handler, last minute", o.Recent}, {"handler", o.Latency}, {"ping", o.RoundTrip}, {"commit", o.Commit}, {"alarm was late", o.AlarmLate},
	} {
		times.add(d.name, fmt.Sprint(d.Count), durationText(d.P50), durationText(d.P99), durationText(d.Max))
	}

	spaces := sheet{columns: []column{{"NAMESPACE", false, 0}, {"ACTIVE", true, 0}, {"IDLE", true, 0}, {"HIBERNATED", true, 0}}}
	for _, n := range o.Namespaces {
		spaces.add(n.Name, fmt.Sprint(n.Active), fmt.Sprint(n.Idle), fmt.Sprint(n.Hibernated))
	}
	return []sheet{sums, times, spaces}
}

// pairs returns names with their numbers: "open 3, parked 2".
func pairs(namesAndNumbers ...any) string {
	var b strings.Builder
	for i := 0; i < len(namesAndNumbers); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%v %v", namesAndNumbers[i], namesAndNumbers[i+1])
	}
	return b.String()
}

// names returns what is counted under names: "1001 going away: 3, 1006: 1".
func names[T any](list []T, of func(T) (string, int64)) string {
	if len(list) == 0 {
		return "none"
	}
	var parts []string
	for _, e := range list {
		name, n := of(e)
		parts = append(parts, fmt.Sprintf("%s: %d", name, n))
	}
	return strings.Join(parts, ", ")
}
