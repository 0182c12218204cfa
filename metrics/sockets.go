package metrics

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
)

// socketSeries has what is counted for the sockets of one namespace and class.
type socketSeries struct {
	labels []string // namespace, class

	// Atomics.
	opened, slowdowns atomic.Uint64
	closed            [edgews.ClosedAfterFailure + 1][len(codeLabels)]atomic.Uint64 // by CloseCause, as within says, and by code
	lifetime, ping    durations

	shards    []messageShard
	nextShard atomic.Uint32
}

// messageShard has what is counted for the messages of some of the sockets of a series: those of different shards do not wait for each other's
// memory.
type messageShard struct {
	series  *socketSeries
	traffic [4]tally // by Direction and Kind: see tallyOf; the low part is Bytes, the high part WireBytes
	handler tally    // Latency in nanoseconds; the high part is the bits beyond partBits
	dropped atomic.Uint64
	auto    atomic.Uint64
	_       [128]byte // no cache line belongs to two shards
}

// maxShards bounds the memory of a series, of which each shard takes about 2 KB.
const maxShards = 16

// slowSocket is a socket between SocketSlow and SocketDrained.
type slowSocket struct {
	series *socketSeries
	since  time.Time
}

// ObserveSocket counts an event of a socket.
func (r *Recorder) ObserveSocket(o edgews.SocketObservation) {
	switch o.Event {
	case edgews.SocketOpened:
		r.shardFor(o.Socket).series.opened.Add(1)
	case edgews.SocketSlow:
		r.becomesSlow(o.Socket)
	case edgews.SocketDrained:
		r.mu.Lock()
		delete(r.slow, o.Socket)
		r.mu.Unlock()
	case edgews.SocketPong:
		if shard := r.shardOf(o.Socket); shard != nil {
			shard.series.ping.observe(o.RoundTrip)
		}
	case edgews.SocketClosed:
		r.forget(o)
	}
}

// shardOf returns where the messages of s are counted, or nil if s has not been opened, or has ended.
func (r *Recorder) shardOf(s *edgews.Socket) *messageShard {
	if open := r.sockets.find(s); open != nil {
		return open.shard
	}
	return nil
}

// shardFor chooses where the messages of s are counted.
func (r *Recorder) shardFor(s *edgews.Socket) *messageShard {
	namespace, class := describe(s)
	if r.opts.Class != nil {
		class = r.opts.Class(s)
	}
	series := r.seriesOf(namespace, class)
	shard := &series.shards[int(series.nextShard.Add(1))%len(series.shards)]
	r.sockets.add(&openSocket{s, shard})
	return shard
}

// seriesOf returns the series for a namespace and a class, which it makes if there is none.
func (r *Recorder) seriesOf(namespace, class string) *socketSeries {
	r.mu.Lock()
	defer r.mu.Unlock()
	labels := []string{r.namespaceNames.label(namespace), r.classNames.label(class)}
	for _, s := range r.socketSeries {
		if slices.Equal(s.labels, labels) {
			return s
		}
	}
	s := &socketSeries{labels: labels, lifetime: newDurations(&lifetimeScale), ping: newDurations(&latencyScale)}
	s.shards = make([]messageShard, min(maxShards, runtime.GOMAXPROCS(0)))
	for i := range s.shards {
		s.shards[i].series = s
	}
	r.socketSeries = append(r.socketSeries, s)
	return s
}

func (r *Recorder) becomesSlow(s *edgews.Socket) {
	shard := r.shardOf(s)
	if shard == nil {
		return
	}
	shard.series.slowdowns.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow[s] = slowSocket{shard.series, time.Now()}
}

// forget counts the end of a socket.
func (r *Recorder) forget(o edgews.SocketObservation) {
	open := r.sockets.find(o.Socket)
	if open == nil {
		return
	}
	r.sockets.remove(open)
	series := open.shard.series
	series.closed[within(o.Cause, series.closed[:])][codeIndex(o.Code)].Add(1)
	series.lifetime.observe(o.Lifetime)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.slow, o.Socket)
}

// SlowSockets returns an iterator over the sockets that are slow now, and since when: those whose peers do not read, or not fast enough. They
// come in no order.
func (r *Recorder) SlowSockets() iter.Seq2[*edgews.Socket, time.Time] {
	return func(yield func(*edgews.Socket, time.Time) bool) {
		for s, slow := range r.slowSockets() {
			if !yield(s, slow.since) {
				return
			}
		}
	}
}

// slowSockets returns a copy of slow, so that the sockets can be asked without the mutex.
func (r *Recorder) slowSockets() map[*edgews.Socket]slowSocket {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[*edgews.Socket]slowSocket, len(r.slow))
	for s, slow := range r.slow {
		all[s] = slow
	}
	return all
}

// ObserveMessage counts a message.
func (r *Recorder) ObserveMessage(o edgews.MessageObservation) {
	open := r.sockets.findRecent(o.Socket)
	if open == nil {
		open = r.sockets.findAny(o.Socket)
	}
	if open == nil {
		return
	}
	shard := open.shard
	if o.Dropped {
		shard.dropped.Add(1)
		return
	}
	t, bucket := shard.tallyOf(o.Direction, o.Kind), sizeScale.bucketOf(int64(o.Bytes))
	if bytes, wire := uint64(o.Bytes), uint64(o.WireBytes); bytes|wire <= maxPart {
		t.add(bucket, bytes|wire<<partBits)
	} else {
		t.addLarge(bucket, bytes, wire)
	}
	switch {
	case o.Direction != edgews.Inbound:
	case o.Auto:
		shard.auto.Add(1)
	default:
		shard.countHandler(o.Latency)
	}
}

// tallyOf returns where messages are counted.
func (m *messageShard) tallyOf(d edgews.Direction, k edgews.Kind) *tally {
	return &m.traffic[(uint8(d-edgews.Inbound)<<1|uint8(k-edgews.Text))&3] // there are two of each
}

// countHandler counts how long a handler took.
func (m *messageShard) countHandler(d time.Duration) {
	nanos := uint64(max(d, 0)) // a clock that is set back makes no negative durations
	bucket := latencyScale.bucketOf(int64(nanos))
	if nanos <= maxPacked {
		m.handler.add(bucket, nanos)
	} else {
		m.handler.addLarge(bucket, nanos&partMask, nanos>>partBits)
	}
}

// codeLabels are the values of the label code: the codes that have a meaning, and the ranges for libraries and programs.
var codeLabels = [...]string{
	other, "3xxx", "4xxx", "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014", "1015",
}

// codeIndex returns the index of the label of a close code.
func codeIndex(code edgews.StatusCode) int {
	switch {
	case code >= 3000 && code < 4000:
		return 1
	case code >= 4000 && code < 5000:
		return 2
	case code >= 1000 && code <= 1015:
		return max(0, slices.Index(codeLabels[:], fmt.Sprint(uint16(code))))
	}
	return 0
}
