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
