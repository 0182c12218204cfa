package edgews

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Fact says what a Record is about.
type Fact uint8

const (
	FactOpened  Fact = iota + 1 // a peer has opened a connection
	FactTraffic                 // what a connection that goes on has used since its last record
	FactClosed                  // what a connection has used since its last record, after which it ended
	FactRequest                 // an object has answered a request that did not become a socket
	FactAlarm                   // an object's alarm handler has run
	FactActive                  // an interval in which an object was active, or the part of it since its last record
)

// String returns the fact in a word, such as "opened".
func (f Fact) String() string {
	switch f {
	case FactOpened:
		return "opened"
	case FactTraffic:
		return "traffic"
	case FactClosed:
		return "closed"
	case FactRequest:
		return "request"
	case FactAlarm:
		return "alarm"
	case FactActive:
		return "active"
	}
	return fmt.Sprintf("Fact(%d)", uint8(f))
}

// Record is a fact that counts, for MeterOptions.Record: with the records of a meter a program keeps books of its own. Each
// fact is in exactly one record, and the sum of all records is the meter's usage, at any time.
//
// A connection makes a record when it is opened and when it ends, an object one for each request, alarm and active
// interval. What goes on makes one for each MeterOptions.Interval, and whenever somebody reads the meter. What is sent after
// the end, by a socket that is half open, is traffic once more.
type Record struct {
	Number     uint64    // counts the records of a meter and its tenants, from 1
	Fact       Fact      // what it is about
	Tenant     []string  // who pays, the outermost first; nobody in particular if empty. Not to be changed.
	Connection uint64    // counts the connections of a meter and its tenants, from 1; 0: it is about none
	Namespace  string    // of Object
	Object     ID        // the zero ID if there is none
	From, To   time.Time // when it was used
	Usage      Usage     // what was used
}

// books are what a meter and its tenants have in common.
type accounting struct {
	root              *Meter
	opts              MeterOptions
	startDay          time.Time // the day
	ledger            *ledger   // nil: none
	quotaCount        atomic.Int32
	leaseGeneration   atomic.Uint32 // of leases: those of an earlier one are over
	lastConnection    atomic.Uint64
	tenantCount       atomic.Int64
	tenantLimitLogged atomic.Bool // there were too many, and the log has said so
	flushScheduled    atomic.Bool // there will be a round
	flushing          atomic.Bool // there is one

	mu sync.Mutex // a leaf

	// Guarded by mu.
	lastNumber  uint64 // the number of the last record
	undelivered fifo[Record]
	delivering  bool   // a goroutine tells Record, or is about to
	delivered   signal // nothing is untold
}

// enter numbers r and sees to it that Record is told. The mutexes of meters, sockets and objects may be held.
func (a *accounting) queueRecord(r Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastNumber++
	r.Number = a.lastNumber
	a.undelivered.push(r)
	if !a.delivering {
		a.delivering = true
		go a.deliverRecords()
	}
}

// claim reports whether the caller is the one to tell Record, which it does with tellAll when it has entered what it has.
func (a *accounting) claimDelivery() bool {
	if a.opts.Record == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	claimed := !a.delivering
	a.delivering = true
	return claimed
}

// tellAll tells Record what it has not been told. No mutex may be held.
func (a *accounting) deliverRecords() {
	over := false
	defer func() {
		if !over { // Record has called runtime.Goexit, as failing tests do
			go a.deliverRecords()
		}
	}()
	for r, ok := a.nextRecord(); ok; r, ok = a.nextRecord() {
		a.callRecord(r)
	}
	over = true
}

// next takes the next record. When there is none, the claim is over.
func (a *accounting) nextRecord() (r Record, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undelivered.len() == 0 {
		a.delivering = false
		a.delivered.broadcast()
		return r, false
	}
	return a.undelivered.pop(), true
}

func (a *accounting) callRecord(r Record) {
	defer func() {
		if cause := recover(); cause != nil {
			a.logger().Error("edgews: MeterOptions.Record panicked", "panic", cause, "stack", string(debug.Stack()))
		}
	}()
	a.opts.Record(r)
}

func (a *accounting) logger() *slog.Logger {
	if a.opts.Logger != nil {
		return a.opts.Logger
	}
	return slog.Default()
}
