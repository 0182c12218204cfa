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

// withStorage are the price lists that charge storage.
var withStorage = []edgews.Plan{edgews.DurableObjects, edgews.DurableObjectsKV, edgews.DurableObjects2024, edgews.DurableObjects2023}

// The published prices of storage: what is included is free, and what is beyond it costs its price.
func TestPublishedStoragePrices(t *testing.T) {
	const gbMonth = 1_000_000_000 * 30 * 24 // byte-hours
	rows := []struct {
		item     string
		used     func(n int64) edgews.Usage
		included int64
		beyond   int64
		cost     edgews.USD
	}{
		{"rows read", func(n int64) edgews.Usage { return edgews.Usage{RowsRead: n} }, 25_000_000_000, 1_000_000, edgews.Cent / 10},
		{"rows written", func(n int64) edgews.Usage { return edgews.Usage{RowsWritten: n} }, 50_000_000, 1_000_000, edgews.Dollar},
		{"stored", func(n int64) edgews.Usage { return edgews.Usage{StoredByteHours: n * gbMonth} }, 5, 1, 20 * edgews.Cent},
	}
	units := append(rows[2:3:3], []struct {
		item     string
		used     func(n int64) edgews.Usage
		included int64
		beyond   int64
		cost     edgews.USD
	}{
		{"read units", func(n int64) edgews.Usage { return edgews.Usage{ReadUnits: n} }, 1_000_000, 1_000_000, 20 * edgews.Cent},
		{"write units", func(n int64) edgews.Usage { return edgews.Usage{WriteUnits: n} }, 1_000_000, 1_000_000, edgews.Dollar},
		{"deletes", func(n int64) edgews.Usage { return edgews.Usage{Deletes: n} }, 1_000_000, 1_000_000, edgews.Dollar},
	}...)
	units[0].included = 1
	for _, p := range withStorage {
		list := units
		if p.Name == edgews.DurableObjects.Name {
			list = rows
		}
		for _, test := range list {
			free := lineOf(t, p.Bill(test.used(test.included)), test.item)
			assert.Equal(t, test.included, free.Quantity, "%s: %s", p.Name, test.item)
			assert.Zero(t, free.Cost, "%s: %s", p.Name, test.item)
			line := lineOf(t, p.Bill(test.used(test.included+test.beyond)), test.item)
			assert.Equal(t, test.beyond, line.Billed, "%s: %s", p.Name, test.item)
			assert.Equal(t, test.cost, line.Cost, "%s: %s", p.Name, test.item)
		}
		all := p.Bill(usageOf(func(int) int64 { return math.MaxInt64 / 2 }))
		assert.Len(t, all.Lines, 3+len(list), "%s charges nothing else", p.Name)
	}
}

// Without storage a bill is as before; with it, it has lines for what was used.
func TestStorageLines(t *testing.T) {
	for _, p := range withStorage {
		assert.Len(t, p.Bill(edgews.Usage{HTTPRequests: 1}).Lines, 3, p.Name)
	}
	used := edgews.Usage{RowsRead: 1, RowsWritten: 60_000_000, StoredByteHours: 12_500_000_000 * 720}
	b := edgews.DurableObjects.Bill(used)
	assert.Equal(t, []edgews.Line{
		{"rows read", 1, 25_000_000_000, 0, "rows", edgews.Cent / 10, 1_000_000, 0},
		{"rows written", 60_000_000, 50_000_000, 10_000_000, "rows", edgews.Dollar, 1_000_000, 10 * edgews.Dollar},
		{"stored", 13, 5, 8, "GB-months", 20 * edgews.Cent, 1, 150 * edgews.Cent}, // exactly 7.5 of them
	}, b.Lines[3:])
	assert.Equal(t, "$16.50", b.Total.String())
}

// A month of a petabyte, and of more than a Usage can hold.
func TestPetabytes(t *testing.T) {
	const petabyte = 1_000_000_000_000_000
	p := edgews.Plan{Stored: edgews.Rate{Price: 20 * edgews.Cent}}
	month := edgews.Usage{StoredByteHours: petabyte * 720}
	assert.Equal(t, "$200000.00", p.Bill(month).Total.String())
	assert.Equal(t, month, month.Add(month).Sub(month))
	parts := make([]edgews.Usage, 50)
	for i := range parts {
		parts[i] = month
	}
	assert.Equal(t, "$10000000.00", p.BillSum(parts...).Total.String())
	assert.Equal(t, "$10000000.00", p.Estimate(edgews.Expectation{Objects: 50_000, Stored: petabyte / 1000}).Total.String())
}

func TestFreeDailyBoundsRows(t *testing.T) {
	assert.NoError(t, edgews.FreeDaily.Allows(edgews.Usage{RowsRead: 5_000_000, RowsWritten: 100_000, StoredByteHours: 1 << 60}))
	assert.EqualError(t, edgews.FreeDaily.Allows(edgews.Usage{RowsWritten: 100_001}),
		`edgews: quota exceeded: rows written: 100001 of 100000 rows, plan "Durable Objects, free, a day"`)
	assert.ErrorContains(t, edgews.FreeDaily.Allows(edgews.Usage{RowsRead: 5_000_001}), "rows read")
}

func TestEstimateOfStorage(t *testing.T) {
	e := edgews.Expectation{
		Days: 30, Objects: 10, Sockets: 1, Messages: 1, Every: time.Hour, HTTPRequests: 5, Alarms: 3, Hibernate: true,
		Reads: 2, Writes: 3, Deletes: 1, EntrySize: 9_000, Stored: 1_000_000_000,
	}
	const events = 10*720 + 5 + 3
	u := e.Usage()
	assert.Equal(t, edgews.Usage{
		HTTPRequests: 5, Alarms: 3, Connections: 10, MessagesIn: 7200, Connected: 10 * 720 * time.Hour,
		RowsRead: 2 * events, RowsWritten: 4 * events, ReadUnits: 6 * events, WriteUnits: 9 * events, Deletes: events,
		StoredByteHours: 10 * 1_000_000_000 * 720,
	}, u)
	assert.Equal(t, "$1.00", lineOf(t, edgews.DurableObjects.Estimate(e), "stored").Cost.String())
	assert.Equal(t, "$1.80", lineOf(t, edgews.DurableObjectsKV.Estimate(e), "stored").Cost.String())

	assert.Equal(t, edgews.Usage{}, edgews.Expectation{Reads: 1, Writes: 1, Deletes: 1, EntrySize: 1}.Usage(), "nothing happens")
	assert.Equal(t, edgews.Usage{HTTPRequests: 1}, edgews.Expectation{
		HTTPRequests: 1, Reads: -1, Writes: -1, Deletes: -1, EntrySize: -1, Stored: -1, MessageUnit: -1,
	}.Usage())
	assert.EqualValues(t, 24*5, edgews.Expectation{Days: 1, Stored: 5}.Usage().StoredByteHours, "without objects, in total")
}

func TestMessageUnit(t *testing.T) {
	rate := edgews.Rate{Price: 1}
	p := edgews.Plan{MessageUnit: 32 << 10, Messages: rate, MessagesIn: rate, MessagesOut: rate, Requests: rate, MessagesPerRequest: 10}
	for _, test := range []struct {
		name    string
		used    edgews.Usage
		in, out int64
	}{
		{"nothing", edgews.Usage{}, 0, 0},
		{"counted", edgews.Usage{MessagesIn: 10, BytesIn: 1000, MessageUnitsIn: 10, MessagesOut: 2, BytesOut: 66 << 10, MessageUnitsOut: 4}, 10, 4},
		{"a message of 33 KB is two", edgews.Usage{MessagesIn: 1, BytesIn: 33 << 10, MessageUnitsIn: 2}, 2, 0},
		{"not counted: a message is a unit at least", edgews.Usage{MessagesIn: 10, BytesIn: 1000}, 10, 0},
		{"not counted: the bytes need more", edgews.Usage{MessagesOut: 1, BytesOut: 65 << 10}, 0, 3},
		{"auto-responses are free", edgews.Usage{AutoResponses: 5}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := p.Bill(test.used)
			assert.Equal(t, test.in, lineOf(t, b, "messages in").Quantity)
			assert.Equal(t, test.out, lineOf(t, b, "messages out").Quantity)
			assert.Equal(t, test.in+test.out, lineOf(t, b, "messages").Quantity)
			assert.Equal(t, (test.in+9)/10, lineOf(t, b, "requests").Quantity)
			assert.Equal(t, "message units", lineOf(t, b, "messages").Unit)
		})
	}
	p.BillAutoResponses = true
	assert.EqualValues(t, 7, lineOf(t, p.Bill(edgews.Usage{AutoResponses: 5, MessageUnitsIn: 2}), "messages in").Quantity)

	e := edgews.Expectation{Days: 1, Sockets: 1, Messages: 1, Every: time.Hour, Replies: 2, MessageSize: 33 << 10, MessageUnit: 32 << 10}
	assert.EqualValues(t, 48, e.Usage().MessageUnitsIn)
	assert.EqualValues(t, 96, e.Usage().MessageUnitsOut)
}

func TestStoragePlanInJSON(t *testing.T) {
	for _, p := range append(withStorage, edgews.FreeDaily, edgews.Plan{MessageUnit: 4096}) {
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var back edgews.Plan
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, p, back)
	}
}

// A ledger that was written before there was storage in Usage.
func TestOldUsageInJSON(t *testing.T) {
	const old = `{"HTTPRequests":1,"Connections":2,"MessagesIn":3,"MessagesOut":4,"AutoResponses":5,"Alarms":6,"BytesIn":7,"BytesOut":8,` +
		`"MinuteBytes":9,"Active":10,"Connected":11,"Busy":12}`
	var u edgews.Usage
	require.NoError(t, json.Unmarshal([]byte(old), &u))
	assert.Equal(t, edgews.Usage{
		HTTPRequests: 1, Connections: 2, MessagesIn: 3, MessagesOut: 4, AutoResponses: 5, Alarms: 6, BytesIn: 7, BytesOut: 8, MinuteBytes: 9,
		Active: 10, Connected: 11, Busy: 12,
	}, u)
}
