package edgews_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// costs returns the costs of a bill's lines by item.
func costs(b edgews.Bill) map[string]edgews.USD {
	all := map[string]edgews.USD{}
	for _, line := range b.Lines {
		all[line.Item] = line.Cost
	}
	return all
}

func lineOf(t *testing.T, b edgews.Bill, item string) edgews.Line {
	t.Helper()
	for _, line := range b.Lines {
		if line.Item == item {
			return line
		}
	}
	require.Failf(t, "no such line", "%q in %v", item, b)
	return edgews.Line{}
}

// The published examples of Durable Objects, by generation of the price list. Amounts are exact.
//
// G1 and G2 had the same rules. Their examples charge connections in the text and leave them out of the sums, and so do
// these rows, to get the published sums; TestConnectionsOf2023 has the right ones.
const publishedObjects = `[
 {"id":"G4-1","http":1500000,"active_s":1000000,"req_usd":0.15,"dur_usd":0,"total_usd":5.15},
 {"id":"G4-2","ws_conn":150000,"ws_in":72000000,"active_s":86400000,"req_usd":0.45,"dur_usd":137.50,"total_usd":142.95},
 {"id":"G4-3","ws_conn":100,"ws_in":259200000,"active_s":259200000,"req_usd":1.80,"dur_usd":412.50,"total_usd":419.30},
 {"id":"G4-4","ws_conn":10000,"ws_in":432000000,"active_s":4320000,"req_usd":3.15,"dur_usd":12.50,"total_usd":20.65},
 {"id":"G3-1","http":1500000,"active_s":1000000,"req_usd":0.075,"dur_usd":0,"total_usd":5.075},
 {"id":"G3-2","ws_conn":150000,"ws_in":72000000,"active_s":86400000,"req_usd":0.4125,"dur_usd":133.24,"total_usd":138.6525},
 {"id":"G3-3","ws_conn":100,"ws_in":259200000,"active_s":259200000,"req_usd":1.794015,"dur_usd":409.72,"total_usd":416.514015},
 {"id":"G3-4","ws_conn":10000,"ws_in":432000000,"active_s":4320000,"req_usd":3.0915,"dur_usd":1.912,"total_usd":10.0035},
 {"id":"G2-1","http":1500000,"active_s":1000000,"req_usd":0.075,"dur_usd":0,"total_usd":5.075},
 {"id":"G2-2","ws_in":72000000,"active_s":86400000,"req_usd":10.65,"dur_usd":133.24,"total_usd":148.89},
 {"id":"G2-3","ws_in":259200000,"active_s":259200000,"req_usd":38.73,"dur_usd":409.72,"total_usd":453.45},
 {"id":"G2-4","ws_in":432000000,"active_s":4320000,"req_usd":64.65,"dur_usd":1.912,"total_usd":71.562},
 {"id":"G1-1","http":1500000,"active_s":1000000,"req_usd":0.075,"dur_usd":0,"total_usd":5.075},
 {"id":"G1-2","ws_in":432000000,"active_s":129600000,"req_usd":64.65,"dur_usd":202.36,"total_usd":272.01},
 {"id":"G1-3","ws_in":259200000,"active_s":259200000,"req_usd":38.73,"dur_usd":409.72,"total_usd":453.45}
]`

// The totals as the pages printed them.
var printed = map[string]string{
	"G4-1": "$5.15", "G4-2": "$142.95", "G4-3": "$419.30", "G4-4": "$20.65",
	"G3-1": "$5.08", "G3-2": "$138.65", "G3-3": "$416.51", "G3-4": "$10.00",
	"G2-1": "$5.08", "G2-2": "$148.89", "G2-3": "$453.45", "G2-4": "$71.56",
	"G1-1": "$5.08", "G1-2": "$272.01", "G1-3": "$453.45",
}

func TestPublishedObjects(t *testing.T) {
	plans := map[string]edgews.Plan{
		"G4": edgews.DurableObjects, "G3": edgews.DurableObjects2024, "G2": edgews.DurableObjects2023, "G1": edgews.DurableObjects2023,
	}
	var rows []struct {
		ID       string     `json:"id"`
		HTTP     int64      `json:"http"`
		Conns    int64      `json:"ws_conn"`
		In       int64      `json:"ws_in"`
		Active   int64      `json:"active_s"`
		Requests edgews.USD `json:"req_usd"`
		Duration edgews.USD `json:"dur_usd"`
		Total    edgews.USD `json:"total_usd"`
	}
	require.NoError(t, json.Unmarshal([]byte(publishedObjects), &rows))
	require.Len(t, rows, len(printed))
	for _, row := range rows {
		t.Run(row.ID, func(t *testing.T) {
			used := edgews.Usage{
				HTTPRequests: row.HTTP, Connections: row.Conns, MessagesIn: row.In, Active: time.Duration(row.Active) * time.Second,
			}
			b := plans[row.ID[:2]].Bill(used)
			assert.Equal(t, map[string]edgews.USD{"base fee": 5 * edgews.Dollar, "requests": row.Requests, "duration": row.Duration}, costs(b))
			assert.Equal(t, row.Total, b.Total)
			assert.Equal(t, printed[row.ID], b.Total.String())
		})
	}
}

// The examples with the connections that the pages of generations 1 and 2 left out of their totals: 150,000 connections cost more
// than a cent.
func TestConnectionsOf2023(t *testing.T) {
	for _, test := range []struct {
		name            string
		conns, messages int64
		active          time.Duration
		exact, cents    string
	}{
		{"G2-2", 150_000, 72_000_000, 86_400_000 * time.Second, "148.9125", "$148.91"},
		{"G2-3", 100, 259_200_000, 259_200_000 * time.Second, "453.450015", "$453.45"},
		{"G2-4", 10_000, 432_000_000, 4_320_000 * time.Second, "71.5635", "$71.56"},
		{"G1-2", 10_000, 432_000_000, 129_600_000 * time.Second, "272.0115", "$272.01"},
	} {
		b := edgews.DurableObjects2023.Bill(edgews.Usage{Connections: test.conns, MessagesIn: test.messages, Active: test.active})
		exact, err := b.Total.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, test.exact, string(exact), test.name)
		assert.Equal(t, test.cents, b.Total.String(), test.name)
	}
}

// The published examples of Workers: none is about WebSockets.
func TestPublishedWorkers(t *testing.T) {
	for _, test := range []struct {
		name         string
		plan         edgews.Plan
		used         edgews.Usage
		exact, cents string
	}{
		{"W1", edgews.WorkersStandard, edgews.Usage{HTTPRequests: 15e6, Busy: 15e6 * 7 * time.Millisecond}, "8.00", "$8.00"},
		{"W2", edgews.WorkersStandard, edgews.Usage{HTTPRequests: 3e6, Busy: 3e6 * 7 * time.Millisecond}, "5.00", "$5.00"},
		{"W3", edgews.WorkersStandard, edgews.Usage{Alarms: 720, Busy: 720 * 180 * time.Second}, "6.992", "$6.99"},
		{"W4", edgews.WorkersStandard, edgews.Usage{HTTPRequests: 100e6, Busy: 100e6 * 7 * time.Millisecond}, "45.40", "$45.40"},
		{"W5", edgews.WorkersBundled, edgews.Usage{HTTPRequests: 100e6, Busy: 100e6 * 7 * time.Millisecond}, "50.00", "$50.00"},
		{"W6", edgews.WorkersUnbound, edgews.Usage{HTTPRequests: 100e6, Busy: 100e6 * 200 * time.Millisecond}, "46.10", "$46.10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.plan.Bill(test.used)
			exact, err := b.Total.MarshalText()
			require.NoError(t, err)
			assert.Equal(t, test.exact, string(exact))
			assert.Equal(t, test.cents, b.Total.String())
		})
	}
}

func TestLines(t *testing.T) {
	b := edgews.DurableObjects.Bill(edgews.Usage{Connections: 150_000, MessagesIn: 72_000_000, Active: 86_400_000 * time.Second})
	assert.Equal(t, []edgews.Line{
		{Item: "base fee", Quantity: 1, Billed: 1, Unit: "period", Price: 5 * edgews.Dollar, Per: 1, Cost: 5 * edgews.Dollar},
		{"requests", 3_750_000, 1_000_000, 3_000_000, "requests", 15 * edgews.Cent, 1_000_000, 45 * edgews.Cent},
		{"duration", 11_059_200, 400_000, 11_000_000, "GB-s", 1250 * edgews.Cent, 1_000_000, 13750 * edgews.Cent},
	}, b.Lines)

	// In proportion.
	b = edgews.DurableObjects2024.Bill(edgews.Usage{Connections: 150_000, MessagesIn: 72_000_000})
	assert.Equal(t, int64(2_750_000), lineOf(t, b, "requests").Billed)

	// Without any use, everything that has a price still has a line.
	b = edgews.DurableObjects.Bill(edgews.Usage{})
	assert.Equal(t, map[string]edgews.USD{"base fee": 5 * edgews.Dollar, "requests": 0, "duration": 0}, costs(b))
	assert.Equal(t, "$5.00", b.Total.String())

	b = edgews.Plan{}.Bill(edgews.Usage{HTTPRequests: 1})
	assert.Equal(t, edgews.Bill{Lines: []edgews.Line{}}, b)
}

// bare is a plan without included amounts, in which the smallest usage has a cost.
var bare = edgews.Plan{
	Requests: edgews.Rate{Price: 15 * edgews.Cent, Per: 1_000_000}, MessagesPerRequest: 20,
	Duration: edgews.Rate{Price: 1250 * edgews.Cent, Per: 1_000_000}, Memory: 128,
}

func TestSmallAmounts(t *testing.T) {
	tests := []struct {
		name     string
		used     edgews.Usage
		item     string
		quantity int64
		cost     edgews.USD // in billionths
	}{
		{"100 messages are 5 requests", edgews.Usage{MessagesIn: 100}, "requests", 5, 5 * 150},
		{"a message is a twentieth", edgews.Usage{MessagesIn: 1}, "requests", 1, 8}, // 7.5
		{"three messages", edgews.Usage{MessagesIn: 3}, "requests", 1, 23},          // 22.5
		{"a connection and a message", edgews.Usage{Connections: 1, MessagesIn: 2}, "requests", 2, 165},
		{"an alarm is a request", edgews.Usage{Alarms: 1}, "requests", 1, 150},
		{"outgoing messages are free", edgews.Usage{MessagesOut: 1e12, BytesOut: 1e15}, "requests", 0, 0},
		{"auto-responses are free", edgews.Usage{AutoResponses: 1e12}, "requests", 0, 0},
		{"a second is 0.128 GB-s", edgews.Usage{Active: time.Second}, "duration", 1, 1600},
		{"a thousand seconds", edgews.Usage{Active: 1000 * time.Second}, "duration", 128, 1_600_000},
		{"a millisecond", edgews.Usage{Active: time.Millisecond}, "duration", 1, 2}, // 1.6
		{"connected time is free", edgews.Usage{Connected: time.Hour, Busy: time.Hour}, "duration", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			line := lineOf(t, bare.Bill(test.used), test.item)
			assert.Equal(t, test.quantity, line.Quantity)
			assert.Equal(t, test.cost, line.Cost)
		})
	}
}

func TestRounding(t *testing.T) {
	requests := func(n int64) edgews.Line {
		return lineOf(t, edgews.DurableObjects.Bill(edgews.Usage{HTTPRequests: n}), "requests")
	}
	assert.Equal(t, int64(0), requests(1_000_000).Billed, "exactly the included amount")
	assert.Equal(t, int64(1_000_000), requests(1_000_001).Billed)
	assert.Equal(t, int64(1_000_000), requests(2_000_000).Billed)
	assert.Equal(t, int64(2_000_000), requests(2_000_001).Billed)

	// A twentieth of a request begins a million, too.
	used := edgews.Usage{HTTPRequests: 1_000_000, MessagesIn: 1}
	assert.Equal(t, 15*edgews.Cent, lineOf(t, edgews.DurableObjects.Bill(used), "requests").Cost)
	used = edgews.Usage{Active: 3_125_000*time.Second + 1}
	assert.Equal(t, 1250*edgews.Cent, lineOf(t, edgews.DurableObjects.Bill(used), "duration").Cost)
	used.Active--
	assert.Zero(t, lineOf(t, edgews.DurableObjects.Bill(used), "duration").Cost)
}

func TestAutoResponsePolicy(t *testing.T) {
	p := bare
	p.BillAutoResponses = true
	used := edgews.Usage{MessagesIn: 60, AutoResponses: 40}
	assert.Equal(t, int64(3), lineOf(t, bare.Bill(used), "requests").Quantity)
	assert.Equal(t, int64(5), lineOf(t, p.Bill(used), "requests").Quantity)

	p.Messages, p.MessagesIn, p.MessagesOut = edgews.Rate{Price: 1}, edgews.Rate{Price: 1}, edgews.Rate{Price: 1}
	b := p.Bill(edgews.Usage{MessagesIn: 60, MessagesOut: 5, AutoResponses: 40})
	assert.Equal(t, int64(145), lineOf(t, b, "messages").Quantity)
	assert.Equal(t, int64(100), lineOf(t, b, "messages in").Quantity)
	assert.Equal(t, int64(45), lineOf(t, b, "messages out").Quantity)
}

func TestDurationOf(t *testing.T) {
	const h = time.Hour
	for _, test := range []struct {
		span edgews.Span
		used edgews.Usage
		want time.Duration
	}{
		{edgews.SpanActive, edgews.Usage{Active: 3 * h, Connected: 50 * h, Busy: 2 * h}, 3 * h},
		{edgews.SpanBusy, edgews.Usage{Active: 3 * h, Connected: 50 * h, Busy: 2 * h}, 2 * h},
		{edgews.SpanOpen, edgews.Usage{Active: 3 * h, Connected: 50 * h, Busy: 2 * h}, 52 * h},
		{edgews.SpanOpen, edgews.Usage{Active: 3 * h, Busy: 2 * h}, 3 * h},
		{edgews.SpanOpen, edgews.Usage{Active: math.MaxInt64, Connected: math.MaxInt64 - 1, Busy: 1}, math.MaxInt64},
		{edgews.Span(7), edgews.Usage{Active: 3 * h, Busy: h}, 3 * h},
	} {
		p := bare
		p.DurationOf = test.span
		assert.Equal(t, bare.Bill(edgews.Usage{Active: test.want}), p.Bill(test.used), "%v of %+v", test.span, test.used)
	}
}

func TestActiveConnection2021(t *testing.T) {
	// A hundred objects with a hundred sockets each for 30 days: a message a minute, 10 ms each.
	used := edgews.Usage{
		Connections: 10_000, MessagesIn: 432_000_000, Active: 259_200_000 * time.Second, Busy: 4_320_000 * time.Second,
		Connected: 9_000_000_000 * time.Second,
	}
	b := edgews.ActiveConnection2021.Bill(used)
	assert.Equal(t, map[string]edgews.USD{
		"base fee": 5 * edgews.Dollar, "requests": 0, "duration": 1_912_000_000, "connected time": 144 * edgews.Dollar,
	}, costs(b))

	p := edgews.ActiveConnection2021
	p.ConnectedTime.Price = edgews.Cent
	assert.Equal(t, 90*edgews.Dollar, lineOf(t, p.Bill(used), "connected time").Cost)
	assert.Equal(t, b, edgews.ActiveConnection2021.Bill(used), "changing a copy does not change the original")
}

// Every minute of a connection costs bandwidth or time: a megabyte is as much as a minute.
func TestConnectionMinutes(t *testing.T) {
	p := edgews.Plan{MinuteBytes: edgews.Rate{Price: 10 * edgews.Cent, Per: 1_000_000_000}}
	minutes := edgews.Usage{MinuteBytes: 1_000_000*600 + 5_000_000} // ten quiet hours, and a minute with 5 MB
	assert.Equal(t, 60_500_000*edgews.USD(1), p.Bill(minutes).Total)
}

func TestNonsense(t *testing.T) {
	least := usageOf(func(int) int64 { return math.MinInt64 })
	most := usageOf(func(int) int64 { return math.MaxInt64 })
	for _, p := range []edgews.Plan{
		edgews.DurableObjects, edgews.DurableObjects2024, edgews.DurableObjects2023, edgews.WorkersStandard, edgews.WorkersBundled,
		edgews.WorkersUnbound, edgews.ActiveConnection2021, edgews.FreeDaily,
	} {
		assert.Equal(t, p.Bill(edgews.Usage{}), p.Bill(least), p.Name)
		assert.Greater(t, p.Bill(most).Total, p.Bill(edgews.Usage{}).Total-1, p.Name)
	}

	b := edgews.DurableObjects2023.Bill(most)
	assert.Equal(t, int64(math.MaxInt64), lineOf(t, b, "requests").Quantity)
	assert.Equal(t, edgews.USD(math.MaxInt64), b.Total)
	assert.Equal(t, "$9223372036.85", b.Total.String())

	// Negative figures of a plan count as 0, and a negative Per as 1.
	bad := edgews.Plan{
		Requests: edgews.Rate{Included: -5, Price: 1, Per: -1, RoundUp: -7}, MessagesPerRequest: -20,
		Duration: edgews.Rate{Price: 1}, Memory: -128,
	}
	assert.Equal(t, edgews.USD(3), bad.Bill(edgews.Usage{HTTPRequests: 3, MessagesIn: 100, Active: time.Hour}).Total)

	discount := edgews.Plan{Base: 5 * edgews.Dollar, Connections: edgews.Rate{Price: -edgews.Cent}}
	assert.Equal(t, "-$1.00", discount.Bill(edgews.Usage{Connections: 600}).Total.String())
}

func TestBillSum(t *testing.T) {
	day := usageOf(func(i int) int64 { return int64(i+1) * 123_456_789_012 })
	sum := edgews.Usage{}
	days := make([]edgews.Usage, 30)
	for i := range days {
		days[i] = day
		sum = sum.Add(day)
	}
	p := edgews.DurableObjects
	assert.Equal(t, p.Bill(sum), p.BillSum(days...))
	assert.Equal(t, p.Bill(edgews.Usage{}), p.BillSum())
	assert.Equal(t, p.Bill(edgews.Usage{}), p.BillSum(day, edgews.Usage{}.Sub(day)), "a correction")

	// Ten thousand sockets are connected for more time in a month than a Duration can hold. The counter wraps around; the
	// differences of its daily readings do not.
	part := edgews.Usage{Connected: 10_000 * 24 * time.Hour}
	reading := edgews.Usage{}
	for i := range days {
		next := reading.Add(part)
		days[i], reading = next.Sub(reading), next
	}
	assert.NotEqual(t, "$414.72", lineOf(t, edgews.ActiveConnection2021.Bill(reading), "connected time").Cost.String(), "it has wrapped around")
	line := lineOf(t, edgews.ActiveConnection2021.BillSum(days...), "connected time")
	assert.Equal(t, int64(25_920_000_000), line.Quantity)
	assert.Equal(t, "$414.72", line.Cost.String())
}

func TestPlanInJSON(t *testing.T) {
	for _, p := range []edgews.Plan{edgews.DurableObjects, edgews.WorkersStandard, edgews.WorkersUnbound, edgews.ActiveConnection2021, {}} {
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var back edgews.Plan
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, p, back)
	}
	text, err := json.Marshal(edgews.WorkersUnbound)
	require.NoError(t, err)
	assert.JSONEq(t, `{"name": "Workers Unbound, until March 2024", "base": "5.00",
		"requests": {"included": 1000000, "price": "0.15", "per": 1000000},
		"duration": {"included": 400000, "price": "12.50", "per": 1000000}, "duration_of": "open", "memory": 125}`, string(text))

	assert.ErrorContains(t, json.Unmarshal([]byte(`{"duration_of": "idle"}`), new(edgews.Plan)), "use active, busy or open")
	_, err = json.Marshal(edgews.Plan{DurationOf: 9})
	assert.ErrorContains(t, err, "Span(9)")
}
