package metrics

import (
	"iter"
	"slices"
	"time"

	"github.com/edgews/edgews"
)

// Sample is the value of a metric for one set of labels.
type Sample struct {
	Metric       *Metric       // must not be changed
	Labels       []string      // the values of Metric.Labels; must not be changed
	Value        float64       // of a Counter, an UpDownCounter or a Gauge
	Distribution *Distribution // of a Histogram
}

// Samples returns an iterator over what all metrics say now, in the order of [Metrics]. No two samples have the same metric and labels. Each loop
// over it asks every object that is in memory and every tenant of the meter: a
// hundred thousand objects take some 15 ms, as many tenants with one plan some 100 ms.
func (r *Recorder) Samples() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		byMetric := make(map[*Metric][]Sample, len(table))
		r.read(func(s Sample) { byMetric[s.Metric] = append(byMetric[s.Metric], s) })
		for _, m := range table {
			for _, s := range byMetric[m] {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// adder takes samples.
type adder func(Sample)

func (add adder) number(m *Metric, v float64, labels ...string) {
	add(Sample{Metric: m, Labels: labels, Value: v})
}

func (add adder) count(m *Metric, n uint64, labels ...string) { add.number(m, float64(n), labels...) }

// countUsed adds a count of events, unless there were none: where two labels are combined, most combinations never occur.
func (add adder) countUsed(m *Metric, n uint64, labels ...string) {
	if n > 0 {
		add.count(m, n, labels...)
	}
}

func (add adder) distribution(m *Metric, d *Distribution, labels ...string) {
	add(Sample{Metric: m, Labels: labels, Distribution: d})
}

// read adds all samples, in no order.
func (r *Recorder) read(add adder) {
	for cause := range r.refused {
		r.addRefused(add, cause)
	}
	now := time.Now()
	slow := r.slowBySeries(now)
	sockets, objects := r.series()
	for _, s := range sockets {
		s.read(add)
		s.readMessages(add)
		add.number(slowSockets, float64(slow[s].sockets), s.labels...)
		add.number(slowSocketBytes, float64(slow[s].bytes), s.labels...)
		add.number(slowSocketAge, slow[s].oldest.Seconds(), s.labels...)
	}
	for _, o := range objects {
		o.series.read(add)
		readObjects(add, now, o.series.labels[0], o.namespaces)
	}
	r.money.readMeter(add)
	r.clusters.read(add, objects)
}

func (r *Recorder) addRefused(add adder, cause int) {
	n := r.refused[cause].Load()
	if cause > 0 || n > 0 {
		add.count(socketsRefused, n, wordOf[edgews.RefusalCause](cause))
	}
}

// namespacesOf is a series of objects with its namespaces at one moment.
type namespacesOf struct {
	series     *objectSeries
	namespaces []*edgews.Namespace
}

// series returns what there is to read.
func (r *Recorder) series() (sockets []*socketSeries, objects []namespacesOf) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.objectSeries {
		objects = append(objects, namespacesOf{s, slices.Clone(s.namespaces)})
	}
	return slices.Clone(r.socketSeries), objects
}

// slowness sums up the slow sockets of a series.
type slowness struct {
	sockets, bytes int
	oldest         time.Duration
}

func (r *Recorder) slowBySeries(now time.Time) map[*socketSeries]slowness {
	all := make(map[*socketSeries]slowness)
	for socket, slow := range r.slowSockets() {
		s := all[slow.series]
		s.sockets++
		s.bytes += socket.BufferedAmount()
		s.oldest = max(s.oldest, now.Sub(slow.since))
		all[slow.series] = s
	}
	return all
}

// read adds the samples of s, other than those of messages.
func (s *socketSeries) read(add adder) {
	closed := uint64(0) // read before opened, which is never less then
	for cause := range s.closed {
		for code := range s.closed[cause] {
			n := s.closed[cause][code].Load()
			closed += n
			add.countUsed(socketsClosed, n, s.labels[0], s.labels[1], wordOf[edgews.CloseCause](cause), codeLabels[code])
		}
	}
	opened := s.opened.Load()
	add.count(socketsOpened, opened, s.labels...)
	add.count(socketsOpen, opened-closed, s.labels...)
	add.count(slowdowns, s.slowdowns.Load(), s.labels...)
	add.distribution(socketLifetime, s.lifetime.read(), s.labels...)
	add.distribution(pingRoundTrip, s.ping.read(), s.labels...)
}

// readMessages adds the samples of messages.
func (s *socketSeries) readMessages(add adder) {
	var dropped, auto uint64
	handler := &Distribution{Buckets: make([]uint64, len(latencyBounds)+1)}
	for i := range s.shards {
		shard := &s.shards[i]
		dropped, auto = dropped+shard.dropped.Load(), auto+shard.auto.Load()
		low, high := shard.handler.read(handler.Buckets)
		handler.Sum += time.Duration(low + high<<partBits).Seconds()
	}
	add.count(messagesDropped, dropped, s.labels...)
	add.count(autoResponses, auto, s.labels...)
	add.distribution(handlerTime, handler, s.labels...)
	for direction := edgews.Inbound; direction <= edgews.Outbound; direction++ {
		s.readTraffic(add, direction)
	}
}

// readTraffic adds the samples of one direction.
func (s *socketSeries) readTraffic(add adder, direction edgews.Direction) {
	word := direction.String()
	sizes := &Distribution{Buckets: make([]uint64, len(sizeBounds)+1)}
	var wire uint64
	for kind := edgews.Text; kind <= edgews.Binary; kind++ {
		before := sizes.Count()
		for i := range s.shards {
			bytes, wireOfShard := s.shards[i].tallyOf(direction, kind).read(sizes.Buckets)
			sizes.Sum += float64(bytes)
			wire += wireOfShard
		}
		add.count(messages, sizes.Count()-before, s.labels[0], s.labels[1], word, kind.String())
	}
	add.distribution(messageSize, sizes, s.labels[0], s.labels[1], word)
	add.number(wireBytes, float64(wire), s.labels[0], s.labels[1], word)
}

// read adds the samples of events.
func (s *objectSeries) read(add adder) {
	namespace := s.labels[0]
	for event := range s.events {
		word := wordOf[edgews.ObjectEvent](event)
		for trigger := range s.events[event] {
			add.countUsed(objectEvents, s.events[event][trigger].Load(), namespace, word, wordOf[edgews.Trigger](trigger))
		}
		if event > 0 {
			add.count(objectFailures, s.failures[event].Load(), namespace, word)
		}
		if event > 0 && event < len(s.times) {
			add.distribution(objectEventTime, s.times[event].read(), namespace, word)
		}
	}
	add.distribution(objectAwakeTime, s.awake.read(), namespace)
	add.distribution(alarmLateness, s.late.read(), namespace)
	add.count(committedKeys, s.keys.Load(), namespace)
	add.count(committedBytes, s.keyedBytes.Load(), namespace)
}

// pinLabels are the values of the label pin: what ObjectInfo.Pins has.
var pinLabels = [...]string{"event", "WaitUntil", "storage", "accepted socket", "outbound socket", "held socket"}

// readObjects asks the objects of namespaces with one label.
func readObjects(add adder, now time.Time, label string, namespaces []*edgews.Namespace) {
	var count, sockets [edgews.ObjectActive + 1]int
	var pinned [len(pinLabels)]int
	var oldest [len(pinLabels)]time.Duration
	for _, n := range namespaces {
		for info := range n.Objects() {
			count[info.State]++
			sockets[info.State] += info.Sockets
			for _, pin := range info.Pins {
				if i := slices.Index(pinLabels[:], pin); i >= 0 && info.State == edgews.ObjectActive {
					pinned[i]++
					oldest[i] = max(oldest[i], now.Sub(info.Since))
				}
			}
		}
	}
	for state := range count {
		add.number(objects, float64(count[state]), label, edgews.ObjectState(state).String())
		add.number(objectSockets, float64(sockets[state]), label, edgews.ObjectState(state).String())
	}
	for i, pin := range pinLabels {
		add.number(objectsPinned, float64(pinned[i]), label, pin)
		add.number(objectPinAge, oldest[i].Seconds(), label, pin)
	}
}
