package edgews_test

import (
	"reflect"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
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
