package edgews

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Fact says what a Record is about.
type Fact uint8

const (
	FactOpened      Fact = iota + 1 // a peer has opened a connection
	FactTraffic                     // what an open connection has used since its last record
	FactClosed                      // a connection has ended; what it has used since its last record
	FactRequest                     // an object has answered a request that did not become a socket
	FactAlarm                       // an object's alarm handler has run
	FactActive                      // an object was active for an interval, or for the part of it since its last record
	FactPassThrough                 // a peer has opened a connection that is passed through: it counts as a connection, and as nothing else
	FactStored                      // an object that is not active any more has stored something since From
)

// String returns the fact in one word, such as "opened".
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
	case FactPassThrough:
		return "pass-through"
	case FactStored:
		return "stored"
	}
	return fmt.Sprintf("Fact(%d)", uint8(f))
}

// Record is a fact that counts, for MeterOptions.Record: with the records of a meter a program can do its own accounting.
// Each fact is in exactly one record, and the sum of all records is the meter's usage, at any time.
//
// A connection makes a record when it is opened and when it ends; an object makes one for each request, alarm and active
// interval. Open connections and active objects also make one for each MeterOptions.Interval, and whenever the meter is read.
// What a half-open socket sends after its end makes another record of FactTraffic. What an object reads and writes is in its records of
// FactActive, and so is what it has stored since it was last counted, which may reach back far before From. Only what is counted when
// the object is not active any more makes a record of its own.
type Record struct {
	Number     uint64    // counts the records of a meter and its tenants, from 1
	Fact       Fact      // what happened
	Tenant     []string  // the tenant that is charged, after the tenants above it, outermost first; empty: none. Must not be changed.
	Connection uint64    // counts the connections of a meter and its tenants, from 1; 0: no connection
	Namespace  string    // of Object
	Object     ID        // the zero ID: no object
	From, To   time.Time // when it was used
	Usage      Usage     // what was used
}

// queueRecord numbers r and has MeterOptions.Record called with it. The mutexes of meters, sockets and objects may be held.
func (a *accounting) queueRecord(r Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastNumber++
	r.Number = a.lastNumber
	a.undelivered.Push(r)
	if !a.delivering {
		a.delivering = true
		go a.deliverRecords()
	}
}

// claimDelivery reports whether the caller has to deliver the records. If so, it calls deliverRecords after it has queued its
// own. It returns false without MeterOptions.Record.
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

// deliverRecords calls MeterOptions.Record with the queued records. The caller has claimed delivery, and holds no mutex.
func (a *accounting) deliverRecords() {
	done := false
	defer func() {
		if !done { // Record has called runtime.Goexit, as failing tests do
			go a.deliverRecords()
		}
	}()
	for r, ok := a.nextRecord(); ok; r, ok = a.nextRecord() {
		a.callRecord(r)
	}
	done = true
}

// nextRecord takes the next record off the queue. When there is none, it ends the claim.
func (a *accounting) nextRecord() (r Record, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undelivered.Len() == 0 {
		a.delivering = false
		a.delivered.broadcast()
		return r, false
	}
	return a.undelivered.Pop(), true
}

// callRecord calls MeterOptions.Record. A panic is logged.
func (a *accounting) callRecord(r Record) {
	defer func() {
		if cause := recover(); cause != nil {
			a.logger().Error("edgews: MeterOptions.Record panicked", "panic", cause, "stack", string(debug.Stack()))
		}
	}()
	a.opts.Record(r)
}

// waitDelivered waits until MeterOptions.Record has received every record, or ctx ends.
func (a *accounting) waitDelivered(ctx context.Context) error {
	a.mu.Lock()
	for a.delivering {
		delivered := a.delivered.wait()
		a.mu.Unlock()
		if err := waitFor(ctx, delivered); err != nil {
			return err
		}
		a.mu.Lock()
	}
	a.mu.Unlock()
	return nil
}
