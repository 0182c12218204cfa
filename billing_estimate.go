package edgews

import (
	"math/big"
	"time"
)

// Expectation is the load that a service expects in one billing period. Leave fields that do not apply at zero; a negative
// field counts as zero.
//
// Without objects the sockets and requests are those of plain handlers, and nothing is active in the sense of
// [Usage].Active.
type Expectation struct {
	Days    int64 // of the period; 0: 30
	Objects int64
	Sockets int64 // per object; without objects, in total

	// Open is how long each socket is open every day; the sockets of an object are open at the same time. Each day counts as
	// one connection. 0, or 24 hours and more: the socket is always open, which is one connection in the period.
	Open time.Duration

	Messages      int64         // received from each open socket per Every
	AutoResponses int64         // further messages, which an auto-response answers; also per open socket and Every
	Every         time.Duration // 0: a minute
	Replies       int64         // messages sent per message received, to all sockets together
	MessageSize   int64         // payload bytes of a message, in either direction
	MinuteFloor   int64         // as [MeterOptions.MinuteFloor]; the messages are assumed to be spread evenly over the minutes

	MessageUnit int64 // as [MeterOptions.MessageUnit]

	// What a handler does with storage for each message, HTTP request and alarm.
	Reads     int64 // entries that it reads, each on its own
	Writes    int64 // entries that it puts, alarms that it sets included
	Deletes   int64 // keys that it deletes
	EntrySize int64 // bytes of the key and value of an entry

	Stored int64 // bytes that each object stores, on the average of the period; without objects, in total

	HTTPRequests int64 // in the period, without those that open sockets
	Alarms       int64 // in the period

	MessageTime time.Duration // inside the handler, per message
	RequestTime time.Duration // inside the handler, per HTTP request
	AlarmTime   time.Duration // inside the handler, per alarm

	// Hibernate says that objects accept their sockets with [State.AcceptWebSocket]. Then an object is active only while a
	// handler runs; without it, for as long as its sockets are open.
	Hibernate bool

	// Active is how long objects are active, summed over objects, for callers who know it better than the fields above
	// say. 0: it is computed from them for the worst case, in which no two handlers of an object overlap; no object is
	// active for longer than the period.
	Active time.Duration
}

// Estimate returns what the expected usage costs, even where it exceeds the range of a [Usage]. Without a MessageUnit of its own, e has that
// of the plan.
func (p Plan) Estimate(e Expectation) Bill {
	if e.MessageUnit <= 0 {
		e.MessageUnit = p.MessageUnit
	}
	return p.bill(e.counts())
}

// Usage returns the expected usage. A figure that is too great for a Usage, such as connected time beyond 292 years, is the
// greatest that its type can hold.
func (e Expectation) Usage() Usage { return e.counts().usage() }

// wholeDay is a day of UTC. Days of daily quotas, too, begin at 00:00 UTC.
const wholeDay = 24 * time.Hour

// counts returns the expected usage, without an upper limit.
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
	e.countUnits(n)
	e.countStorage(n)
	return n
}

// countUnits sets the message units, from the messages that n has already.
func (e Expectation) countUnits(n *usageCounts) {
	if e.MessageUnit > 0 {
		units := big.NewInt(unitsOf(max(e.MessageSize, 0), e.MessageUnit))
		n.messageUnitsIn.Mul(&n.messagesIn, units)
		n.messageUnitsOut.Mul(&n.messagesOut, units)
	}
}

// countStorage sets the usage of storage, from the messages, requests and alarms that n has already.
func (e Expectation) countStorage(n *usageCounts) {
	events := sumOf(&n.messagesIn, &n.httpRequests, &n.alarms)
	units := big.NewInt(unitsOf(max(e.EntrySize, 0), storageUnit))
	n.rowsRead.Mul(events, atLeast0(e.Reads))
	n.readUnits.Mul(&n.rowsRead, units)
	writes := product(events, atLeast0(e.Writes))
	n.writeUnits.Mul(writes, units)
	n.deletes.Mul(events, atLeast0(e.Deletes))
	n.rowsWritten.Add(writes, &n.deletes)
	n.storedByteHours.Mul(e.stored(), product(e.days(), big.NewInt(24)))
}

// stored returns the bytes that are stored, summed over objects.
func (e Expectation) stored() *big.Int {
	if e.Objects > 0 {
		return product(atLeast0(e.Objects), atLeast0(e.Stored))
	}
	return atLeast0(e.Stored)
}

// sockets returns the number of sockets, summed over objects.
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

// always reports whether sockets are open day and night.
func (e Expectation) always() bool { return e.Open <= 0 || e.Open >= wholeDay }

// connectionsPerSocket returns the connections of one socket in the period: one, or one per day if it is not always open.
func (e Expectation) connectionsPerSocket() *big.Int {
	if e.always() {
		return big.NewInt(1)
	}
	return e.days()
}

// openTime returns how long one socket is open in the period, in nanoseconds.
func (e Expectation) openTime() *big.Int {
	if e.always() {
		return product(e.days(), atLeast0(wholeDay))
	}
	return product(e.days(), atLeast0(e.Open))
}

// rate returns the number of messages in span nanoseconds, at n per e.Every.
func (e Expectation) rate(span *big.Int, n int64) *big.Int {
	every := e.Every
	if every <= 0 {
		every = time.Minute
	}
	messages := product(span, atLeast0(n))
	return messages.Quo(messages, atLeast0(every))
}

// minuteBytes returns Usage.MinuteBytes, from the connections and bytes that n has already.
func (e Expectation) minuteBytes(n *usageCounts) *big.Int {
	connection := new(big.Int).Quo(e.openTime(), e.connectionsPerSocket())
	minutes := product(&n.connections, ceilDiv(connection, atLeast0(time.Minute)))
	floor, traffic := product(minutes, atLeast0(e.MinuteFloor)), sumOf(&n.bytesIn, &n.bytesOut)
	if floor.Cmp(traffic) > 0 {
		return floor
	}
	return traffic
}

// active returns the active time of all objects, in nanoseconds. others is the part of busy that is not spent on messages.
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
