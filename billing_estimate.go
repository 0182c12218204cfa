package edgews

import (
	"math/big"
	"time"
)

// Expectation is what a service expects of one billing period. Fields that do not apply stay zero; a negative one counts
// as zero.
//
// Without objects the sockets and requests are those of plain handlers, and nothing is active in the sense of
// [Usage].Active.
type Expectation struct {
	Days    int64 // of the period; 0: 30
	Objects int64
	Sockets int64 // of each object; if there are no objects, in all

	// Open is for how long a socket is open every day; all those of an object are open at the same time. Each day is a
	// connection. 0, or 24 hours and more: it is always open, which is one connection in the period.
	Open time.Duration

	Messages      int64         // received from each socket in Every, while it is open
	AutoResponses int64         // further ones, which an auto-response answers
	Every         time.Duration // 0: a minute
	Replies       int64         // messages sent for one that is received, to all sockets together
	MessageSize   int64         // payload bytes, both ways
	MinuteFloor   int64         // as [MeterOptions.MinuteFloor]; the messages are taken to be spread evenly over the minutes

	HTTPRequests int64 // in the period, other than for sockets
	Alarms       int64 // in the period

	MessageTime time.Duration // inside the handler, for a message
	RequestTime time.Duration // … for an HTTP request
	AlarmTime   time.Duration // … for an alarm

	// Hibernate says that objects take their sockets with [State.AcceptWebSocket]. Then they are active while a handler
	// runs, and otherwise for as long as their sockets are open.
	Hibernate bool

	// Active is for how long objects are active, if that is known better than from the fields above. 0: it is worked out, in
	// the worst case, which is that no two handlers of an object run at the same time. An object is not active for more than
	// the whole period.
	Active time.Duration
}

// Estimate returns what the expected usage costs, also where it is more than a [Usage] can hold.
func (p Plan) Estimate(e Expectation) Bill { return p.bill(e.counts()) }

// Usage returns the expected usage. A figure that is too great for a Usage, as connected time beyond 292 years, is the
// greatest that there is.
func (e Expectation) Usage() Usage { return e.counts().usage() }

const wholeDay = 24 * time.Hour

func (e Expectation) counts() *usageCounts {
	sockets := e.sockets()
	n := new(usageCounts)
	n.httpRequests.Set(atLeast0(e.HTTPRequests))
	n.alarms.Set(atLeast0(e.Alarms))
	n.connections.Set(product(sockets, e.connectionsPerSocket()))
	n.connected.Set(product(sockets, e.openTime()))

	n.messagesIn.Set(e.rate(&n.connected, e.Messages))
	n.autoResponses.Set(e.rate(&n.connected, e.AutoResponses))
	n.messagesOut.Set(product(&n.messagesIn, atLeast0(e.Replies)))
	n.bytesIn.Set(product(&n.messagesIn, atLeast0(e.MessageSize)))
	n.bytesOut.Set(product(&n.messagesOut, atLeast0(e.MessageSize)))
	n.minuteBytes.Set(e.minuteBytes(n))

	others := sumOf(product(&n.httpRequests, atLeast0(e.RequestTime)), product(&n.alarms, atLeast0(e.AlarmTime)))
	n.busy.Add(product(&n.messagesIn, atLeast0(e.MessageTime)), others)
	n.active.Set(e.active(&n.busy, others))
	return n
}

func (e Expectation) sockets() *big.Int {
	if e.Objects > 0 {
		return product(atLeast0(e.Objects), atLeast0(e.Sockets))
	}
	return atLeast0(e.Sockets)
}

func (e Expectation) days() *big.Int {
	if e.Days <= 0 {
		return big.NewInt(30)
	}
	return big.NewInt(e.Days)
}

func (e Expectation) always() bool { return e.Open <= 0 || e.Open >= wholeDay }

// connectionsPerSocket is in the period: one that is not always open has one every day.
func (e Expectation) connectionsPerSocket() *big.Int {
	if e.always() {
		return big.NewInt(1)
	}
	return e.days()
}

// openTime is that of a socket in the period.
func (e Expectation) openTime() *big.Int {
	if e.always() {
		return product(e.days(), atLeast0(wholeDay))
	}
	return product(e.days(), atLeast0(e.Open))
}

// rate returns how many messages there are in the time, if there are n in e.Every.
func (e Expectation) rate(span *big.Int, n int64) *big.Int {
	every := e.Every
	if every <= 0 {
		every = time.Minute
	}
	messages := product(span, atLeast0(n))
	return messages.Quo(messages, atLeast0(every))
}

func (e Expectation) minuteBytes(n *usageCounts) *big.Int {
	connection := new(big.Int).Quo(e.openTime(), e.connectionsPerSocket())
	minutes := product(&n.connections, ceilDiv(connection, atLeast0(time.Minute)))
	floor, traffic := product(minutes, atLeast0(e.MinuteFloor)), sumOf(&n.bytesIn, &n.bytesOut)
	if floor.Cmp(traffic) > 0 {
		return floor
	}
	return traffic
}

// active is the time of all objects, where others is the part of busy that is not spent on messages.
func (e Expectation) active(busy, others *big.Int) *big.Int {
	if e.Active > 0 {
		return atLeast0(e.Active)
	}
	objects := atLeast0(e.Objects)
	active := busy
	if !e.Hibernate && e.Sockets > 0 {
		active = sumOf(product(objects, e.openTime()), others)
	}
	if whole := product(objects, product(e.days(), atLeast0(wholeDay))); active.Cmp(whole) > 0 {
		return whole
	}
	return active
}

func atLeast0[T ~int64](n T) *big.Int { return big.NewInt(int64(max(n, 0))) }

func product(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
