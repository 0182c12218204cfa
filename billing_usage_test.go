package edgews_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usageOf returns a Usage with value(i) as its i-th field. It covers fields that are added later.
func usageOf(value func(i int) int64) (u edgews.Usage) {
	v := reflect.ValueOf(&u).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(value(i))
	}
	return u
}

func TestUsageAddSub(t *testing.T) {
	a := usageOf(func(i int) int64 { return int64(1000 + 7*i) })
	b := usageOf(func(i int) int64 { return int64(i*i + 1) })
	sum := usageOf(func(i int) int64 { return int64(1000 + 7*i + i*i + 1) })
	assert.Equal(t, sum, a.Add(b))
	assert.Equal(t, a, sum.Sub(b))
	assert.Equal(t, a, a.Add(edgews.Usage{}))
	assert.Zero(t, a.Sub(a))

	// A field has wrapped around between two readings: the difference is still right.
	before := usageOf(func(int) int64 { return 1<<63 - 10 })
	assert.Equal(t, b, before.Add(b).Sub(before))
}

// A ledger from before DroppedNewest, DroppedOldest and Replaced were counted can still be read.
func TestUsageOfAnEarlierLedger(t *testing.T) {
	const stored = `{"HTTPRequests":1,"Connections":2,"MessagesIn":3,"MessagesOut":4,"AutoResponses":5,"Alarms":6,"BytesIn":7,"BytesOut":8,` +
		`"MinuteBytes":9,"Active":10,"Connected":11,"Busy":12}`
	var u edgews.Usage
	require.NoError(t, json.Unmarshal([]byte(stored), &u))
	assert.Equal(t, edgews.Usage{
		HTTPRequests: 1, Connections: 2, MessagesIn: 3, MessagesOut: 4, AutoResponses: 5, Alarms: 6, BytesIn: 7, BytesOut: 8,
		MinuteBytes: 9, Active: 10, Connected: 11, Busy: 12,
	}, u)
}
