package edgews

import "math/big"

// tally is a Usage in numbers that do not end: 292 years of connected time are a few days of a big service. No figure is
// negative.
type tally struct {
	httpRequests, connections, messagesIn, messagesOut, autoResponses, alarms big.Int

	bytesIn, bytesOut, minuteBytes big.Int

	active, connected, busy big.Int // in nanoseconds
}

// tallyOf sums the parts.
func tallyOf(parts ...Usage) *tally {
	t := new(tally)
	var v big.Int
	for i := range parts {
		for f, figure := range t.figures() {
			figure.Add(figure, v.SetInt64(*parts[i].figures()[f]))
		}
	}
	for _, figure := range t.figures() {
		if figure.Sign() < 0 {
			figure.SetInt64(0)
		}
	}
	return t
}

// usage is the tally as far as a Usage can hold it.
func (t *tally) usage() (u Usage) {
	for f, figure := range t.figures() {
		*u.figures()[f] = clampInt64(figure)
	}
	return u
}

// figures are what both consist of, in the same order.
func (t *tally) figures() [12]*big.Int {
	return [...]*big.Int{
		&t.httpRequests, &t.connections, &t.messagesIn, &t.messagesOut, &t.autoResponses, &t.alarms,
		&t.bytesIn, &t.bytesOut, &t.minuteBytes, &t.active, &t.connected, &t.busy,
	}
}

func (u *Usage) figures() [12]*int64 {
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
