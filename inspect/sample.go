package inspect

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// The pace of samples: they take at most a two-hundredth of the time, unless one takes more than a tenth of a second. While nothing is observed
// they are as good as new ones for a while: what they may miss is that sockets are parked, and that objects are idle because a task has ended.
const (
	minPause    = time.Second
	maxPause    = 20 * time.Second
	pauseFactor = 200
	maxQuiet    = time.Minute
	keepSample  = 30 * time.Second // after it was used
)

// paced takes samples when they are asked for, not too often, and forgets them when they are not used.
type paced[T any] struct {
	// Immutable.
	take     func(now time.Time) *T
	activity func() totals // which stays the same while nothing is observed; nil: samples change by themselves
	hasRates bool          // a sample depends on the one before

	mu sync.Mutex // held while a sample is taken

	// Guarded by mu.
	current  *T // nil: none
	sampling Sampling
	next     time.Time // the current sample serves until then
	quiet    time.Time // and until then, while nothing is observed
	observed totals    // at the current sample
	changed  bool      // something was observed since the sample before, so the rates of the current one do not last
	used     time.Time
	timer    *time.Timer // forgets the sample
}

// get returns a sample, which must not be changed, and how old it is.
func (p *paced[T]) get() (*T, Sampling) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.used = now
	if p.current != nil && (now.Before(p.next) || p.isQuietLocked(now)) {
		return p.current, p.sampling
	}
	if p.activity != nil {
		observed := p.activity()
		p.changed = p.hasRates && (p.current == nil || p.observed != observed)
		p.observed = observed
	}
	p.current = p.take(now)
	took := time.Since(now)
	pause := min(max(took*pauseFactor, minPause), maxPause)
	p.next, p.quiet = now.Add(took+pause), now.Add(maxQuiet)
	p.sampling = Sampling{At: now.UnixMilli(), Took: millis(took), Every: millis(pause)}
	if p.timer == nil {
		p.timer = time.AfterFunc(keepSample, p.forget)
	}
	return p.current, p.sampling
}

// isQuietLocked reports whether a new sample would be like the current one. mu must be held.
func (p *paced[T]) isQuietLocked(now time.Time) bool {
	return p.activity != nil && !p.changed && now.Before(p.quiet) && p.activity() == p.observed
}

// forget drops the sample if it was not used lately.
func (p *paced[T]) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := keepSample - time.Since(p.used); left > 0 {
		p.timer.Reset(left)
		return
	}
	p.current, p.timer = nil, nil
}

// fresh returns the sample if it was asked for lately, or nil.
func (p *paced[T]) fresh() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || time.Since(p.used) > maxPause {
		return nil
	}
	return p.current
}

// socketSample is all open sockets at one moment.
type socketSample struct {
	sockets        []sampledSocket
	parked, dialed int
	orders         orders[SocketsQuery]
}

// sampledSocket is one of them.
type sampledSocket struct {
	record *socketRecord
	info   edgews.SocketInfo
	remote string
	counts socketCounts
	rates  MessageRates
}

func (i *Inspector) sampleSockets(now time.Time) *socketSample {
	records := i.sockets.all()
	s := &socketSample{sockets: make([]sampledSocket, 0, len(records))}
	for _, r := range records {
		x := sampledSocket{record: r, info: r.socket.Info(), counts: r.current()}
		x.remote = x.info.Remote.String()
		at := now.UnixMilli()
		x.rates = x.counts.ratesSince(r.before, at-cmp.Or(r.beforeAt, r.opened))
		r.before, r.beforeAt = x.counts.trafficCounts, at
		if x.info.Parked {
			s.parked++
		}
		if x.info.Client {
			s.dialed++
		}
		s.sockets = append(s.sockets, x)
	}
	slices.SortFunc(s.sockets, func(a, b sampledSocket) int { return cmp.Compare(a.info.ID, b.info.ID) })
	return s
}

// ratesSince returns the rates between two samples, so many milliseconds apart.
func (c trafficCounts) ratesSince(before trafficCounts, millis int64) MessageRates {
	seconds := max(float64(millis)/1000, 0.001)
	rate := func(now, before int64) float64 { return float64(now-before) / seconds }
	return MessageRates{
		In: rate(c.messagesIn, before.messagesIn), Out: rate(c.messagesOut, before.messagesOut),
		BytesIn: rate(c.bytesIn, before.bytesIn), BytesOut: rate(c.bytesOut, before.bytesOut),
	}
}

// objectCounts are how many objects are in memory at one moment.
type objectCounts struct {
	active, idle int
	namespaces   []NamespaceCount
}

func (i *Inspector) countObjects(time.Time) *objectCounts {
	c := &objectCounts{namespaces: []NamespaceCount{}}
	for _, n := range *i.namespaces.Load() {
		count := NamespaceCount{Name: escape(n.Name(), maxName)}
		for info := range n.Objects() {
			switch info.State {
			case edgews.ObjectActive:
				count.Active++
			case edgews.ObjectIdle:
				count.Idle++
			default:
				count.Hibernated++
			}
		}
		c.active += count.Active
		c.idle += count.Idle
		c.namespaces = append(c.namespaces, count)
	}
	return c
}

// objectSample is all objects in memory at one moment.
type objectSample struct {
	objects []sampledObject // in the order of orderOf
	orders  orders[ObjectsQuery]
}

// sampledObject is what lists are selected and sorted by of one of them, in few bytes, since there may be very many. What rows show is asked for
// when they are shown.
type sampledObject struct {
	key         objectKey
	order       uint64
	since       int64 // in nanoseconds
	constructed int64
	handled     int64
	busy        time.Duration
	pins        []string
	sockets     int32
	crashes     int32
	state       edgews.ObjectState
	awake       bool
}

func (i *Inspector) sampleObjects(time.Time) *objectSample {
	awake, hibernated := i.objects.on.counts()
	s := &objectSample{objects: make([]sampledObject, 0, awake+hibernated+100)} // some may have neither a value nor a socket any more
	for _, n := range *i.namespaces.Load() {
		for info := range n.Objects() {
			s.objects = append(s.objects, i.sampleObject(n, &info))
		}
	}
	slices.SortFunc(s.objects, func(a, b sampledObject) int { return cmp.Compare(a.order, b.order) })
	return s
}

func (i *Inspector) sampleObject(n *edgews.Namespace, info *edgews.ObjectInfo) sampledObject {
	k := objectKey{n, info.ID}
	facts := i.objects.get(k)
	if facts.order == 0 {
		facts.order = orderOf(info.ID)
	}
	return sampledObject{
		key: k, order: facts.order, since: info.Since.UnixNano(), constructed: facts.constructed, handled: facts.handled, busy: facts.busy,
		pins: info.Pins, sockets: int32(info.Sockets), crashes: int32(facts.crashes), state: info.State, awake: facts.awake,
	}
}

// maxOrders is how many selections of one sample are remembered, so that scrolling through a list does not sort it each time.
const maxOrders = 4

// orders are selections of a sample by query: indexes in the order that the query asks for. The zero value is ready for use.
type orders[Q comparable] struct {
	mu    sync.Mutex // held while a selection is made
	known map[Q][]int32
}

// get returns the selection of q, which make makes. The slice must not be changed.
func (o *orders[Q]) get(q Q, make func() []int32) []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if order, ok := o.known[q]; ok {
		return order
	}
	if o.known == nil || len(o.known) >= maxOrders {
		o.known = map[Q][]int32{}
	}
	order := make()
	o.known[q] = order
	return order
}

// selectRows returns the indexes of the n rows that pick selects, ordered by compare; equals stay in order.
func selectRows(n int, pick func(int) bool, compare func(a, b int) int, desc bool) []int32 {
	order := make([]int32, 0, n)
	for k := range n {
		if pick(k) {
			order = append(order, int32(k))
		}
	}
	if compare != nil {
		slices.SortStableFunc(order, func(a, b int32) int {
			c := compare(int(a), int(b))
			if desc {
				c = -c
			}
			return c
		})
	} else if desc {
		slices.Reverse(order)
	}
	return order
}
