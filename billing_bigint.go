package edgews

import (
	"math"
	"math/big"
)

// usageCounts is a Usage whose figures have no upper limit: a big service reaches a Duration's 292 years of connected time in a
// few days. No figure is negative.
type usageCounts struct {
	httpRequests, connections, messagesIn, messagesOut, autoResponses, alarms big.Int

	bytesIn, bytesOut big.Int

	droppedNewest, droppedOldest, replaced big.Int

	minuteBytes big.Int

	active, connected, busy big.Int // nanoseconds

	messageUnitsIn, messageUnitsOut big.Int

	rowsRead, rowsWritten, readUnits, writeUnits, deletes, storedByteHours big.Int
}

// usageCountsOf returns the sum of the parts. A figure whose sum is negative becomes zero.
func usageCountsOf(parts ...Usage) *usageCounts {
	n := new(usageCounts)
	var v big.Int
	for i := range parts {
		for f, field := range n.fields() {
			field.Add(field, v.SetInt64(*parts[i].fields()[f]))
		}
	}
	for _, field := range n.fields() {
		if field.Sign() < 0 {
			field.SetInt64(0)
		}
	}
	return n
}

// usage returns n as a Usage. A figure that is too great for its type becomes the greatest value of the type.
func (n *usageCounts) usage() (u Usage) {
	for f, field := range n.fields() {
		*u.fields()[f] = clampInt64(field)
	}
	return u
}

// usageFields is the number of figures of a Usage.
const usageFields = 23

// fields returns the figures in the order of Usage.fields.
func (n *usageCounts) fields() [usageFields]*big.Int {
	return [...]*big.Int{
		&n.httpRequests, &n.connections, &n.messagesIn, &n.messagesOut, &n.autoResponses, &n.alarms,
		&n.bytesIn, &n.bytesOut, &n.droppedNewest, &n.droppedOldest, &n.replaced,
		&n.minuteBytes, &n.active, &n.connected, &n.busy,
		&n.messageUnitsIn, &n.messageUnitsOut,
		&n.rowsRead, &n.rowsWritten, &n.readUnits, &n.writeUnits, &n.deletes, &n.storedByteHours,
	}
}

// fields returns the figures in the order of usageCounts.fields.
func (u *Usage) fields() [usageFields]*int64 {
	return [...]*int64{
		&u.HTTPRequests, &u.Connections, &u.MessagesIn, &u.MessagesOut, &u.AutoResponses, &u.Alarms,
		&u.BytesIn, &u.BytesOut, &u.DroppedNewest, &u.DroppedOldest, &u.Replaced,
		&u.MinuteBytes, (*int64)(&u.Active), (*int64)(&u.Connected), (*int64)(&u.Busy),
		&u.MessageUnitsIn, &u.MessageUnitsOut,
		&u.RowsRead, &u.RowsWritten, &u.ReadUnits, &u.WriteUnits, &u.Deletes, &u.StoredByteHours,
	}
}

// sumOf returns the sum of the terms, which it does not change.
func sumOf(terms ...*big.Int) *big.Int {
	total := new(big.Int)
	for _, term := range terms {
		total.Add(total, term)
	}
	return total
}

// greatest returns the greatest of the terms, none of which it changes.
func greatest(a *big.Int, others ...*big.Int) *big.Int {
	for _, b := range others {
		if b.Cmp(a) > 0 {
			a = b
		}
	}
	return a
}

// product returns a*b, and changes neither.
func product(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }

// atLeast0 returns n, or 0 if n is negative.
func atLeast0[T ~int64](n T) *big.Int { return big.NewInt(int64(max(n, 0))) }

// ceilDiv returns num/den, rounded up. Neither may be negative.
func ceilDiv(num, den *big.Int) *big.Int {
	whole, rest := new(big.Int).QuoRem(num, den, new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole
}

// clampInt64 returns the int64 that is nearest to x.
func clampInt64(x *big.Int) int64 {
	switch {
	case x.IsInt64():
		return x.Int64()
	case x.Sign() < 0:
		return math.MinInt64
	default:
		return math.MaxInt64
	}
}
