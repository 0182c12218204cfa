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
}

// charges returns the items for which the plan has a rate, in the order of a bill's lines.
func (p Plan) charges(n *usageCounts) []charge {
	requests, perRequest := p.requests(n)
	in, out := p.messages(n)
	all := []charge{
		{"requests", "requests", p.Requests, requests, perRequest},
		{"duration", "GB-s", p.Duration, p.memoryTime(n), 1000 * int64(time.Second)},
		{"CPU time", "ms", p.CPU, &n.busy, int64(time.Millisecond)},
		{"connected time", "s", p.ConnectedTime, &n.connected, int64(time.Second)},
		{"connections", "connections", p.Connections, &n.connections, 1},
		{"messages", "messages", p.Messages, sumOf(in, out), 1},
		{"messages in", "messages", p.MessagesIn, in, 1},
		{"messages out", "messages", p.MessagesOut, out, 1},
		{"traffic", "bytes", p.Bytes, sumOf(&n.bytesIn, &n.bytesOut), 1},
		{"traffic in", "bytes", p.BytesIn, &n.bytesIn, 1},
		{"traffic out", "bytes", p.BytesOut, &n.bytesOut, 1},
		{"minute traffic", "bytes", p.MinuteBytes, &n.minuteBytes, 1},
	}
	return slices.DeleteFunc(all, func(c charge) bool { return c.rate == Rate{} })
}

// room returns about how many messages, and how many bytes, a service that has used u may still carry before it has used up an
// included amount. It is a quick estimate in floating point; Allows is exact.
func (p Plan) room(u Usage) (messages, bytes float64) {
	messages, bytes = math.MaxInt64, math.MaxInt64
	auto := 0.0
	if p.BillAutoResponses {
		auto = float64(u.AutoResponses)
	}
	in, out := float64(u.MessagesIn)+auto, float64(u.MessagesOut)+auto
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
	return messages, bytes
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

// messages returns the messages to be charged.
func (p Plan) messages(n *usageCounts) (in, out *big.Int) {
	if p.BillAutoResponses {
		return sumOf(&n.messagesIn, &n.autoResponses), sumOf(&n.messagesOut, &n.autoResponses)
	}
	return &n.messagesIn, &n.messagesOut
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
