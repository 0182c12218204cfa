package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews/inspect"
)

func socketSheet(rows []inspect.SocketRow, now time.Time) sheet {
	s := sheet{columns: []column{
		{"ID", true, 0}, {"PEER", false, 1}, {"PATH", false, 6}, {"OBJECT", false, 3}, {"STATE", false, 0}, {"QUEUE", true, 0}, {"AGE", true, 4},
		{"IN", true, 8}, {"OUT", true, 8}, {"IN/s", true, 7}, {"OUT/s", true, 7}, {"HANDLER", true, 9}, {"PING", true, 10}, {"WIRE", true, 11},
		{"DROPPED", true, 5}, {"SUBPROTOCOL", false, 12}, {"TAGS", false, 2},
	}}
	for _, r := range rows {
		s.add(fmt.Sprint(r.Socket), r.Remote, r.Path, objectText(r.Namespace, r.Name, r.Object), socketState(r), sizeText(r.Queued), age(r.Opened, now),
			fmt.Sprint(r.In), fmt.Sprint(r.Out), rateText(r.RateIn), rateText(r.RateOut), durationText(r.Latency), durationText(r.RoundTrip),
			wireText(r), countText(r.Dropped), r.Protocol, strings.Join(r.Tags, ", "))
	}
	return s
}

// socketState returns what matters most of the state of a socket.
func socketState(r inspect.SocketRow) string {
	text := strings.ToLower(r.State)
	switch {
	case r.Slow:
		text = "slow"
	case r.Parked:
		text = "parked"
	}
	if r.Dialed {
		text += ", dialed"
	}
	return text
}

// wireText returns how many bytes the messages of a socket take on the wire, of a hundred bytes in them.
func wireText(r inspect.SocketRow) string {
	payload := float64(r.BytesIn) + float64(r.BytesOut)
	if payload <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*(float64(r.WireIn)+float64(r.WireOut))/payload)
}

func objectSheet(rows []inspect.ObjectRow) sheet {
	s := sheet{columns: []column{
		{"NAMESPACE", false, 1}, {"OBJECT", false, 0}, {"STATE", false, 0}, {"SINCE", true, 0}, {"AWAKE", true, 3}, {"WOKEN BY", false, 5}, {"SOCKETS", true, 4},
		{"EVENTS", true, 6}, {"BUSY", true, 7}, {"CRASHES", true, 8}, {"COST $", true, 2}, {"IF HIBERNATING $", true, 2}, {"WHY AWAKE", false, 0},
	}}
	now := time.Now()
	for _, r := range rows {
		why := r.Why
		if len(why) == 0 {
			why = r.Pins
		}
		awake := ""
		if r.State != "hibernated" {
			awake = age(r.Constructed, now)
		}
		s.add(r.Namespace, objectText("", r.Name, r.Object), r.State, age(r.Since, now), awake, r.WokenBy, fmt.Sprint(r.Sockets), fmt.Sprint(r.Handled),
			durationText(r.Busy), countText(r.Crashes), r.Cost, r.Hibernating, strings.Join(why, "; "))
	}
	return s
}

func alarmSheet(rows []inspect.AlarmRow) sheet {
	s := sheet{columns: []column{{"DUE", true, 0}, {"AT", false, 1}, {"NAMESPACE", false, 2}, {"OBJECT", false, 0}}}
	now := time.Now()
	for _, r := range rows {
		due := "in " + age(now.UnixMilli(), time.UnixMilli(r.At))
		if r.At <= now.UnixMilli() {
			due = age(r.At, now) + " late"
		}
		s.add(due, timeText(r.At), r.Namespace, objectText("", r.Name, r.Object))
	}
	return s
}

func planSheet(rows []inspect.PlanCost) sheet {
	s := sheet{columns: []column{{"PLAN", false, 0}, {"COST $", true, 0}, {"WITHOUT HIBERNATION $", true, 1}, {"SAVED $", true, 0}}}
	for _, r := range rows {
		s.add(r.Plan, r.Cost, r.AlwaysOn, r.Saved)
	}
	return s
}

func tenantSheet(rows []inspect.TenantCost) sheet {
	s := sheet{columns: []column{{"TENANT", false, 0}, {"COST $", true, 0}, {"CONNECTIONS", true, 1}, {"MESSAGES", true, 1}, {"OBJECTS ACTIVE", true, 2}}}
	for _, r := range rows {
		s.add(r.Tenant, r.Cost, fmt.Sprint(r.Connections), fmt.Sprint(r.Messages), durationText(r.Active))
	}
	return s
}

// logSheet prints entries in the order in which they are given.
func logSheet(rows []inspect.LogEntry) sheet {
	s := sheet{columns: []column{
		{"TIME", false, 0}, {"KIND", false, 0}, {"TIMES", true, 5}, {"SOCKET", true, 1}, {"PEER", false, 2}, {"PATH", false, 4}, {"OBJECT", false, 3}, {"TEXT", false, 0},
	}}
	for _, r := range rows {
		socket := ""
		if r.Socket != 0 {
			socket = fmt.Sprint(r.Socket)
		}
		s.add(timeText(r.At), r.Kind, fmt.Sprint(r.Count), socket, r.Remote, r.Path, objectText(r.Namespace, r.Name, r.Object), r.Text)
	}
	return s
}

// objectText names an object: by its name, or by the first half of the digits that tell its ID from others. namespace may be empty.
func objectText(namespace, name, id string) string {
	const digits = 12
	text := name
	if text == "" {
		text = id[:min(len(id), digits)]
	}
	if namespace == "" || text == "" {
		return text
	}
	return namespace + "/" + text
}

// millisTime is the time of Unix milliseconds, which a server may send as large as it likes.
func millisTime(ms int64) time.Time {
	const year9999 = 253_402_300_799_999
	return time.UnixMilli(min(max(ms, 0), year9999))
}

func timeText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return millisTime(ms).Format(time.DateTime)
}

// age returns how long before now something was: "3m12s"; "" for no time.
func age(ms int64, now time.Time) string {
	if ms == 0 {
		return ""
	}
	return brief(max(now.Sub(millisTime(ms)), 0))
}

// durationText returns a duration in milliseconds, "" for none.
func durationText(ms float64) string {
	if !(ms > 0) {
		return ""
	}
	return brief(time.Duration(min(ms*float64(time.Millisecond), math.MaxInt64/2)))
}

func countText(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func rateText(perSecond float64) string {
	switch {
	case perSecond == 0:
		return ""
	case perSecond < 10:
		return fmt.Sprintf("%.2f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

// sizeText returns a number of bytes with three digits or so.
func sizeText[N int | int64 | float64](bytes N) string {
	n, unit := float64(bytes), 0
	units := []string{" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}
	for n >= 1024 && unit+1 < len(units) {
		n /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%.0f%s", n, units[unit])
	}
	return fmt.Sprintf("%.3g%s", n, units[unit])
}
