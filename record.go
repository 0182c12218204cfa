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
type books struct {
	all         *Meter
	opts        MeterOptions
	began       time.Time // the day
	ledger      *ledger   // nil: none
	quotas      atomic.Int32
	term        atomic.Uint32 // of leases: those of an earlier one are over
	connections atomic.Uint64
	tenants     atomic.Int64
	crowded     atomic.Bool // there were too many, and the log has said so
	armed       atomic.Bool // there will be a round
	atWork      atomic.Bool // there is one

	mu sync.Mutex // a leaf

	// Guarded by mu.
	last    uint64 // the number of the last record
	untold  fifo[Record]
	telling bool   // a goroutine tells Record, or is about to
	told    signal // nothing is untold
}

// enter numbers r and sees to it that Record is told. The mutexes of meters, sockets and objects may be held.
func (b *books) enter(r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	r.Number = b.last
	b.untold.push(r)
	if !b.telling {
		b.telling = true
		go b.tellAll()
	}
}

// claim reports whether the caller is the one to tell Record, which it does with tellAll when it has entered what it has.
func (b *books) claim() bool {
	if b.opts.Record == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	claimed := !b.telling
	b.telling = true
	return claimed
}

// tellAll tells Record what it has not been told. No mutex may be held.
func (b *books) tellAll() {
	over := false
	defer func() {
		if !over { // Record has called runtime.Goexit, as failing tests do
			go b.tellAll()
		}
	}()
	for r, ok := b.next(); ok; r, ok = b.next() {
		b.tell(r)
	}
	over = true
}

// next takes the next record. When there is none, the claim is over.
func (b *books) next() (r Record, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.untold.len() == 0 {
		b.telling = false
		b.told.broadcast()
		return r, false
	}
	return b.untold.pop(), true
}

func (b *books) tell(r Record) {
	defer func() {
		if cause := recover(); cause != nil {
			b.logger().Error("edgews: MeterOptions.Record panicked", "panic", cause, "stack", string(debug.Stack()))
		}
	}()
	b.opts.Record(r)
}

func (b *books) logger() *slog.Logger {
	if b.opts.Logger != nil {
		return b.opts.Logger
	}
	return slog.Default()
}
