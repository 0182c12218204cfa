package edgews

// The price lists of Durable Objects. A request is an HTTP request, a connection, an alarm, or MessagesPerRequest incoming
// messages; outgoing messages and protocol pings are free. Duration is the time for which objects are active, at 128 MB
// each. Storage is not in them.
//
// Messages that an auto-response answers are free. The published text says so of duration and is not clear about requests:
// set BillAutoResponses for the other reading.
//
// Source: Cloudflare's Durable Objects pricing page, in the versions of the years.
var (
	// DurableObjects is the price list since August 2026, when overage began to be rounded up to whole millions.
	DurableObjects = Plan{
		Name:               "Durable Objects",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		MessagesPerRequest: 20,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000, RoundUp: 1_000_000},
		Memory:             128,
	}

	// DurableObjects2024 is the price list of April 2024 to July 2026: 20 messages are a request, and overage is charged in
	// proportion.
	DurableObjects2024 = Plan{
		Name:               "Durable Objects, April 2024 to July 2026",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
		MessagesPerRequest: 20,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
		Memory:             128,
	}

	// DurableObjects2023 is the price list until March 2024: every message is a request. The sums of its published examples
	// leave out the requests that open the connections, though the text beside them charges those. Bill does not.
	DurableObjects2023 = Plan{
		Name:               "Durable Objects, until March 2024",
		Base:               5 * Dollar,
		Requests:           Rate{Included: 1_000_000, Price: 15 * Cent, Per: 1_000_000},
		MessagesPerRequest: 1,
		Duration:           Rate{Included: 400_000, Price: 1250 * Cent, Per: 1_000_000},
		Memory:             128,
	}
)

// The price lists of Workers, for what runs without objects. An HTTP request, a connection and a scheduled run (here: an
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

	// WorkersBundled charged requests only, until March 2024.
	WorkersBundled = Plan{
		Name:     "Workers Bundled, until March 2024",
		Base:     5 * Dollar,
		Requests: Rate{Included: 10_000_000, Price: 50 * Cent, Per: 1_000_000},
	}

	// WorkersUnbound charged requests and wall time, until March 2024: of handlers, and of sockets for as long as they
	// were open. Its GB has 1024 MB, so 128 MB are 0.125 GB here, and 0.128 GB in Durable Objects. Eight times the CPU time
	// was charged where that was more; it is not measured here.
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
// No price per connection-second was ever named. The one here is a hundredth of what a busy second costs; set
// ConnectedTime.Price for another one. Connections are charged while a handler runs, too.
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
