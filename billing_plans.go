package edgews

// The price lists of Durable Objects. A request is an HTTP request, a connection, an alarm, or MessagesPerRequest incoming
// messages; outgoing messages and protocol pings are free. Duration is the time for which objects are active, at 128 MB
// each.
//
// Storage is charged by one of two lists, of which an object has one: by rows, if it is an SQLite database, and by units of 4 KB and
// deleted keys, if it is a key-value backend. Rows are charged since January 2026. DurableObjects has the list by rows,
// DurableObjectsKV and the older ones, from the time before, have the other.
//
// Messages that an auto-response answers are free. The published text says so for duration and is not clear about requests:
// set BillAutoResponses for the other reading.
//
// Source: Cloudflare's Durable Objects pricing page, in the versions of these years.
var (
	// DurableObjects is the price list since August 2026, when Cloudflare began to round overage up to whole millions.
	DurableObjects = Plan{
		Name:               "Durable Objects",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		MessagesPerRequest: 20,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		Memory:             128,
		RowsRead:           Rate{Included: 25_000_000_000, Price: Cent / 10, Per: 1_000_000},
		RowsWritten:        Rate{Included: 50_000_000, Price: Dollar, Per: 1_000_000},
		Stored:             Rate{Included: 5, Price: 20 * Cent},
	}

	// DurableObjectsKV is the price list of DurableObjects for objects with a key-value backend.
	DurableObjectsKV = Plan{
		Name:               "Durable Objects with a key-value backend",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		MessagesPerRequest: 20,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		Memory:             128,
		ReadUnits:          Rate{Included: 1_000_000, Price: 20 * Cent, Per: 1_000_000},
		WriteUnits:         Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Deletes:            Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Stored:             Rate{Included: 1, Price: 20 * Cent},
	}

	// DurableObjects2024 is the price list of April 2024 to July 2026: 20 messages are one request, and overage is charged in
	// proportion.
	DurableObjects2024 = Plan{
		Name:               "Durable Objects, April 2024 to July 2026",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
		MessagesPerRequest: 20,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
		Memory:             128,
		ReadUnits:          Rate{Included: 1_000_000, Price: 20 * Cent, Per: 1_000_000},
		WriteUnits:         Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Deletes:            Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Stored:             Rate{Included: 1, Price: 20 * Cent},
	}

	// DurableObjects2023 is the price list until March 2024: every message is a request. The totals of its published examples
	// leave out the requests that open the connections, although the text beside them charges those. Bill includes them.
	DurableObjects2023 = Plan{
		Name:               "Durable Objects, until March 2024",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
		MessagesPerRequest: 1,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
		Memory:             128,
		ReadUnits:          Rate{Included: 1_000_000, Price: 20 * Cent, Per: 1_000_000},
		WriteUnits:         Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Deletes:            Rate{Included: 1_000_000, Price: Dollar, Per: 1_000_000},
		Stored:             Rate{Included: 1, Price: 20 * Cent},
	}
)

// The price lists of Workers, for handlers without objects. An HTTP request, a connection and a scheduled run (here an
// alarm) are one request each; messages are free.
//
// Source: Cloudflare's Workers pricing page.
var (
	// WorkersStandard charges requests and CPU time.
	//
	// Deviation: Usage.Busy stands for CPU time, because Go does not measure the CPU time of a handler. A handler that
	// waits is charged for waiting, which Workers Standard does not do.
	WorkersStandard = Plan{
		Name:     "Workers Standard",
		Base:     5 * Dollar,
		Requests: Rate{Included: 10_000_000, Price: 30 * Cent, Per: 1_000_000},
		CPU:      Rate{Included: 30_000_000, Price: 2 * Cent, Per: 1_000_000},
	}

	// WorkersBundled charged only requests, until March 2024.
	WorkersBundled = Plan{
		Name:     "Workers Bundled, until March 2024",
		Base:     5 * Dollar,
		Requests: Rate{Included: 10_000_000, Price: 50 * Cent, Per: 1_000_000},
	}

	// WorkersUnbound charged requests and wall time, until March 2024: of handlers, and of sockets for as long as they
	// were open. Its GB has 1024 MB, so 128 MB are 0.125 GB here, but 0.128 GB in Durable Objects. Where eight times the CPU
	// time was more than the wall time, Cloudflare charged that; edgews does not measure it.
	WorkersUnbound = Plan{
		Name:       "Workers Unbound, until March 2024",
		Base:       5 * Dollar,
		Requests:   Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
		Duration:   Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
		DurationOf: SpanOpen,
		Memory:     125,
	}
)

// ActiveConnection2021 is a proposal for Durable Objects of April 2021 that never shipped: duration only while a handler
// runs, and for open connections a much lower price per second. Opening a connection is one request, and messages are free.
// Hibernation came instead.
//
// No price per connection-second was ever published. The one here is a hundredth of the price of a busy second; set
// ConnectedTime.Price for another one. Connections are also charged while a handler runs.
//
// Source: Cloudflare's blog of 2021-04-14.
var ActiveConnection2021 = Plan{
	Name:          "Active connections, proposed in 2021",
	Base:          5 * Dollar,
	Requests:      Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
	Duration:      Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
	DurationOf:    SpanBusy,
	Memory:        128,
	ConnectedTime: Rate{Price: Dollar * 16 / 1000, Per: 1_000_000},
}

// FreeDaily is what Durable Objects may use in a day on the free plan, for [Meter.SetQuota] and [Plan.Allows]. It has no
// prices. Days begin at 00:00 UTC. The free plan's bound of 5 GB that may be stored at any time is not in it, because it is not
// one of a day.
//
// Source: Cloudflare's Durable Objects pricing page, 2026.
var FreeDaily = Plan{
	Name:               "Durable Objects, free, a day",
	Requests:           Rate{Included: 100_000},
	MessagesPerRequest: 20,
	Duration:           Rate{Included: 13_000},
	Memory:             128,
	RowsRead:           Rate{Included: 5_000_000},
	RowsWritten:        Rate{Included: 100_000},
}
