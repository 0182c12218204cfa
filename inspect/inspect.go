package inspect

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
)

// Options configures an Inspector. A nil pointer means the zero value, which is recommended and safe.
type Options struct {
	// Meter is the one whose usage is shown as a bill; nil: there is no bill.
	Meter *edgews.Meter

	// Plans are the price lists for bills and for what objects cost, the default one first; none: DurableObjects.
	Plans []edgews.Plan

	// Authorize says who may use the handler; it is called for each HTTP request, by several goroutines at a time. What it refuses is answered with
	// 403. Nil: only requests from this machine that no proxy has forwarded, see the documentation of the package. A handler around this one
	// that authenticates by itself needs an Authorize that always returns true.
	Authorize func(*http.Request) bool

	// AllowActions lets those who may look also close sockets, send messages, hibernate objects and run their alarms.
	AllowActions bool

	// Redact is called for each stored value before it is shown, and returns what is shown in its place. It may change value, which is a copy,
	// and may be called by several goroutines at a time. If it panics, nothing of the value is shown. Keys, and the sizes of values, are shown
	// in any case. Nil: values are shown as they are.
	Redact func(namespace string, id edgews.ID, key string, value []byte) []byte

	// Logger gets the actions (Info) and what it gets from the sockets of pages; nil: slog.Default gets the actions.
	Logger *slog.Logger
}

// Inspector keeps what it is told as an edgews.Observer, and shows it with Handler. Its methods may be called by several goroutines at once.
type Inspector struct {
	// Immutable after New.
	opts    Options
	plans   []edgews.Plan
	started time.Time
	mux     edgews.Mux
	hub     *edgews.Hub // the sockets of pages

	counters counters
	codes    closeCodes
	log      eventLog
	sockets  socketRecords
	objects  *objectRecords

	ticking atomic.Bool  // the history's timer is set
	clock   atomic.Int64 // the time of the last tick, in Unix milliseconds
	history history

	socketSamples  paced[socketSample]
	objectCounts   paced[objectCounts]
	objectSamples  paced[objectSample]
	billSamples    paced[billSample]
	clusterSamples paced[clusterSample]

	namespacesMu sync.Mutex
	namespaces   atomic.Pointer[[]*edgews.Namespace] // in order of names; replaced under namespacesMu, never changed
}

var _ edgews.Observer = (*Inspector)(nil)

// New returns an Inspector. It has no goroutines, and a timer only while something happens. opts may be nil, and is copied.
func New(opts *Options) *Inspector {
	i := &Inspector{started: time.Now(), objects: newObjectRecords()}
	if opts != nil {
		i.opts = *opts
	}
	i.plans = slices.Clone(i.opts.Plans)
	if len(i.plans) == 0 {
		i.plans = []edgews.Plan{edgews.DurableObjects}
	}
	i.namespaces.Store(new([]*edgews.Namespace))
	i.socketSamples.take, i.objectCounts.take, i.objectSamples.take, i.billSamples.take = i.sampleSockets, i.countObjects, i.sampleObjects, i.sampleBill
	i.socketSamples.activity, i.objectCounts.activity, i.objectSamples.activity = i.counters.totals, i.counters.totals, i.counters.totals
	i.clusterSamples.take = i.sampleClusters
	i.socketSamples.hasRates = true
	i.hub = edgews.NewHub(&edgews.HubOptions{Options: edgews.Options{
		MaxMessageSize: maxRequest, SendBuffer: pageSendBuffer, Logger: i.opts.Logger,
	}, MaxSockets: maxPages})
	i.registerCalls()
	i.registerActions()
	return i
}

// AddNamespaces has objects and alarms of namespaces shown from now on. A namespace whose Observer is i adds itself with the first event of
// an object; until then its alarms are not known. A namespace replaces one of the same name. Nil ones are ignored.
func (i *Inspector) AddNamespaces(list ...*edgews.Namespace) {
	for _, n := range list {
		if n != nil {
			i.addNamespace(n)
		}
	}
}

func (i *Inspector) addNamespace(n *edgews.Namespace) {
	i.namespacesMu.Lock()
	defer i.namespacesMu.Unlock()
	list := slices.Clone(*i.namespaces.Load())
	at, found := slices.BinarySearchFunc(list, n.Name(), func(n *edgews.Namespace, name string) int { return strings.Compare(n.Name(), name) })
	if found {
		list[at] = n
	} else {
		list = slices.Insert(list, at, n)
	}
	i.namespaces.Store(&list)
}

// namespace returns the namespace of a name, or nil.
func (i *Inspector) namespace(name string) *edgews.Namespace {
	for _, n := range *i.namespaces.Load() {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

// logger returns where actions are logged.
func (i *Inspector) logger() *slog.Logger { return cmp.Or(i.opts.Logger, slog.Default()) }

// Shutdown closes the WebSockets of open pages with 1012 and refuses new ones with 503, as edgews.Hub.Shutdown does. Observing goes on.
func (i *Inspector) Shutdown(ctx context.Context) error { return i.hub.Shutdown(ctx) }
