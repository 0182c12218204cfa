package edgews_test

import (
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
)

func TestAllows(t *testing.T) {
	const day = 101_562*time.Second + 500*time.Millisecond // 13,000 GB-s at 128 MB, which is more than a day
	ratio := edgews.Plan{Name: "mine", MessagesOut: edgews.Rate{Included: 2, Price: edgews.Cent, RoundUp: 100}}
	tests := []struct {
		name   string
		plan   edgews.Plan
		used   edgews.Usage
		excess string // empty: allowed
	}{
		{"nothing", edgews.FreeDaily, edgews.Usage{}, ""},
		{"all requests", edgews.FreeDaily, edgews.Usage{HTTPRequests: 20_000, Connections: 20_000, Alarms: 10_000, MessagesIn: 1_000_000}, ""},
		{"a message more", edgews.FreeDaily, edgews.Usage{Connections: 100_000, MessagesIn: 1}, "requests: 100001 of 100000 requests"},
		{"outgoing and automatic messages", edgews.FreeDaily, edgews.Usage{MessagesOut: 1e9, AutoResponses: 1e9, BytesIn: 1e12}, ""},
		{"all duration", edgews.FreeDaily, edgews.Usage{Active: day}, ""},
		{"a nanosecond more", edgews.FreeDaily, edgews.Usage{Active: day + 1}, "duration: 13001 of 13000 GB-s"},
		{"what has no rate has no bound", ratio, edgews.Usage{HTTPRequests: 1e18, MessagesOut: 2}, ""},
		{"a plan of one's own", ratio, edgews.Usage{MessagesOut: 3}, "messages out: 3 of 2 messages"},
		{"negative", edgews.FreeDaily, edgews.Usage{HTTPRequests: -1, Active: -1}, ""},
		{"no plan", edgews.Plan{}, edgews.Usage{HTTPRequests: 1e18}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.plan.Allows(test.used)
			if test.excess == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, edgews.ErrQuota)
			assert.ErrorContains(t, err, test.excess)
			assert.ErrorContains(t, err, test.plan.Name)
		})
	}
}
