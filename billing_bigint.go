package edgews

import "math/big"

// tally is a Usage in numbers that do not end: 292 years of connected time are a few days of a big service. No figure is
// negative.
type usageCounts struct {
	httpRequests, connections, messagesIn, messagesOut, autoResponses, alarms big.Int

	bytesIn, bytesOut, minuteBytes big.Int

	active, connected, busy big.Int // in nanoseconds
}

// tallyOf sums the parts.
func usageCountsOf(parts ...Usage) *usageCounts {
	n := new(usageCounts)
	var v big.Int
	for i := range parts {
		for f, figure := range n.fields() {
			figure.Add(figure, v.SetInt64(*parts[i].fields()[f]))
		}
	}
	for _, figure := range n.fields() {
		if figure.Sign() < 0 {
			figure.SetInt64(0)
		}
	}
	return n
}

// usage is the tally as far as a Usage can hold it.
func (n *usageCounts) usage() (u Usage) {
	for f, figure := range n.fields() {
		*u.fields()[f] = clampInt64(figure)
	}
	return u
}

// figures are what both consist of, in the same order.
func (n *usageCounts) fields() [12]*big.Int {
	return [...]*big.Int{
		&n.httpRequests, &n.connections, &n.messagesIn, &n.messagesOut, &n.autoResponses, &n.alarms,
		&n.bytesIn, &n.bytesOut, &n.minuteBytes, &n.active, &n.connected, &n.busy,
	}
}

func (u *Usage) fields() [12]*int64 {
	return [...]*int64{
		&u.HTTPRequests, &u.Connections, &u.MessagesIn, &u.MessagesOut, &u.AutoResponses, &u.Alarms,
		&u.BytesIn, &u.BytesOut, &u.MinuteBytes, (*int64)(&u.Active), (*int64)(&u.Connected), (*int64)(&u.Busy),
	}
}

func sumOf(terms ...*big.Int) *big.Int {
	total := new(big.Int)
	for _, term := range terms {
		total.Add(total, term)
	}
	return total
}
