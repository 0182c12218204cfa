package edgews_test

import (
	"fmt"
	"time"

	"github.com/edgews/edgews"
)

// A custom price list: connections by the hour, messages in both directions, and outgoing traffic.
func ExamplePlan() {
	plan := edgews.Plan{
		Name:          "Acme Chat",
		Base:          20 * edgews.Dollar,
		ConnectedTime: edgews.Rate{Included: 100 * 3600, Price: edgews.Cent, Per: 3600},
		Messages:      edgews.Rate{Included: 10_000, Price: 250 * edgews.Cent, Per: 1_000_000, RoundUp: 1000},
		BytesOut:      edgews.Rate{Price: 9 * edgews.Cent, Per: 1_000_000_000},
	}
	fmt.Println(plan.Bill(edgews.Usage{
		Connected:  450 * time.Hour,
		MessagesIn: 8_000, MessagesOut: 120_100,
		BytesOut: 24_000_000_000,
	}))
	// Output:
	// Acme Chat
	//
	// item                  quantity  included          billed  unit      price                cost
	// base fee                     1         0               1  period    $20.00             $20.00
	// connected time       1,620,000   360,000       1,260,000  s         $0.01 per 3,600     $3.50
	// messages               128,100    10,000         119,000  messages  $2.50 per million   $0.30
	// traffic out     24,000,000,000         0  24,000,000,000  bytes     $0.09 per billion   $2.16
	// total                                                                                  $25.96
}

// The price list of another vendor: WebSocket APIs of Amazon API Gateway, US East, as their pricing page printed it in 2026. Messages of both
// directions cost a dollar per million, counted in blocks of 32 KB; minutes of connections cost 25 cents per million. The lower price
// beyond a billion messages is left out. The example is that of the page: a thousand users are connected for twelve hours a day; each sends
// 100 messages and receives 500, of 3 KB. There it costs $23.40.
func ExamplePlan_anotherVendor() {
	plan := edgews.Plan{
		Name:          "Amazon API Gateway, WebSocket APIs",
		MessageUnit:   32 << 10,
		Messages:      edgews.Rate{Price: edgews.Dollar, Per: 1_000_000},
		ConnectedTime: edgews.Rate{Price: 25 * edgews.Cent, Per: 60 * 1_000_000}, // of seconds: a million minutes
	}
	expect := edgews.Expectation{
		Sockets: 1000, Open: 12 * time.Hour,
		Messages: 100, Every: 12 * time.Hour, Replies: 5, MessageSize: 3 << 10,
	}
	fmt.Println(plan.Estimate(expect))

	expect.MessageSize = 33 << 10 // is two messages
	fmt.Println("\nWith messages of 33 KB:", plan.Estimate(expect).Total)

	// A meter for this plan counts in the same units.
	meter := edgews.NewMeter(&edgews.MeterOptions{MessageUnit: plan.MessageUnit})
	fmt.Println("Used so far:", plan.Bill(meter.Usage()).Total)
	// Output:
	// Amazon API Gateway, WebSocket APIs
	//
	// item                 quantity  included         billed  unit           price                   cost
	// connected time  1,296,000,000         0  1,296,000,000  s              $0.25 per 60,000,000   $5.40
	// messages           18,000,000         0     18,000,000  message units  $1.00 per million     $18.00
	// total                                                                                        $23.40
	//
	// With messages of 33 KB: $41.40
	// Used so far: $0.00
}

// Storage by two lists: rows, and units of 4 KB.
func ExamplePlan_storage() {
	used := edgews.Usage{
		RowsRead: 900_000_000, ReadUnits: 1_200_000_000,
		RowsWritten: 60_000_000, WriteUnits: 90_000_000, Deletes: 2_000_000,
		StoredByteHours: 40_000_000_000 * 30 * 24, // 40 GB for a month
	}
	fmt.Println(edgews.DurableObjects.Bill(used))
	fmt.Println()
	fmt.Println(edgews.DurableObjectsKV.Bill(used).Total)
	// Output:
	// Durable Objects
	//
	// item             quantity        included      billed  unit       price                 cost
	// base fee                1               0           1  period     $5.00                $5.00
	// requests                0       1,000,000           0  requests   $0.15 per million    $0.00
	// duration                0         400,000           0  GB-s       $12.50 per million   $0.00
	// rows read     900,000,000  25,000,000,000           0  rows       $0.001 per million   $0.00
	// rows written   60,000,000      50,000,000  10,000,000  rows       $1.00 per million   $10.00
	// stored                 40               5          35  GB-months  $0.20                $7.00
	// total                                                                                 $22.00
	//
	// $342.60
}

// A published price list with another reading of one of its rules.
func ExamplePlan_changed() {
	used := edgews.Usage{MessagesIn: 40_000_000, AutoResponses: 160_000_000}

	plan := edgews.DurableObjects
	fmt.Println(plan.Bill(used).Total)

	plan.BillAutoResponses = true // in a copy: DurableObjects does not change
	fmt.Println(plan.Bill(used).Total)
	// Output:
	// $5.15
	// $6.35
}

// A hundred rooms of a hundred people, each of whom sends a message once a minute.
func ExamplePlan_Estimate() {
	expect := edgews.Expectation{Objects: 100, Sockets: 100, Messages: 1, MessageTime: 10 * time.Millisecond}
	fmt.Println("Accept:         ", edgews.DurableObjects.Estimate(expect).Total)
	expect.Hibernate = true
	fmt.Println("AcceptWebSocket:", edgews.DurableObjects.Estimate(expect).Total)
	// Output:
	// Accept:          $420.65
	// AcceptWebSocket: $20.65
}

// A plan as a quota: the free plan.
func ExamplePlan_Allows() {
	today := edgews.Usage{Connections: 30_000, MessagesIn: 1_400_000}
	one := edgews.Usage{Connections: 1}
	fmt.Println(edgews.FreeDaily.Allows(today))
	fmt.Println(edgews.FreeDaily.Allows(today.Add(one)))
	// Output:
	// <nil>
	// edgews: quota exceeded: requests: 100001 of 100000 requests, plan "Durable Objects, free, a day"
}

// The same hour of an open socket, charged in three ways.
func ExampleSpan() {
	used := edgews.Usage{Active: 10 * time.Second, Busy: time.Second, Connected: time.Hour}
	for _, span := range []edgews.Span{edgews.SpanActive, edgews.SpanBusy, edgews.SpanOpen} {
		plan := edgews.Plan{Name: "by the second", DurationOf: span, Memory: 1000, Duration: edgews.Rate{Price: edgews.Cent, Per: 1}}
		fmt.Println(span, plan.Bill(used).Total)
	}
	// Output:
	// active $0.10
	// busy $0.01
	// open $36.01
}
