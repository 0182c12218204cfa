package edgews_test

import (
	"math"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
)

// The scenarios of the published examples, as Expectations.
var (
	officeHours = edgews.Expectation{Objects: 100, Sockets: 50, Open: 8 * time.Hour, Messages: 1}
	chatty      = edgews.Expectation{Objects: 100, Sockets: 1, Messages: 1, Every: time.Second}
	hibernating = edgews.Expectation{Objects: 100, Sockets: 100, Messages: 1, MessageTime: 10 * time.Millisecond, Hibernate: true}
)

func TestExpectedUsage(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name   string
		expect edgews.Expectation
		want   edgews.Usage
	}{
		{"nothing", edgews.Expectation{}, edgews.Usage{}},
		{"HTTP only", edgews.Expectation{HTTPRequests: 1_500_000, Active: 1_000_000 * s}, edgews.Usage{HTTPRequests: 1_500_000, Active: 1_000_000 * s}},
		{"office hours", officeHours, edgews.Usage{
			Connections: 150_000, MessagesIn: 72_000_000, Active: 86_400_000 * s, Connected: 4_320_000_000 * s,
		}},
		{"chatty", chatty, edgews.Usage{
			Connections: 100, MessagesIn: 259_200_000, Active: 259_200_000 * s, Connected: 259_200_000 * s,
		}},
		{"hibernating, with more connected time than there is", hibernating, edgews.Usage{
			Connections: 10_000, MessagesIn: 432_000_000, Active: 4_320_000 * s, Busy: 4_320_000 * s, Connected: math.MaxInt64,
		}},
		{
			"a room of fifty, one day",
			edgews.Expectation{
				Days: 1, Objects: 1, Sockets: 50, Open: 25 * time.Hour, Messages: 2, Every: time.Hour, AutoResponses: 120, Replies: 49,
				MessageSize: 100, MessageTime: time.Millisecond, Hibernate: true, Alarms: 24, AlarmTime: s, HTTPRequests: 10, RequestTime: 2 * s,
			},
			edgews.Usage{
				HTTPRequests: 10, Connections: 50, MessagesIn: 2400, MessagesOut: 2400 * 49, AutoResponses: 144_000, Alarms: 24,
				BytesIn: 240_000, BytesOut: 240_000 * 49, MinuteBytes: 240_000 * 50,
				Active: 2400*time.Millisecond + 44*s, Connected: 50 * 24 * time.Hour, Busy: 2400*time.Millisecond + 44*s,
			},
		},
		{
			"what runs besides sockets that pin their objects",
			edgews.Expectation{Days: 10, Objects: 2, Sockets: 1, Open: time.Hour, Messages: 60, MessageTime: s / 2, Alarms: 3, AlarmTime: s},
			edgews.Usage{
				Connections: 20, MessagesIn: 72_000, Alarms: 3, Active: 20*time.Hour + 3*s, Connected: 20 * time.Hour, Busy: 36_003 * s,
			},
		},
		{
			"no object is active for more than the whole time",
			edgews.Expectation{Days: 1, Objects: 3, Sockets: 100, Messages: 60, MessageTime: s, Hibernate: true},
			edgews.Usage{
				Connections: 300, MessagesIn: 300 * 86_400, Active: 3 * 24 * time.Hour, Connected: 300 * 24 * time.Hour, Busy: 300 * 86_400 * s,
			},
		},
		{
			"objects without sockets are active while a handler runs",
			edgews.Expectation{Objects: 5, HTTPRequests: 100, RequestTime: s},
			edgews.Usage{HTTPRequests: 100, Active: 100 * s, Busy: 100 * s},
		},
		{
			"plain handlers",
			edgews.Expectation{Days: 1, Sockets: 10, Open: time.Hour, Messages: 1, MessageTime: s, HTTPRequests: 5, RequestTime: s},
			edgews.Usage{HTTPRequests: 5, Connections: 10, MessagesIn: 600, Connected: 10 * time.Hour, Busy: 605 * s},
		},
		{
			"minutes: quiet ones, of which the last has only begun",
			edgews.Expectation{Days: 2, Sockets: 10, Open: 90 * time.Second, Messages: 1, Every: 90 * time.Second, MessageSize: 5, MinuteFloor: 1000},
			edgews.Usage{Connections: 20, MessagesIn: 20, BytesIn: 100, MinuteBytes: 20 * 2 * 1000, Connected: 30 * time.Minute},
		},
		{
			"minutes: busy ones",
			edgews.Expectation{Days: 2, Sockets: 10, Open: time.Minute, Messages: 3, Replies: 1, MessageSize: 500, MinuteFloor: 1000},
			edgews.Usage{
				Connections: 20, MessagesIn: 60, MessagesOut: 60, BytesIn: 30_000, BytesOut: 30_000, MinuteBytes: 60_000, Connected: 20 * time.Minute,
			},
		},
		{"negative", edgews.Expectation{
			Days: -1, Objects: -1, Sockets: -1, Open: -1, Messages: -1, AutoResponses: -1, Every: -1, Replies: -1, MessageSize: -1,
			MinuteFloor: -1, HTTPRequests: -1, Alarms: -1, MessageTime: -1, RequestTime: -1, AlarmTime: -1, Active: -1,
		}, edgews.Usage{}},
	} {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, test.expect.Usage()) })
	}
}

func TestEstimate(t *testing.T) {
	for _, test := range []struct {
		name   string
		plan   edgews.Plan
		expect edgews.Expectation
		total  string
	}{
		{"G4-2", edgews.DurableObjects, officeHours, "$142.95"},
		{"G4-3", edgews.DurableObjects, chatty, "$419.30"},
		{"G4-4", edgews.DurableObjects, hibernating, "$20.65"},
		{"G3-2", edgews.DurableObjects2024, officeHours, "$138.65"},
		{"G3-3", edgews.DurableObjects2024, chatty, "$416.51"},
		{"G3-4", edgews.DurableObjects2024, hibernating, "$10.00"},
	} {
		assert.Equal(t, test.total, test.plan.Estimate(test.expect).Total.String(), test.name)
		assert.Equal(t, test.plan.Bill(test.expect.Usage()), test.plan.Estimate(test.expect), test.name)
	}

	// What hibernation saves: the same sockets, accepted with Accept.
	awake := hibernating
	awake.Hibernate = false
	assert.Equal(t, "$420.65", edgews.DurableObjects.Estimate(awake).Total.String())

	// Ten thousand sockets are connected for 821 years in a month, which no Usage can hold.
	line := lineOf(t, edgews.ActiveConnection2021.Estimate(hibernating), "connected time")
	assert.Equal(t, int64(25_920_000_000), line.Quantity)
	assert.Equal(t, "$414.72", line.Cost.String())
	most := edgews.Expectation{Days: math.MaxInt64, Objects: math.MaxInt64, Sockets: math.MaxInt64, Messages: math.MaxInt64, Every: 1}
	assert.Equal(t, edgews.USD(math.MaxInt64), edgews.DurableObjects.Estimate(most).Total)
}
