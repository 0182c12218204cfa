package edgews_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oracle computes what a plan charges, in fractions.
type oracle struct {
	p edgews.Plan
	u edgews.Usage
}

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

// plus returns the sum of figures of a usage. Negative ones count as zero.
func plus(figures ...int64) *big.Rat {
	total := new(big.Rat)
	for _, figure := range figures {
		total.Add(total, rat(max(figure, 0)))
	}
	return total
}

func over(x *big.Rat, n int64) *big.Rat { return new(big.Rat).Quo(x, rat(n)) }

// ceil returns the least integer that is not less than x.
func ceil(x *big.Rat) *big.Rat {
	whole := new(big.Int).Div(x.Num(), x.Denom()) // towards minus infinity, as Denom is positive
	if !x.IsInt() {
		whole.Add(whole, big.NewInt(1))
	}
	return new(big.Rat).SetInt(whole)
}

// nearest returns the nearest int64; halves are rounded away from zero.
func nearest(x *big.Rat) int64 {
	half := new(big.Rat).Add(new(big.Rat).Abs(x), big.NewRat(1, 2))
	whole := new(big.Int).Div(half.Num(), half.Denom())
	if x.Sign() < 0 {
		whole.Neg(whole)
	}
	switch {
	case whole.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64
	case whole.Cmp(big.NewInt(math.MinInt64)) < 0:
		return math.MinInt64
	}
	return whole.Int64()
}

func (o oracle) quantities() map[string]*big.Rat {
	auto := plus()
	if o.p.BillAutoResponses {
		auto = plus(o.u.AutoResponses)
	}
	in := sum(o.messages(o.u.MessagesIn, o.u.MessageUnitsIn, o.u.BytesIn), auto)
	out := sum(o.messages(o.u.MessagesOut, o.u.MessageUnitsOut, o.u.BytesOut), auto)
	requests := plus(o.u.HTTPRequests, o.u.Connections, o.u.Alarms)
	if o.p.MessagesPerRequest > 0 {
		requests.Add(requests, over(in, o.p.MessagesPerRequest))
	}
	span := plus(int64(o.u.Active))
	if o.p.DurationOf == edgews.SpanBusy {
		span = plus(int64(o.u.Busy))
	}
	if open := plus(int64(o.u.Connected), int64(o.u.Busy)); o.p.DurationOf == edgews.SpanOpen && open.Cmp(span) > 0 {
		span = open
	}
	return map[string]*big.Rat{
		"requests":       requests,
		"duration":       over(over(span.Mul(span, plus(o.p.Memory)), 1000), 1e9),
		"CPU time":       over(plus(int64(o.u.Busy)), 1e6),
		"connected time": over(plus(int64(o.u.Connected)), 1e9),
		"connections":    plus(o.u.Connections),
		"messages":       sum(in, out),
		"messages in":    in,
		"messages out":   out,
		"traffic":        plus(o.u.BytesIn, o.u.BytesOut),
		"traffic in":     plus(o.u.BytesIn),
		"traffic out":    plus(o.u.BytesOut),
		"minute traffic": plus(o.u.MinuteBytes),
		"rows read":      plus(o.u.RowsRead),
		"rows written":   plus(o.u.RowsWritten),
		"read units":     plus(o.u.ReadUnits),
		"write units":    plus(o.u.WriteUnits),
		"deletes":        plus(o.u.Deletes),
		"stored":         over(over(plus(o.u.StoredByteHours), 1e9), 720),
	}
}

// messages returns the messages of one direction, or their units if the plan has a unit: those that were counted, but at least those that
// the messages and their bytes take in any case.
func (o oracle) messages(messages, units, bytes int64) *big.Rat {
	if o.p.MessageUnit <= 0 {
		return plus(messages)
	}
	most := plus(max(messages, units))
	if least := ceil(over(plus(bytes), o.p.MessageUnit)); least.Cmp(most) > 0 {
		return least
	}
	return most
}

func sum(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }

// isStorage are the items without a line as long as nothing was used.
var isStorage = map[string]bool{
	"rows read": true, "rows written": true, "read units": true, "write units": true, "deletes": true, "stored": true,
}

func (o oracle) rates() map[string]edgews.Rate {
	return map[string]edgews.Rate{
		"requests": o.p.Requests, "duration": o.p.Duration, "CPU time": o.p.CPU, "connected time": o.p.ConnectedTime,
		"connections": o.p.Connections, "messages": o.p.Messages, "messages in": o.p.MessagesIn, "messages out": o.p.MessagesOut,
		"traffic": o.p.Bytes, "traffic in": o.p.BytesIn, "traffic out": o.p.BytesOut, "minute traffic": o.p.MinuteBytes,
		"rows read": o.p.RowsRead, "rows written": o.p.RowsWritten, "read units": o.p.ReadUnits, "write units": o.p.WriteUnits,
		"deletes": o.p.Deletes, "stored": o.p.Stored,
	}
}

// check compares a bill with the fractions, line by line.
func (o oracle) check(t *testing.T, b edgews.Bill) {
	t.Helper()
	quantities, rates := o.quantities(), o.rates()
	sum, lines := new(big.Rat), map[string]bool{}
	for _, line := range b.Lines {
		sum.Add(sum, rat(int64(line.Cost)))
		require.False(t, lines[line.Item], "two lines of %q", line.Item)
		lines[line.Item] = true
		if line.Item == "base fee" {
			require.Equal(t, o.p.Base, line.Cost)
			continue
		}
		used, rate := quantities[line.Item], rates[line.Item]
		billed := new(big.Rat).Sub(used, plus(rate.Included))
		if billed.Sign() < 0 {
			billed = rat(0)
		}
		if rate.RoundUp > 0 {
			billed = ceil(over(billed, rate.RoundUp))
			billed.Mul(billed, rat(rate.RoundUp))
		}
		cost := new(big.Rat).Mul(billed, over(rat(int64(rate.Price)), max(rate.Per, 1)))
		require.Equal(t, nearest(ceil(used)), line.Quantity, line.Item)
		require.Equal(t, nearest(ceil(billed)), line.Billed, line.Item)
		require.Equal(t, nearest(cost), int64(line.Cost), line.Item)
	}
	for name, rate := range rates {
		require.Equal(t, rate != edgews.Rate{} && (!isStorage[name] || quantities[name].Sign() > 0), lines[name], "a line of %q", name)
	}
	require.Equal(t, o.p.Base != 0, lines["base fee"])
	require.Equal(t, nearest(sum), int64(b.Total), "the total is the sum of the lines")
}

// draw makes a plan and a usage from a source of numbers.
func draw(next func() int64) (p edgews.Plan, u edgews.Usage) {
	small := func(n int64) int64 { v := next() % n; return max(v, -v) }
	p.Name, p.Base = "drawn", edgews.USD(next())
	p.MessagesPerRequest, p.BillAutoResponses = small(30), next()%2 == 0
	p.DurationOf, p.Memory, p.MessageUnit = edgews.Span(small(3)), small(2000), next()
	for _, rate := range []*edgews.Rate{
		&p.Requests, &p.Duration, &p.CPU, &p.ConnectedTime, &p.Connections, &p.Messages, &p.MessagesIn, &p.MessagesOut,
		&p.Bytes, &p.BytesIn, &p.BytesOut, &p.MinuteBytes,
		&p.RowsRead, &p.RowsWritten, &p.ReadUnits, &p.WriteUnits, &p.Deletes, &p.Stored,
	} {
		if next()%3 != 0 {
			*rate = edgews.Rate{Included: next(), Price: edgews.USD(next()), Per: next(), RoundUp: next()}
		}
	}
	return p, usageOf(func(int) int64 { return next() })
}

// anyMagnitude draws numbers of one digit as often as those of nineteen.
func anyMagnitude(r *rand.Rand) func() int64 {
	return func() int64 { return int64(r.Uint64()) >> r.IntN(64) }
}

func TestBillAgainstFractions(t *testing.T) {
	next := anyMagnitude(rand.New(rand.NewPCG(1, 2)))
	for range 5000 {
		p, u := draw(next)
		oracle{p, u}.check(t, p.Bill(u))
		if t.Failed() {
			t.Fatalf("plan %+v, usage %+v", p, u)
		}
	}
}

func TestBillGrowsWithUsage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	next := anyMagnitude(r)
	positive := func() int64 { return int64(uint64(next()) >> 2) } // the sum of two does not overflow
	for range 2000 {
		p, u := draw(positive)
		more := usageOf(func(int) int64 { return positive() * r.Int64N(2) })
		less, greater := p.Bill(u), p.Bill(u.Add(more))
		for _, line := range less.Lines {
			assert.GreaterOrEqual(t, lineOf(t, greater, line.Item).Cost, line.Cost)
			assert.GreaterOrEqual(t, lineOf(t, greater, line.Item).Quantity, line.Quantity)
		}
		require.GreaterOrEqual(t, greater.Total, less.Total, "%+v: %+v and then %+v", p, u, more)
		require.Equal(t, greater, p.BillSum(u, more))
	}
}

// FuzzBill compares bills of any plan for any usage with the same sums in fractions.
func FuzzBill(f *testing.F) {
	f.Add([]byte{})
	for _, magnitude := range []int{60, 40, 20, 0} {
		var seed []byte
		r := rand.New(rand.NewPCG(5, uint64(magnitude)))
		for range 80 {
			seed = binary.LittleEndian.AppendUint64(seed, r.Uint64()>>magnitude)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		p, u := draw(func() int64 {
			var word [8]byte
			input = input[copy(word[:], input):]
			return int64(binary.LittleEndian.Uint64(word[:]))
		})
		oracle{p, u}.check(t, p.Bill(u))
		require.NotPanics(t, func() { _ = p.Bill(u).String() })
		if p.Allows(u) == nil {
			require.NoError(t, p.Allows(edgews.Usage{}), "less is allowed if more is")
		}
	})
}
