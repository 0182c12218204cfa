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
	auto := int64(0)
	if o.p.BillAutoResponses {
		auto = o.u.AutoResponses
	}
	requests := plus(o.u.HTTPRequests, o.u.Connections, o.u.Alarms)
	if o.p.MessagesPerRequest > 0 {
		requests.Add(requests, over(plus(o.u.MessagesIn, auto), o.p.MessagesPerRequest))
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
		"messages":       plus(o.u.MessagesIn, o.u.MessagesOut, auto, auto),
		"messages in":    plus(o.u.MessagesIn, auto),
		"messages out":   plus(o.u.MessagesOut, auto),
		"traffic":        plus(o.u.BytesIn, o.u.BytesOut),
		"traffic in":     plus(o.u.BytesIn),
		"traffic out":    plus(o.u.BytesOut),
		"minute traffic": plus(o.u.MinuteBytes),
	}
}

func (o oracle) rates() map[string]edgews.Rate {
	return map[string]edgews.Rate{
		"requests": o.p.Requests, "duration": o.p.Duration, "CPU time": o.p.CPU, "connected time": o.p.ConnectedTime,
		"connections": o.p.Connections, "messages": o.p.Messages, "messages in": o.p.MessagesIn, "messages out": o.p.MessagesOut,
		"traffic": o.p.Bytes, "traffic in": o.p.BytesIn, "traffic out": o.p.BytesOut, "minute traffic": o.p.MinuteBytes,
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
		require.Equal(t, rate != edgews.Rate{}, lines[name], "a line of %q", name)
	}
	require.Equal(t, o.p.Base != 0, lines["base fee"])
	require.Equal(t, nearest(sum), int64(b.Total), "the total is the sum of the lines")
}

// draw makes a plan and a usage from a source of numbers.
func draw(next func() int64) (p edgews.Plan, u edgews.Usage) {
	small := func(n int64) int64 { v := next() % n; return max(v, -v) }
	p.Name, p.Base = "drawn", edgews.USD(next())
	p.MessagesPerRequest, p.BillAutoResponses = small(30), next()%2 == 0
	p.DurationOf, p.Memory = edgews.Span(small(3)), small(2000)
	for _, rate := range []*edgews.Rate{
		&p.Requests, &p.Duration, &p.CPU, &p.ConnectedTime, &p.Connections, &p.Messages, &p.MessagesIn, &p.MessagesOut,
		&p.Bytes, &p.BytesIn, &p.BytesOut, &p.MinuteBytes,
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
		require.Len(t, greater.Lines, len(less.Lines))
		for i := range less.Lines {
			assert.GreaterOrEqual(t, greater.Lines[i].Cost, less.Lines[i].Cost)
			assert.GreaterOrEqual(t, greater.Lines[i].Quantity, less.Lines[i].Quantity)
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
