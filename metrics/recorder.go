package metrics

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
)

// Options configures a Recorder. A nil pointer means the zero value.
type Options struct {
	// Meter is the meter whose usage and costs are exported. Nil: none are.
	Meter *edgews.Meter

	// Plans are the price lists by which costs are computed. Each needs a name of its own, which is the value of the label plan.
	Plans []edgews.Plan

	// MaxTenants bounds the tenants of Meter that have a label of their own: the first that the meter has, by name, and then those that it
	// gets; default 20; negative: none. All others share the label "other".
	MaxTenants int

	// MaxNamespaces bounds the names of namespaces, and those of clusters, that have a label of their own; default 50. All others share the label
	// "other".
	MaxNamespaces int

	// Cluster is the cluster whose state is exported; the same as NamespaceOptions.Cluster. Nil: the clusters of the namespaces, once the Recorder
	// knows these: it learns of them with the first event of an object. So set it on nodes that run no objects.
	Cluster edgews.Cluster

	// MaxMembers bounds the members of a cluster that have a label of their own at a time; default 50; negative: none. All others share the
	// label "other".
	MaxMembers int

	// Class says of what kind a socket is, for the label class, such as "phone" or "bot": the more it tells, the easier it is to find out
	// which kind of socket is slow. It is called once for each socket, when that is opened. Default: "client" for a socket from Dial, "server"
	// for all others.
	Class func(*edgews.Socket) string

	// MaxClasses bounds the different results of Class; default 10. All others share the class "other".
	MaxClasses int
}

const (
	defaultMaxTenants    = 20
	defaultMaxNamespaces = 50
	defaultMaxClasses    = 10
	defaultMaxMembers    = 50
)

// other is the value of a label for what is beyond a bound.
const other = "other"

// Recorder is an [edgews.Observer] that counts what it is told. Give it to sockets and namespaces as Options.Observer; it learns of the
// namespaces from what it is told, and remembers them for as long as it lives. A message costs a look-up and one or two atomic additions; no lock
// is taken for it and nothing is allocated. All methods may be called from any goroutine.
//
// Counts are those since New. The Recorder knows nothing of a socket that was open before the Recorder became its Observer.
type Recorder struct {
	opts    Options
	started time.Time

	sockets    openSockets
	namespaces sync.Map                              // *edgews.Namespace → *objectSeries
	refused    [edgews.RefusedLost + 1]atomic.Uint64 // by RefusalCause; 0: a cause that is not known here

	mu sync.Mutex // a leaf, never locked for a message

	// Guarded by mu.
	namespaceNames, classNames words
	socketSeries               []*socketSeries
	objectSeries               []*objectSeries
	slow                       map[*edgews.Socket]slowSocket

	money    *money   // has a mutex of its own
	clusters clusters // has a mutex of its own
}

// New returns a Recorder that has counted nothing. It panics if a plan has no name, or two have the same.
func New(opts *Options) *Recorder {
	r := &Recorder{started: time.Now(), slow: make(map[*edgews.Socket]slowSocket)}
	if opts != nil {
		r.opts = *opts
	}
	r.namespaceNames.limit = orDefault(r.opts.MaxNamespaces, defaultMaxNamespaces)
	r.classNames.limit = orDefault(r.opts.MaxClasses, defaultMaxClasses)
	r.money = newMoney(&r.opts)
	r.clusters.given, r.clusters.most = r.opts.Cluster, orDefault(r.opts.MaxMembers, defaultMaxMembers)
	r.clusters.names.limit = r.namespaceNames.limit // there are no more clusters than namespaces
	return r
}

// Started returns when the Recorder was made, from when all its counters count.
func (r *Recorder) Started() time.Time { return r.started }

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// validLabel returns word as the value of a label.
func validLabel(word string) string {
	return strings.ToValidUTF8(word[:min(len(word), maxLabel)], "\uFFFD")
}

// words are the values of a label, of which there are few.
type words struct {
	limit int
	known map[string]bool
}

// maxLabel is the length of a label in bytes, beyond which it is cut: tenants may have names that users choose, and monitoring systems refuse labels
// of some thousand bytes.
const maxLabel = 128

// label returns word, or other if there are limit words already. What is not UTF-8 is replaced, because monitoring systems refuse it.
func (w *words) label(word string) string {
	word = validLabel(word)
	if word == "" || w.known[word] {
		return word // "" is the absence of a namespace, which has a label in any case
	}
	if len(w.known) >= w.limit {
		return other
	}
	if w.known == nil {
		w.known = make(map[string]bool)
	}
	word = strings.Clone(word)
	w.known[word] = true
	return word
}

// ObserveRefusal counts a refused upgrade.
func (r *Recorder) ObserveRefusal(o edgews.RefusalObservation) {
	r.refused[within(o.Cause, r.refused[:])].Add(1)
}

// within returns the index of v in an array that has an element for each value known here, and one at 0 for all others.
func within[V ~uint8, E any](v V, array []E) int {
	if int(v) < len(array) {
		return int(v)
	}
	return 0
}

// wordOf returns the label of element i of such an array.
func wordOf[V interface {
	~uint8
	String() string
}](i int) string {
	if i == 0 {
		return other
	}
	return V(i).String()
}
