package inspect

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
)

// socketRecord is what the inspector keeps of an open socket.
type socketRecord struct {
	// Immutable.
	socket *edgews.Socket
	sums   *messageSums
	object objectKey // that has accepted it; zero: none
	opened int64     // in Unix milliseconds

	// Atomics.
	messagesIn, messagesOut, bytesIn, bytesOut, wireIn, wireOut, dropped atomic.Int64
	handled, latencySum, latencyMax, roundTrip                           atomic.Int64 // the last three in nanoseconds
	lastMessage                                                          atomic.Int64 // in Unix milliseconds, by the clock of the history
	slow                                                                 atomic.Bool

	// Guarded by the mutex of the samples of sockets.
	before socketCounts // of the last sample
}

// socketCounts are the counts of a socket at one moment.
type socketCounts struct {
	at                                         int64 // in Unix milliseconds; 0: none
	messagesIn, messagesOut, bytesIn, bytesOut int64
}

// message counts m. Calls for one socket do not overlap.
func (r *socketRecord) message(m *edgews.MessageObservation, now int64) {
	r.lastMessage.Store(now)
	switch {
	case m.Dropped:
		r.dropped.Add(1)
	case m.Direction == edgews.Outbound:
		r.messagesOut.Add(1)
		r.bytesOut.Add(int64(m.Bytes))
		r.wireOut.Add(int64(m.WireBytes))
	default:
		r.messagesIn.Add(1)
		r.bytesIn.Add(int64(m.Bytes))
		r.wireIn.Add(int64(m.WireBytes))
		if !m.Auto {
			r.latency(m.Latency)
		}
	}
}

// latency counts the time that a handler took.
func (r *socketRecord) latency(d time.Duration) {
	r.handled.Add(1)
	r.latencySum.Add(int64(d))
	if int64(d) > r.latencyMax.Load() {
		r.latencyMax.Store(int64(d))
	}
}

// counts returns the counts of now.
func (r *socketRecord) counts(now int64) socketCounts {
	return socketCounts{now, r.messagesIn.Load(), r.messagesOut.Load(), r.bytesIn.Load(), r.bytesOut.Load()}
}

// meanLatency returns the mean time that the handler took, or 0.
func (r *socketRecord) meanLatency() time.Duration {
	return time.Duration(r.latencySum.Load() / max(r.handled.Load(), 1))
}

// shardCount is the number of parts of a map that have a mutex each, a power of two.
const shardCount = 64

// socketRecords are the records of the open sockets by Socket.ID. The zero value is ready for use.
type socketRecords struct {
	count  atomic.Int64
	shards [shardCount]struct {
		mu      sync.RWMutex // a leaf
		records map[uint64]*socketRecord
	}
}

// get returns the record of a socket, or nil.
func (l *socketRecords) get(id uint64) *socketRecord {
	s := &l.shards[id%shardCount]
	s.mu.RLock()
	r := s.records[id]
	s.mu.RUnlock()
	return r
}

// add adds the record of a socket.
func (l *socketRecords) add(id uint64, r *socketRecord) {
	s := &l.shards[id%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = make(map[uint64]*socketRecord)
	}
	if s.records[id] == nil {
		l.count.Add(1)
	}
	s.records[id] = r
}

// remove removes the record of a socket and returns it, or nil.
func (l *socketRecords) remove(id uint64) *socketRecord {
	s := &l.shards[id%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[id]
	if r != nil {
		delete(s.records, id)
		l.count.Add(-1)
	}
	return r
}

// all returns the records of all sockets, in no order.
func (l *socketRecords) all() []*socketRecord {
	list := make([]*socketRecord, 0, l.count.Load()+shardCount)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.RLock()
		for _, r := range s.records {
			list = append(list, r)
		}
		s.mu.RUnlock()
	}
	return list
}
