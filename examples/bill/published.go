package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// example is one that Cloudflare published with a price list.
type example struct {
	name, title string
	plan        edgews.Plan
	expect      edgews.Expectation
	published   string // the published sum
	note        string // the reason if it differs from the calculated one
}

const (
	million = 1_000_000
	handler = 10 * time.Millisecond
)

// The scenarios that were published repeatedly. The time of a handler is published only for those that hibernate. The others use the
// same time, which does not change their sums.
var (
	http = edgews.Expectation{Days: 30, HTTPRequests: 1.5 * million, Active: million * time.Second}

	officeHours = edgews.Expectation{Days: 30, Objects: 100, Sockets: 50, Open: 8 * time.Hour, Messages: 1, Every: time.Minute, MessageTime: handler}

	chatty = edgews.Expectation{Days: 30, Objects: 100, Sockets: 1, Messages: 1, Every: time.Second, MessageTime: handler}

	hibernating = edgews.Expectation{
		Days: 30, Objects: 100, Sockets: 100, Messages: 1, Every: time.Minute, MessageTime: handler, Hibernate: true,
	}

	halfTheMonth = edgews.Expectation{
		Days: 30, Objects: 100, Sockets: 100, Messages: 1, Every: time.Minute, MessageTime: handler, Active: 129.6 * million * time.Second,
	}
)

const (
	withoutConnections = " Its sum leaves out the requests that open the connections, which is less than a cent."
	withoutTooMany     = " Its sum leaves out the 150,000 requests that open the connections, which is two cents."
)

// examples are named by generation of the price list: G1 until 2023, G2 in early 2024, G3 from April 2024 and G4 from August
// 2026 for Durable Objects; W for Workers.
var examples = []example{
	{"G4-1", "HTTP requests, no sockets", edgews.DurableObjects, http, "$5.15", ""},
	{"G4-2", "sockets in office hours, without hibernation", edgews.DurableObjects, officeHours, "$142.95", ""},
	{"G4-3", "a message a second, without hibernation", edgews.DurableObjects, chatty, "$419.30", ""},
	{"G4-4", "ten thousand sockets, with hibernation", edgews.DurableObjects, hibernating, "$20.65", ""},
	{"G3-1", "HTTP requests, no sockets", edgews.DurableObjects2024, http, "$5.08", ""},
	{"G3-2", "sockets in office hours, without hibernation", edgews.DurableObjects2024, officeHours, "$138.65", ""},
	{"G3-3", "a message a second, without hibernation", edgews.DurableObjects2024, chatty, "$416.51", ""},
	{"G3-4", "ten thousand sockets, with hibernation", edgews.DurableObjects2024, hibernating, "$10.00", ""},
	{"G2-1", "HTTP requests, no sockets", edgews.DurableObjects2023, http, "$5.08", ""},
	{"G2-2", "sockets in office hours, without hibernation", edgews.DurableObjects2023, officeHours, "$148.89", withoutTooMany},
	{"G2-3", "a message a second, without hibernation", edgews.DurableObjects2023, chatty, "$453.45", withoutConnections},
	{"G2-4", "ten thousand sockets, with hibernation", edgews.DurableObjects2023, hibernating, "$71.56", withoutConnections},
	{"G1-1", "HTTP requests, no sockets", edgews.DurableObjects2023, http, "$5.08", ""},
	{"G1-2", "ten thousand sockets, active half the month", edgews.DurableObjects2023, halfTheMonth, "$272.01", withoutConnections},
	{"G1-3", "a message a second, without hibernation", edgews.DurableObjects2023, chatty, "$453.45", withoutConnections},

	{"W1", "15 million requests of 7 ms", edgews.WorkersStandard, requests(15*million, 7*time.Millisecond), "$8.00", ""},
	{"W2", "3 million requests of 7 ms, beside free ones", edgews.WorkersStandard, requests(3*million, 7*time.Millisecond), "$5.00", ""},
	{"W3", "a run every hour, of 3 minutes", edgews.WorkersStandard,
		edgews.Expectation{Days: 30, Alarms: 720, AlarmTime: 3 * time.Minute}, "$6.99", ""},
	{"W4", "100 million requests of 7 ms", edgews.WorkersStandard, requests(100*million, 7*time.Millisecond), "$45.40", ""},
	{"W5", "100 million requests", edgews.WorkersBundled, requests(100*million, 0), "$50.00", ""},
	{"W6", "100 million requests of 200 ms", edgews.WorkersUnbound, requests(100*million, 200*time.Millisecond), "$46.10", ""},
}

func requests(n int64, each time.Duration) edgews.Expectation {
	return edgews.Expectation{Days: 30, HTTPRequests: n, RequestTime: each}
}

func exampleOf(name string) (example, error) {
	var names []string
	for _, e := range examples {
		if strings.EqualFold(e.name, name) {
			return e, nil
		}
		names = append(names, e.name)
	}
	return example{}, fmt.Errorf("there is no example %q: use %s", name, strings.Join(names, ", "))
}
