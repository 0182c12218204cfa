package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/ratelimit"
)

func TestNoLimit(t *testing.T) {
	for _, rate := range []int{0, -1} {
		l := ratelimit.New(rate, rate)
		assert.Nil(t, l)
		assert.True(t, l.Allow(1<<30, 1<<30))
	}
}

func TestAllow(t *testing.T) {
	type step struct {
		wait        time.Duration
		messages, n int
		want        bool
	}
	cases := []struct {
		name            string
		messages, bytes int
		steps           []step
	}{
		{"a second's worth of messages at once", 10, 0, []step{{0, 10, 1 << 30, true}, {0, 1, 0, false}}},
		{"a second's worth of bytes at once", 0, 100, []step{{0, 1000, 100, true}, {0, 1, 1, false}}},
		{"the buckets fill at the rate", 10, 100, []step{{0, 10, 100, true}, {time.Second / 2, 5, 50, true}, {0, 1, 0, false}}},
		{"and hold no more than a second's worth", 10, 0, []step{{time.Hour, 11, 0, false}}},
		{"a piece of a message counts its bytes alone", 1, 10, []step{{0, 1, 5, true}, {0, 0, 5, true}, {0, 0, 1, false}}},
		{"what is refused is taken too", 10, 0, []step{{0, 20, 0, false}, {time.Second, 1, 0, false}, {time.Second, 9, 0, true}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.New(c.messages, c.bytes)
				for i, s := range c.steps {
					time.Sleep(s.wait)
					assert.Equal(t, s.want, l.Allow(s.messages, s.n), "step %d", i)
				}
			})
		})
	}
}
