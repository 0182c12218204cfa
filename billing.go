package edgews

import (
	"cmp"
	"fmt"
	"iter"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// How usage becomes a bill:
//
//	usageCounter  billing_count.go     counts what one connection or one object uses, under the mutex of that socket or object
//	Meter         billing_meter.go     adds up what its counters and its tenants have counted
//	Record        billing_record.go    tells the program each fact that counts, once
//	ledger        billing_ledger.go    keeps the usage in a Store, over all runs of the program
//	quota         billing_quota.go     refuses and closes connections when a daily Plan is used up
//	Usage         billing.go           is the result, as plain data
//	Plan          billing_charge.go    is a price list, and turns a Usage into a Bill; the published ones are in billing_plans.go
//	Expectation   billing_estimate.go  is the load that a service expects, for Plan.Estimate
//	Explanation   billing_explain.go   says why an object is billed at this moment
//
// "To count" means to add to a usageCounter, "to book" to move what a counter has into its meter. Plan, Usage, Bill, USD and
// Expectation know neither meters nor sockets nor objects.
//
// Lock order: the mutex of a socket or an object, which guards its counter > quota.mu > Meter.mu > accounting.mu. At most one
// quota.mu and one Meter.mu are held at a time. Under quota.mu the mutexes of other counters are only tried. The ledger's
// semaphore is never acquired under a mutex; Meter.mu and accounting.mu may be locked while it is held.

// Meter counts what sockets and objects use, in the units in which price lists charge: see [Usage]. Set it as Options.Meter for
// the sockets that a handler upgrades, or in the Options of a namespace for everything that its objects do. Each
// [Meter.Tenant] counts for one customer, and in its parent as well.
//
// What is counted, and what is free, follows the published rules for Durable Objects:
//
//   - A connection counts once, when a peer has opened it (Upgrade, Respond), and its time runs from then until the peer's
//     Close or its loss. A socket from Dial counts as traffic if its own options have a meter, never as a connection.
//     The end of a pair counts, its messages only, once an object with a meter has accepted it.
//   - Messages count as the program sees them: whole and uncompressed. A sent message counts when Send has taken it, and once
//     for each socket that a Broadcast reaches; while it may still be dropped or replaced, it does not count yet (see
//     Usage.Replaced). A message for an object counts when the object gets it. Pings and pongs of the
//     protocol are free. Auto-responses have a counter of their own: they count neither as messages nor in bytes.
//   - An object is active from its first event until nothing pins it any more ([ObjectActive]): events, WaitUntil functions,
//     storage calls, and sockets that it accepted with Accept, dialed or holds ([State.Hold]). Overlapping events, and sockets of
//     the same object, count once. Time in which an object could hibernate is free, even before it does.
//   - Busy is the time inside listeners, and inside the handlers and the constructor of objects. What a program does
//     between two calls of Receive is not measured.
//   - Storage counts when it is used: reads also if they find nothing, or if the Update that makes them fails; writes and
//     deletes when they are committed. What edgews itself stores, and an alarm that goes off, is free. See [Usage].
//
// All methods may be called from any goroutine, and on a nil *Meter, which counts nothing. A meter has no goroutine and
// needs no closing; with a ledger, call Flush before the program ends.
//
// Counting takes no lock that connections share, and allocates nothing. A socket without a meter pays one comparison for
// it; a socket with one pays at most two readings of the clock for each message that goes to a listener.
type Meter struct {
	accounting   *accounting           // one for a meter and all its tenants
	parent       *Meter                // nil: not a tenant
	tenant       []string              // the names of the tenants, the outermost first; nil: not a tenant
	quota        atomic.Pointer[quota] // nil: none
	openCounters atomic.Int64          // the length of counters, summed over the meter and its tenants

	mu sync.Mutex

	// Guarded by mu. Without the tenants' share, unless it says otherwise.
	booked         Usage // since NewMeter
	withTenants    Usage // booked, summed over the meter and its tenants
	earlier        Usage // what the ledger has besides saved: from earlier runs and other processes
	saved          Usage // the part of booked that the ledger has
	day            dayStart
	savedDay       dayStart        // the day that the ledger has
	reserved       Usage           // admitted by quotas, and not booked yet; with the tenants' share
	counters       []*usageCounter // those that have, or will have, something to be booked
	tenants        map[string]*Meter
	tenantsInOrder []*Meter // oldest first; only appended to
}

// MeterOptions configures a meter. A nil pointer means the zero value.
type MeterOptions struct {
	// Record, if set, receives each fact that counts, once; see [Record]. It is called by one goroutine at a time, in the
	// order of Record.Number, with no lock held. It should return quickly: records that wait for it stay in memory. It may
	// use the meter, except for Flush. A panic in it is logged.
	Record func(Record)

	// MinuteFloor is the least number of bytes that each minute of a connection counts in Usage.MinuteBytes; 0: minutes are
	// not counted. A connection's minutes begin with the connection, and each counts as soon as it has begun. Counting them
	// costs one reading of the clock for each message.
	MinuteFloor int64

	// MessageUnit is the size in bytes of a block in which messages count in Usage.MessageUnitsIn and MessageUnitsOut; 0 or
	// less: they are not counted. A meter counts units of one size, because the sums of messages and bytes do not tell how many
	// units there were. For price lists with different units use a meter for each, or do your own accounting with Record.
	MessageUnit int64

	// Interval is how often an open connection or an active object makes a record, and how often the ledger is written;
	// default 1 minute, also in place of a negative value.
	Interval time.Duration

	// Store, if set, keeps a ledger of what the meter and its tenants have used, over all runs of the program: see
	// [Meter.Total]. The ledger is written after each Interval in which something was used, and by Flush, all tenants in one
	// commit. A program that is killed loses what was used since the last commit; nothing is ever counted twice. A commit that
	// fails is logged, and the next one includes what it would have written. The Store may be that of a namespace. The meter
	// does not close it.
	Store Store

	// Ledger is the name of the ledger in Store; default "meter". Each ledger belongs to one meter at a time. A program may
	// start while its predecessor still runs, as long as the two do not write at the same moment: then one may overwrite the
	// other, and what that one has used meanwhile is missing.
	Ledger string

	// MaxTenants bounds the number of tenants that the meter remembers, tenants of tenants included, since each takes about
	// 1 KB for as long as the meter lives; default 100,000; negative: no bound. Beyond it all new tenants share one,
	// [OverflowTenant], and the Logger is warned once. Tenants that the ledger names are never refused. Take a tenant's name
	// from the authenticated user, not from what a client may choose.
	MaxTenants int

	// Logger receives warnings and errors; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultInterval   = time.Minute
	defaultMaxTenants = 100_000
)

// NewMeter returns a meter that has counted nothing.
func NewMeter(opts *MeterOptions) *Meter {
	a := &accounting{startDay: today()}
	if opts != nil {
		a.opts = *opts
	}
	a.opts.Interval = max(a.opts.Interval, 0)
	setDefault(&a.opts.Interval, defaultInterval)
	setDefault(&a.opts.Ledger, "meter")
	setDefault(&a.opts.MaxTenants, defaultMaxTenants)
	a.countsMore = a.opts.MessageUnit > 0 || a.opts.MinuteFloor > 0
	if a.opts.Store != nil {
		a.ledger = newLedger(a)
	}
	a.root = &Meter{accounting: a}
	return a.root
}

// OverflowTenant is the name of the tenant in which a meter counts what belongs to tenants beyond MeterOptions.MaxTenants. Do
// not give it to a customer.
const OverflowTenant = "(overflow)"

// Tenant returns the meter of one customer. The first call for a name creates it; later calls return the same one. What it
// counts also counts in m. Tenants may have tenants. The tenant without a name is m itself.
//
// Once there are MeterOptions.MaxTenants tenants, every new name means the tenant [OverflowTenant] of m: those names share
// one usage, and one quota if it has one, and it has no tenants of its own.
func (m *Meter) Tenant(name string) *Meter {
	if m == nil || name == "" || m.isOverflow() {
		return m
	}
	if t := m.tenantNamed(name, m.accounting.opts.MaxTenants); t != nil {
		return t
	}
	m.accounting.warnOfTenants(append(slices.Clip(m.tenant), name))
	return m.tenantNamed(OverflowTenant, -1)
}

// Tenants returns an iterator over the tenants, ordered by name, and the usage of each, with that of its own tenants.
func (m *Meter) Tenants() iter.Seq2[string, Usage] {
	return func(yield func(string, Usage) bool) {
		if m == nil {
			return
		}
		byName := slices.SortedFunc(slices.Values(m.tenantList()), func(a, b *Meter) int { return cmp.Compare(a.name(), b.name()) })
		for _, t := range byName {
			if !yield(t.name(), t.Usage()) {
				return
			}
		}
	}
}

// Usage returns what m and its tenants have used since NewMeter. Open connections and active intervals count up to now; the
// time of a connection shows once its socket is accepted, and then from its beginning. Counting goes on meanwhile: the
// result is exact for everything that was over when Usage was called.
//
// The usage is the sum of the records: Usage makes records for what is still going on, and Record has received them when
// Usage returns, unless another goroutine was calling Record at that moment, or Usage is called by Record. Then the last
// records follow; see Flush.
func (m *Meter) Usage() Usage {
	if m == nil {
		return Usage{}
	}
	claimed := m.accounting.claimDelivery()
	m.bookAll(claimed)
	if claimed {
		m.accounting.deliverRecords()
	}
	return m.bookedUsage()
}

// Usage is what has been used, in the units that price lists count. It is plain data: the difference of two readings of
// a meter is what was used between them.
//
// Sums wrap around as integers do. A Duration holds 292 years, which ten thousand sockets reach in eleven days. The
// difference of two readings is still right as long as the difference itself fits. To bill a month of more than
// three thousand sockets that are always open, read the meter every day and give the differences to [Plan.BillSum]: one
// Usage for the whole month would have wrapped around, and the bill would be too low.
type Usage struct {
	HTTPRequests  int64 // requests to objects that did not become a socket
	Connections   int64 // sockets that were opened by a peer
	MessagesIn    int64 // data messages received, other than those in AutoResponses
	MessagesOut   int64 // data messages sent, other than answers in AutoResponses
	AutoResponses int64 // messages that were answered without waking an object
	Alarms        int64 // runs of an alarm handler

	BytesIn, BytesOut int64 // payload bytes of data messages, uncompressed

	// DroppedNewest, DroppedOldest and Replaced are messages that readers were too slow for: dropped by [OverflowDrop], dropped by
	// [OverflowDropOldest], and replaced by a later [Socket.SendLatest] of the same key. They have not been sent, so they are not in
	// MessagesOut and BytesOut, and no plan charges for them. Every message that Send or SendLatest has taken counts either here or in
	// MessagesOut, at the latest when its socket ends. What is lost because the socket ends counts as sent.
	DroppedNewest, DroppedOldest, Replaced int64

	// MinuteBytes is summed over the minutes of each connection: the greater of the payload bytes of that minute, in and
	// out, and [MeterOptions.MinuteFloor]. It is for price lists that charge every minute of a connection for bandwidth or
	// for time, whichever is more.
	MinuteBytes int64

	Active    time.Duration // per object the union of the intervals in which it was active, summed over objects
	Connected time.Duration // summed over connections
	Busy      time.Duration // time spent inside handlers

	// MessageUnitsIn and MessageUnitsOut are the messages in blocks of [MeterOptions.MessageUnit] bytes: each message counts for
	// one block at least, and for one more for each block that it goes beyond. They are for price lists such as one that counts
	// 33 KB as two messages of 32 KB. A message that is sent or received in pieces counts when it is complete.
	MessageUnitsIn, MessageUnitsOut int64

	// RowsRead and RowsWritten count the entries of storage, whatever their size. Read are the keys of a Get or GetMany, whether or
	// not there is such a key, and the entries that a loop over a Scan takes; one at least. Written are the entries that a commit
	// puts and the keys that it deletes, whether or not they exist, and one for an alarm that it sets. To ask for an alarm, or to delete
	// it, is free.
	RowsRead, RowsWritten int64

	// ReadUnits and WriteUnits count the same in blocks of 4 KB, which are 4,096 bytes here. A Get counts the bytes of its value, the
	// keys of a GetMany each on its own those of key and value, and a Scan those of all keys and values together that the loop takes, of
	// the keys alone with KeysOnly; each of these is one unit at least. An entry that a commit puts counts the bytes of key and value,
	// and an alarm that it sets one unit.
	ReadUnits, WriteUnits int64

	// Deletes counts the keys that commits delete, whether or not they exist, and the entries that a DeleteAll removes; one at least.
	// They are among RowsWritten, too.
	Deletes int64

	// StoredByteHours is the bytes of the keys and values that objects store, times the hours for which they store them. It does not
	// include what engines add, what edgews stores itself, and alarms. A GB-month is 720 billion byte-hours, so the sum has room for
	// 12,800 terabytes in a month.
	//
	// It counts when an object commits something that changes its size, for the time since it last did, across hibernation and
	// restarts. Other commits, and the end of a use of the storage, count it too if it has not been counted for an hour; the latter takes
	// a commit of its own. So what is stored now, and was not used since, is missing until it is used again; nothing is counted twice. If
	// the process is killed, what it has counted and its ledger has not written is lost, which may be the time of long storage.
	// A fraction of a byte-hour is carried over to the next time. The time is that of the system's clock.
	//
	// What an object has stored without a meter counts from its next commit on, which reads all of it once to know its size. What it
	// writes without a meter after it has had one is not noticed before it has removed everything. With a meter each commit reads the
	// values that it replaces or deletes.
	StoredByteHours int64
}

// Add returns the sum of u and v, field by field.
func (u Usage) Add(v Usage) Usage { return u.combine(v, 1) }

// Sub returns u minus v, field by field.
func (u Usage) Sub(v Usage) Usage { return u.combine(v, -1) }

func (u Usage) combine(v Usage, sign int64) Usage {
	u.HTTPRequests += sign * v.HTTPRequests
	u.Connections += sign * v.Connections
	u.MessagesIn += sign * v.MessagesIn
	u.MessagesOut += sign * v.MessagesOut
	u.AutoResponses += sign * v.AutoResponses
	u.Alarms += sign * v.Alarms
	u.BytesIn += sign * v.BytesIn
	u.BytesOut += sign * v.BytesOut
	u.DroppedNewest += sign * v.DroppedNewest
	u.DroppedOldest += sign * v.DroppedOldest
	u.Replaced += sign * v.Replaced
	u.MinuteBytes += sign * v.MinuteBytes
	u.Active += time.Duration(sign) * v.Active
	u.Connected += time.Duration(sign) * v.Connected
	u.Busy += time.Duration(sign) * v.Busy
	u.MessageUnitsIn += sign * v.MessageUnitsIn
	u.MessageUnitsOut += sign * v.MessageUnitsOut
	u.RowsRead += sign * v.RowsRead
	u.RowsWritten += sign * v.RowsWritten
	u.ReadUnits += sign * v.ReadUnits
	u.WriteUnits += sign * v.WriteUnits
	u.Deletes += sign * v.Deletes
	u.StoredByteHours += sign * v.StoredByteHours
	return u
}

// Plan is a price list: plain data, without pointers. The published ones, such as [DurableObjects], are variables: copy
// one and change the copy, or write your own. All prices and included amounts are for one billing period, which is a month
// in the published lists.
//
// A rate that is zero is not charged and has no line in a bill. An item of storage has no line either as long as nothing of it was
// used, so that the bill of a service without storage has none of them.
//
// A plan can be written as JSON, with amounts such as "0.15"; see [USD].
type Plan struct {
	Name string `json:"name"`
	Base USD    `json:"base,omitzero"` // charged once, independent of use

	// Requests is charged for HTTP requests, connections, alarms, and incoming messages in proportion.
	Requests           Rate  `json:"requests,omitzero"`
	MessagesPerRequest int64 `json:"messages_per_request,omitzero"` // this many incoming messages are one request; 0: they are free
	BillAutoResponses  bool  `json:"bill_auto_responses,omitzero"`  // each auto-response counts as one message in and one message out

	// MessageUnit is the size in bytes of a block in which the plan counts messages: wherever it charges messages, it charges the
	// units of Usage.MessageUnitsIn and MessageUnitsOut instead. 0: a message is a message, whatever its size. The usage has to come
	// from a meter with the same [MeterOptions.MessageUnit], or from an [Expectation]. If it has fewer units than its messages and
	// bytes take in any case, such as none at all, the plan charges those.
	MessageUnit int64 `json:"message_unit,omitzero"`

	// Duration is charged for GB-seconds: Memory times the time that DurationOf selects.
	Duration   Rate  `json:"duration,omitzero"`
	DurationOf Span  `json:"duration_of,omitzero"`
	Memory     int64 `json:"memory,omitzero"` // MB, 1000 of which are a GB

	CPU           Rate `json:"cpu,omitzero"`            // unit: a millisecond of Usage.Busy
	ConnectedTime Rate `json:"connected_time,omitzero"` // unit: a second of Usage.Connected
	Connections   Rate `json:"connections,omitzero"`    // unit: a connection, of Usage.Connections
	Messages      Rate `json:"messages,omitzero"`       // unit: a message, of Usage.MessagesIn and MessagesOut together
	MessagesIn    Rate `json:"messages_in,omitzero"`    // unit: a message, of Usage.MessagesIn
	MessagesOut   Rate `json:"messages_out,omitzero"`   // unit: a message, of Usage.MessagesOut
	Bytes         Rate `json:"bytes,omitzero"`          // unit: a byte, of Usage.BytesIn and BytesOut together
	BytesIn       Rate `json:"bytes_in,omitzero"`       // unit: a byte, of Usage.BytesIn
	BytesOut      Rate `json:"bytes_out,omitzero"`      // unit: a byte, of Usage.BytesOut
	MinuteBytes   Rate `json:"minute_bytes,omitzero"`   // unit: a byte, of Usage.MinuteBytes: bandwidth or time, whichever is more

	// The storage of objects. Price lists charge either rows or units of 4 KB.
	RowsRead    Rate `json:"rows_read,omitzero"`    // unit: a row, of Usage.RowsRead
	RowsWritten Rate `json:"rows_written,omitzero"` // unit: a row, of Usage.RowsWritten
	ReadUnits   Rate `json:"read_units,omitzero"`   // unit: 4 KB, of Usage.ReadUnits
	WriteUnits  Rate `json:"write_units,omitzero"`  // unit: 4 KB, of Usage.WriteUnits
	Deletes     Rate `json:"deletes,omitzero"`      // unit: a key, of Usage.Deletes
	Stored      Rate `json:"stored,omitzero"`       // unit: a GB-month, which is a billion bytes for 30 days, of Usage.StoredByteHours
}

// Rate is what a plan charges for one item.
type Rate struct {
	Included int64 `json:"included,omitzero"` // units without extra charge
	Price    USD   `json:"price,omitzero"`    // of Per units; a discount if negative
	Per      int64 `json:"per,omitzero"`      // units; 0: one

	// RoundUp is a block of units that is charged as a whole once it has begun: with 1,000,000 the units beyond Included are
	// rounded up to whole millions. 0: exactly what was used is charged, to the fraction of a unit.
	RoundUp int64 `json:"round_up,omitzero"`
}

// Span says which time a plan charges as duration.
type Span uint8

const (
	SpanActive Span = iota // Usage.Active: objects while they are active
	SpanBusy               // Usage.Busy: while a handler runs

	// SpanOpen is the sum of Usage.Connected and Usage.Busy: a socket is charged for as long as it is open, whether or not it
	// is used. The sum is taken to be at least Usage.Active. A handler that runs for an open socket counts twice, because Usage
	// does not tell it from other handlers.
	SpanOpen
)

var spanNames = [...]string{"active", "busy", "open"}

// String returns "active", "busy" or "open".
func (s Span) String() string {
	if int(s) < len(spanNames) {
		return spanNames[s]
	}
	return fmt.Sprintf("Span(%d)", uint8(s))
}

// MarshalText returns the name.
func (s Span) MarshalText() ([]byte, error) {
	if int(s) >= len(spanNames) {
		return nil, fmt.Errorf("edgews: there is no %v", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a name.
func (s *Span) UnmarshalText(text []byte) error {
	for i, name := range spanNames {
		if name == string(text) {
			*s = Span(i)
			return nil
		}
	}
	return fmt.Errorf("edgews: there is no span %q: use active, busy or open", text)
}

// Bill returns what u costs, where u is everything that was used in one billing period.
//
// The arithmetic is exact up to the cost of each line, which is rounded to the nearest billionth of a dollar. Nothing overflows:
// a cost or a quantity beyond the range of its type becomes the greatest or the least value of that type. A negative figure of u,
// a negative included amount and a negative ratio count as zero.
func (p Plan) Bill(u Usage) Bill { return p.bill(usageCountsOf(u)) }

// BillSum is Bill for the sum of the parts, such as the days of a month. The sum may exceed the range of a Usage.
func (p Plan) BillSum(parts ...Usage) Bill { return p.bill(usageCountsOf(parts...)) }

func (p Plan) bill(n *usageCounts) Bill {
	b := Bill{Plan: p.Name, Lines: []Line{}}
	if p.Base != 0 {
		b.Lines = append(b.Lines, Line{Item: "base fee", Quantity: 1, Billed: 1, Unit: "period", Price: p.Base, Per: 1, Cost: p.Base})
	}
	for _, c := range p.charges(n) {
		b.Lines = append(b.Lines, c.line())
	}
	total := new(big.Int)
	for _, line := range b.Lines {
		total.Add(total, big.NewInt(int64(line.Cost)))
	}
	b.Total = USD(clampInt64(total))
	return b
}

// Allows uses the plan as a quota. It returns nil as long as u, everything that was used in the period, is within what the
// plan includes. Otherwise it returns an error that wraps [ErrQuota] and names the first item that is not. Items without a
// rate have no bound. To ask whether one more connection may be opened, pass u.Add(Usage{Connections: 1}).
func (p Plan) Allows(u Usage) error {
	for _, c := range p.charges(usageCountsOf(u)) {
		if c.over().Sign() > 0 {
			line := c.line()
			return fmt.Errorf("%w: %s: %d of %d %s, plan %q", ErrQuota, line.Item, line.Quantity, line.Included, line.Unit, p.Name)
		}
	}
	return nil
}

// Bill is what a [Plan] charges for a [Usage]. Its total is the sum of its lines.
//
// In JSON its fields have lower-case names, and amounts are exact: strings such as "0.4125".
type Bill struct {
	Plan  string `json:"plan"`
	Lines []Line `json:"lines"`
	Total USD    `json:"total"`
}

// Line is one item of a bill. Quantities are whole units; a unit that has begun counts as one. Cost may be for a fraction of
// a unit, if the plan charges fractions.
type Line struct {
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"` // used
	Included int64  `json:"included"` // in the plan
	Billed   int64  `json:"billed"`   // used beyond Included, after the plan's rounding
	Unit     string `json:"unit"`
	Price    USD    `json:"price"` // of Per units
	Per      int64  `json:"per"`
	Cost     USD    `json:"cost"`
}
