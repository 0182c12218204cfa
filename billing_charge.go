package edgews

import (
	"math"
	"math/big"
	"slices"
	"time"
)

// charge is one item that a plan charges for, and how much of it was used.
type charge struct {
	item, unit string
	rate       Rate
	used       *big.Int // in parts of a unit
	parts      int64    // how many parts are one unit
	optional   bool     // it has no line in a bill as long as nothing was used
}

// partsOfGBMonth is how many byte-hours are a GB-month, of 30 days.
const partsOfGBMonth = 1_000_000_000 * 30 * 24

// charges returns the items for which the plan has a rate, in the order of a bill's lines.
func (p Plan) charges(n *usageCounts) []charge {
	requests, perRequest := p.requests(n)
	in, out := p.messages(n)
	message := p.nameOfMessage()
	all := []charge{
		{item: "requests", unit: "requests", rate: p.Requests, used: requests, parts: perRequest},
		{item: "duration", unit: "GB-s", rate: p.Duration, used: p.memoryTime(n), parts: 1000 * int64(time.Second)},
		{item: "CPU time", unit: "ms", rate: p.CPU, used: &n.busy, parts: int64(time.Millisecond)},
		{item: "connected time", unit: "s", rate: p.ConnectedTime, used: &n.connected, parts: int64(time.Second)},
		{item: "connections", unit: "connections", rate: p.Connections, used: &n.connections, parts: 1},
		{item: "messages", unit: message, rate: p.Messages, used: sumOf(in, out), parts: 1},
		{item: "messages in", unit: message, rate: p.MessagesIn, used: in, parts: 1},
		{item: "messages out", unit: message, rate: p.MessagesOut, used: out, parts: 1},
		{item: "traffic", unit: "bytes", rate: p.Bytes, used: sumOf(&n.bytesIn, &n.bytesOut), parts: 1},
		{item: "traffic in", unit: "bytes", rate: p.BytesIn, used: &n.bytesIn, parts: 1},
		{item: "traffic out", unit: "bytes", rate: p.BytesOut, used: &n.bytesOut, parts: 1},
		{item: "minute traffic", unit: "bytes", rate: p.MinuteBytes, used: &n.minuteBytes, parts: 1},
	}
	return slices.DeleteFunc(append(all, p.storageCharges(n)...), charge.isMissing)
}

// storageCharges returns the items of storage, whether or not the plan has a rate for them.
func (p Plan) storageCharges(n *usageCounts) []charge {
	return []charge{
		{"rows read", "rows", p.RowsRead, &n.rowsRead, 1, true},
		{"rows written", "rows", p.RowsWritten, &n.rowsWritten, 1, true},
		{"read units", "units", p.ReadUnits, &n.readUnits, 1, true},
		{"write units", "units", p.WriteUnits, &n.writeUnits, 1, true},
		{"deletes", "deletes", p.Deletes, &n.deletes, 1, true},
		{"stored", "GB-months", p.Stored, &n.storedByteHours, partsOfGBMonth, true},
	}
}

// isMissing reports whether the item has no line in a bill.
func (c charge) isMissing() bool { return c.rate == Rate{} || c.optional && c.used.Sign() == 0 }

// rates returns the rates of all items.
func (p *Plan) rates() []*Rate {
	return []*Rate{
		&p.Requests, &p.Duration, &p.CPU, &p.ConnectedTime, &p.Connections, &p.Messages, &p.MessagesIn, &p.MessagesOut,
		&p.Bytes, &p.BytesIn, &p.BytesOut, &p.MinuteBytes,
		&p.RowsRead, &p.RowsWritten, &p.ReadUnits, &p.WriteUnits, &p.Deletes, &p.Stored,
	}
}

// room returns about how many messages, and how many bytes, a service that has used u may still carry before it has used up an
// included amount. It is a quick estimate in floating point; Allows is exact.
func (p Plan) room(u Usage) (messages, bytes float64) {
	messages = math.MaxInt64
	in, out := p.roughMessages(u)
	left := func(r Rate, per int64, used ...float64) float64 {
		if r == (Rate{}) {
			return math.MaxInt64
		}
		room := float64(max(r.Included, 0)) * float64(per)
		for _, u := range used {
			room -= u
		}
		return max(room, 0)
	}
	if per := p.MessagesPerRequest; per > 0 {
		requests := (float64(u.HTTPRequests) + float64(u.Connections) + float64(u.Alarms)) * float64(per)
		messages = left(p.Requests, per, requests, in)
	}
	messages = min(messages, left(p.Messages, 1, in, out), left(p.MessagesIn, 1, in), left(p.MessagesOut, 1, out))
	bytesIn, bytesOut := float64(u.BytesIn), float64(u.BytesOut)
	bytes = min(left(p.Bytes, 1, bytesIn, bytesOut), left(p.BytesIn, 1, bytesIn), left(p.BytesOut, 1, bytesOut),
		left(p.MinuteBytes, 1, float64(u.MinuteBytes)))
	if p.MessageUnit > 0 { // half of the units for messages, half for the bytes with which messages go beyond their first units
		messages /= 2
		bytes = min(bytes, messages*float64(p.MessageUnit))
	}
	return messages, bytes
}

// roughMessages is messages in floating point.
func (p Plan) roughMessages(u Usage) (in, out float64) {
	in, out = float64(u.MessagesIn), float64(u.MessagesOut)
	if p.MessageUnit > 0 {
		unit := float64(p.MessageUnit)
		in = max(in, float64(u.MessageUnitsIn), float64(u.BytesIn)/unit)
		out = max(out, float64(u.MessageUnitsOut), float64(u.BytesOut)/unit)
	}
	if p.BillAutoResponses {
		in, out = in+float64(u.AutoResponses), out+float64(u.AutoResponses)
	}
	return in, out
}

// requests returns the requests to be charged, in parts of a request.
func (p Plan) requests(n *usageCounts) (used *big.Int, parts int64) {
	whole := sumOf(&n.httpRequests, &n.connections, &n.alarms)
	if p.MessagesPerRequest <= 0 {
		return whole, 1
	}
	in, _ := p.messages(n)
	whole.Mul(whole, big.NewInt(p.MessagesPerRequest))
	return whole.Add(whole, in), p.MessagesPerRequest
}

// messages returns the messages, or the units of messages, to be charged.
func (p Plan) messages(n *usageCounts) (in, out *big.Int) {
	in, out = &n.messagesIn, &n.messagesOut
	if p.MessageUnit > 0 {
		unit := big.NewInt(p.MessageUnit)
		in = greatest(&n.messageUnitsIn, in, ceilDiv(&n.bytesIn, unit))
		out = greatest(&n.messageUnitsOut, out, ceilDiv(&n.bytesOut, unit))
	}
	if p.BillAutoResponses {
		in, out = sumOf(in, &n.autoResponses), sumOf(out, &n.autoResponses)
	}
	return in, out
}

// nameOfMessage returns what messages returns, for a bill.
func (p Plan) nameOfMessage() string {
	if p.MessageUnit > 0 {
		return "message units"
	}
	return "messages"
}

// memoryTime returns the duration to be charged, in MB times nanoseconds.
func (p Plan) memoryTime(n *usageCounts) *big.Int {
	span := &n.active
	switch p.DurationOf {
	case SpanBusy:
		span = &n.busy
	case SpanOpen:
		if open := sumOf(&n.connected, &n.busy); open.Cmp(span) > 0 {
			span = open
		}
	}
	return new(big.Int).Mul(span, big.NewInt(max(p.Memory, 0)))
}

// storageUnit is the size in bytes of the blocks of Usage.ReadUnits and WriteUnits.
const storageUnit = 4 << 10

// unitsOf returns the units that n bytes take: one at least.
func unitsOf(n, unit int64) int64 {
	if n <= unit {
		return 1
	}
	return (n-1)/unit + 1
}

// over returns what was used beyond the included amount, in parts of a unit.
func (c charge) over() *big.Int {
	included := big.NewInt(max(c.rate.Included, 0))
	over := included.Sub(c.used, included.Mul(included, big.NewInt(c.parts)))
	if over.Sign() < 0 {
		over.SetInt64(0)
	}
	return over
}

// line returns the line of the bill. The arithmetic is exact up to the cost. Quantities are whole units; a unit that has begun
// counts as one.
func (c charge) line() Line {
	parts, over := big.NewInt(c.parts), c.over()
	billed := ceilDiv(over, parts)
	if c.rate.RoundUp > 0 {
		step := big.NewInt(c.rate.RoundUp)
		billed = ceilDiv(billed, step)
		over.Mul(billed.Mul(billed, step), parts)
	}
	price, per := c.rate.Price, max(c.rate.Per, 1)
	cost := usdOf(over.Mul(over, big.NewInt(int64(price))), new(big.Int).Mul(parts, big.NewInt(per)))
	return Line{
		Item: c.item, Quantity: clampInt64(ceilDiv(c.used, parts)), Included: max(c.rate.Included, 0), Billed: clampInt64(billed),
		Unit: c.unit, Price: price, Per: per, Cost: cost,
	}
}
