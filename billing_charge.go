package edgews

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"
)

// Plan is a price list: plain data, without pointers. The published ones, such as [DurableObjects], are variables: copy
// one and change the copy, or write another. All prices and included amounts are for one billing period, which is a month
// in the published lists.
//
// A rate that is zero is not charged and has no line in a bill. Storage is neither counted nor billed.
//
// A plan can be written as JSON, with amounts like "0.15"; see [USD].
type Plan struct {
	Name string `json:"name"`
	Base USD    `json:"base,omitzero"` // charged whatever is used

	// Requests is charged for HTTP requests, connections, alarms, and incoming messages in proportion.
	Requests           Rate  `json:"requests,omitzero"`
	MessagesPerRequest int64 `json:"messages_per_request,omitzero"` // this many incoming messages are one request; 0: they are free
	BillAutoResponses  bool  `json:"bill_auto_responses,omitzero"`  // messages that an auto-response answers count as any others

	// Duration is charged for GB-seconds: Memory times the time that DurationOf says.
	Duration   Rate  `json:"duration,omitzero"`
	DurationOf Span  `json:"duration_of,omitzero"`
	Memory     int64 `json:"memory,omitzero"` // in MB, 1000 of which are a GB

	CPU           Rate `json:"cpu,omitzero"`            // a millisecond of Usage.Busy
	ConnectedTime Rate `json:"connected_time,omitzero"` // a second of Usage.Connected
	Connections   Rate `json:"connections,omitzero"`
	Messages      Rate `json:"messages,omitzero"` // both ways
	MessagesIn    Rate `json:"messages_in,omitzero"`
	MessagesOut   Rate `json:"messages_out,omitzero"`
	Bytes         Rate `json:"bytes,omitzero"` // both ways
	BytesIn       Rate `json:"bytes_in,omitzero"`
	BytesOut      Rate `json:"bytes_out,omitzero"`
	MinuteBytes   Rate `json:"minute_bytes,omitzero"` // a byte of Usage.MinuteBytes: bandwidth or time, whichever is more
}

// Rate is what a plan asks for one thing.
type Rate struct {
	Included int64 `json:"included,omitzero"` // units that cost nothing more
	Price    USD   `json:"price,omitzero"`    // of Per units; a discount if negative
	Per      int64 `json:"per,omitzero"`      // 0: one unit

	// RoundUp is what a part of which is charged as a whole: with 1,000,000 every million of units that has begun, after
	// what is included. 0: only what was used is charged, to the fraction of a unit.
	RoundUp int64 `json:"round_up,omitzero"`
}

// Span says which time a plan charges as duration.
type Span uint8

const (
	SpanActive Span = iota // Usage.Active: objects while they are active
	SpanBusy               // Usage.Busy: while a handler runs

	// SpanOpen is Connected and Busy together: a socket is charged for as long as it is open, whatever happens on it. It is
	// at least Active. A handler that runs for an open socket counts twice, because Usage does not tell it from others.
	SpanOpen
)

var spanNames = [...]string{"active", "busy", "open"}

// String returns "active", "busy" or "open".
func (s Span) String() string {
	if int(s) < len(spanNames) {
		return spanNames[s]
	}
	return fmt.Sprintf("Span(%d)", uint8(s))
}

// MarshalText returns the name.
func (s Span) MarshalText() ([]byte, error) {
	if int(s) >= len(spanNames) {
		return nil, fmt.Errorf("edgews: there is no %v", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a name.
func (s *Span) UnmarshalText(text []byte) error {
	for i, name := range spanNames {
		if name == string(text) {
			*s = Span(i)
			return nil
		}
	}
	return fmt.Errorf("edgews: there is no span %q: use active, busy or open", text)
}

// Bill returns what u costs, where u is all that was used in one billing period.
//
// The arithmetic is exact until the cost of each line, which is rounded to the nearest billionth of a dollar. Nothing
// overflows: a cost or a quantity that is too great for its type is the greatest that there is. A figure of u, an included
// amount or a ratio that is negative counts as zero.
func (p Plan) Bill(u Usage) Bill { return p.bill(usageCountsOf(u)) }

// BillSum is Bill for the sum of the parts, such as the days of a month. The sum may be greater than a Usage can be.
func (p Plan) BillSum(parts ...Usage) Bill { return p.bill(usageCountsOf(parts...)) }

func (p Plan) bill(n *usageCounts) Bill {
	b := Bill{Plan: p.Name, Lines: []Line{}}
	if p.Base != 0 {
		b.Lines = append(b.Lines, Line{Item: "base fee", Quantity: 1, Billed: 1, Unit: "period", Price: p.Base, Per: 1, Cost: p.Base})
	}
	for _, c := range p.charges(n) {
		b.Lines = append(b.Lines, c.line())
	}
	total := new(big.Int)
	for _, line := range b.Lines {
		total.Add(total, big.NewInt(int64(line.Cost)))
	}
	b.Total = USD(clampInt64(total))
	return b
}

// charge is a rate and what it is charged for: used, of which so many parts are one unit.
type charge struct {
	item, unit string
	rate       Rate
	used       *big.Int
	parts      int64
}

// charges are those that the plan has a rate for, in the order of a bill's lines.
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

// room is about how many messages, and how many bytes, may still be carried before something is used that is not included. It is
// quick, where Allows is exact.
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

func (p Plan) requests(n *usageCounts) (used *big.Int, parts int64) {
	whole := sumOf(&n.httpRequests, &n.connections, &n.alarms)
	if p.MessagesPerRequest <= 0 {
		return whole, 1
	}
	in, _ := p.messages(n)
	whole.Mul(whole, big.NewInt(p.MessagesPerRequest))
	return whole.Add(whole, in), p.MessagesPerRequest
}

// messages are those that are charged.
func (p Plan) messages(n *usageCounts) (in, out *big.Int) {
	if p.BillAutoResponses {
		return sumOf(&n.messagesIn, &n.autoResponses), sumOf(&n.messagesOut, &n.autoResponses)
	}
	return &n.messagesIn, &n.messagesOut
}

// memoryTime is in MB times nanoseconds.
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

// over is what was used beyond what is included, in parts of a unit.
func (c charge) over() *big.Int {
	included := big.NewInt(max(c.rate.Included, 0))
	over := included.Sub(c.used, included.Mul(included, big.NewInt(c.parts)))
	if over.Sign() < 0 {
		over.SetInt64(0)
	}
	return over
}

// line is exact until the cost. Its quantities are in whole units, and one that has begun counts as one.
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

// ceilDiv returns num/den, rounded up. Neither is negative.
func ceilDiv(num, den *big.Int) *big.Int {
	whole, rest := new(big.Int).QuoRem(num, den, new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole
}
