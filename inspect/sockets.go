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
	id     uint64
	sums   *messageSums
	object objectKey // that has accepted it; zero: none
	opened int64     // in Unix milliseconds

	slow atomic.Bool

	mu sync.Mutex // a leaf, for which messages seldom wait: those of one socket do not overlap

	// Guarded by mu.
	counts socketCounts

	// Guarded by the mutex of the samples of sockets.
	beforeAt int64         // when the last sample was taken, in Unix milliseconds; 0: there is none
	before   trafficCounts // then
}

// trafficCounts are what rates are computed of.
type trafficCounts struct{ messagesIn, messagesOut, bytesIn, bytesOut int64 }

// socketCounts are the sums of a socket.
type socketCounts struct {
	trafficCounts
	wireIn, wireOut, dropped, auto    int64
	latencySum, latencyMax, roundTrip time.Duration // roundTrip: of the last ping
	lastMessage                       int64         // in Unix milliseconds, by the clock of the history
}

// message counts m.
func (r *socketRecord) message(m *edgews.MessageObservation, now int64) {
	r.mu.Lock()
	c := &r.counts
	c.lastMessage = now
	switch {
	case m.Dropped:
		c.dropped++
	case m.Direction == edgews.Outbound:
		c.messagesOut++
		c.bytesOut += int64(m.Bytes)
		c.wireOut += int64(m.WireBytes)
	default:
		c.messagesIn++
		c.bytesIn += int64(m.Bytes)
		c.wireIn += int64(m.WireBytes)
		if m.Auto {
			c.auto++
		}
		c.latencySum += m.Latency // 0 for auto-responses
		c.latencyMax = max(c.latencyMax, m.Latency)
	}
	r.mu.Unlock()
}

// pong notes the round trip of a ping.
func (r *socketRecord) pong(d time.Duration) {
	r.mu.Lock()
	r.counts.roundTrip = d
	r.mu.Unlock()
}

// current returns the sums of now.
func (r *socketRecord) current() socketCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// meanLatency returns the mean time that the handler took, or 0.
func (c *socketCounts) meanLatency() time.Duration {
	return c.latencySum / time.Duration(max(c.messagesIn-c.auto, 1))
}

// shardCount is the number of parts of a map that have a mutex each, a power of two.
const shardCount = 64

// recentSockets is how many records are found without a lock, a power of two. Their places take 128 KB.
const recentSockets = 16384

// socketRecords are the records of the open sockets by Socket.ID. Calls for one socket must not overlap, as those of an Observer do not, except
// for get and all. The zero value is ready for use.
type socketRecords struct {
	count  atomic.Int64
	recent [recentSockets]atomic.Pointer[socketRecord] // by id; of two with the same place the one that find was called for last
	shards [shardCount]struct {
		mu      sync.RWMutex // a leaf
		records map[uint64]*socketRecord
	}
}

// find returns the record of a socket, or nil. It is get for messages, most of which are of sockets that were found lately.
func (l *socketRecords) find(id uint64) *socketRecord {
	place := &l.recent[id%recentSockets]
	if r := place.Load(); r != nil && r.id == id {
		return r
	}
	r := l.get(id)
	if r != nil {
		place.Store(r)
	}
	return r
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
func (l *socketRecords) add(r *socketRecord) {
	s := &l.shards[r.id%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = make(map[uint64]*socketRecord)
	}
	if s.records[r.id] == nil {
		l.count.Add(1)
	}
	s.records[r.id] = r
}

// remove removes the record of a socket and returns it, or nil.
func (l *socketRecords) remove(id uint64) *socketRecord {
	s := &l.shards[id%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[id]
	if r != nil {
		delete(s.records, id)
		l.recent[id%recentSockets].CompareAndSwap(r, nil)
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
