package edgews

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/edgews/edgews/internal/orderedmap"
	"github.com/edgews/edgews/internal/park"
)

// topicTable is the subscriptions of the sockets of a namespace, in this process. Objects change it; deliver sends what is published, by an
// object of this process or, in a cluster, of another node: it needs a topic and a message, and no object. Sockets whose connections are at
// edges are subscribed there; here they only count.
type topicTable struct {
	mu sync.Mutex // under an object's mu; of a cluster's methods, those that may be called with it held say so

	cluster   Cluster // nil: there is none. Immutable, as is namespace
	namespace string

	// Guarded by mu.
	topics map[string]*topic // each has a subscriber
}

// topic is a topic that has subscribers.
type topic struct {
	name        string
	subscribers orderedmap.Map[*Socket, struct{}]
	atEdges     int // how many others there are, whose connections are at edges
}

// subscription is an element of the list of the topics of a socket.
type subscription struct {
	topic *topic
	next  *subscription // the one that began before it; nil: none did
}

// deliver sends m to the sockets that have subscribed to a topic.
func (t *topicTable) deliver(name string, m *Prepared) {
	to := foundSockets.Get().(*[]*Socket)
	defer forget(to)
	t.mu.Lock()
	if found := t.topics[name]; found != nil {
		*to = found.subscribers.AppendKeys(*to)
	}
	t.mu.Unlock()
	b := park.NewBatch()
	defer b.Close()
	for _, s := range *to {
		_ = s.sendPreparedIn(b, m, false) // it is closing, or has no room: that is no error of Publish
	}
}

// subscribe subscribes all of the sockets, or none. The mu of their object must be held.
func (t *topicTable) subscribe(name string, sockets []*objectSocket) error {
	if len(sockets) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.topics[name]
	for _, sock := range sockets {
		if err := t.mayAddLocked(sock, of, name); err != nil {
			return err
		}
	}
	if of == nil {
		of = t.addTopicLocked(name)
	}
	for _, sock := range sockets {
		if !of.hasLocked(sock) {
			t.addLocked(of, sock)
			if sock.atEdge {
				sock.edge().Subscribe(of.name, true)
			}
		}
	}
	return nil
}

// mayAddLocked returns ErrTooManyTopics if sock cannot subscribe to name, of which is the topic if it has subscribers. mu must be held.
func (t *topicTable) mayAddLocked(sock *objectSocket, of *topic, name string) error {
	n, size := sock.topicCountLocked()
	switch {
	case n >= maxTopics && !of.hasLocked(sock):
		return fmt.Errorf("%w: it has %d topics, and the limit is %d", ErrTooManyTopics, n, maxTopics)
	case sock.atEdge && size+len(name) > maxEdgeTopics && !of.hasLocked(sock):
		return fmt.Errorf("%w: their names have %d bytes, and the limit in a cluster is %d", ErrTooManyTopics, size+len(name), maxEdgeTopics)
	}
	return nil
}

// hasLocked reports whether sock has subscribed; to nil it has not. The mu of the table must be held.
func (of *topic) hasLocked(sock *objectSocket) bool {
	if of == nil || !sock.atEdge {
		return of != nil && of.subscribers.Get(sock.s) != nil
	}
	for sub := sock.topics; sub != nil; sub = sub.next {
		if sub.topic == of {
			return true
		}
	}
	return false
}

// addLocked subscribes sock, which is no subscriber. mu must be held.
func (t *topicTable) addLocked(of *topic, sock *objectSocket) {
	sock.topics = &subscription{of, sock.topics}
	if sock.atEdge {
		of.atEdges++
		return
	}
	of.subscribers.Put(sock.s, struct{}{})
	if t.cluster != nil && of.subscribers.Len() == 1 {
		t.cluster.Subscribed(t.namespace, of.name, true)
	}
}

// moveToEdge has the subscriptions of a socket kept at its edge: its link has become a ClusterSocket. The mu of its object must be held.
func (t *topicTable) moveToEdge(sock *objectSocket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sock.atEdge = true
	for _, name := range sock.topicsLocked() {
		of := t.topics[name]
		of.subscribers.Delete(sock.s)
		of.atEdges++
		if of.subscribers.Len() == 0 {
			t.cluster.Subscribed(t.namespace, name, false)
		}
		sock.edge().Subscribe(name, true)
	}
}

// restore subscribes a socket whose edge has kept its subscriptions. The mu of its object must be held.
func (t *topicTable) restore(sock *objectSocket, names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		of := t.topics[name]
		if of == nil {
			of = t.addTopicLocked(name)
		}
		t.addLocked(of, sock)
	}
}

// addTopicLocked adds a topic, which must get a subscriber. mu must be held.
func (t *topicTable) addTopicLocked(name string) *topic {
	if t.topics == nil {
		t.topics = make(map[string]*topic)
	}
	added := &topic{name: strings.Clone(name)} // a copy: it may be a part of a message
	t.topics[added.name] = added
	return added
}

// unsubscribe ends the subscriptions of the sockets to a topic. The mu of their object must be held.
func (t *topicTable) unsubscribe(name string, sockets []*objectSocket) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.topics[name]
	if of == nil {
		return nil
	}
	for _, sock := range sockets {
		if t.dropLocked(of, sock) {
			sock.unlistTopicLocked(of)
			if sock.atEdge {
				sock.edge().Subscribe(of.name, false)
			}
		}
	}
	return nil
}

// dropLocked takes sock out of the subscribers of a topic, and forgets the topic if sock was the last one. It reports whether sock was one of
// them. mu must be held.
func (t *topicTable) dropLocked(of *topic, sock *objectSocket) bool {
	switch {
	case !of.hasLocked(sock):
		return false
	case sock.atEdge:
		of.atEdges--
	default:
		of.subscribers.Delete(sock.s)
		if t.cluster != nil && of.subscribers.Len() == 0 {
			t.cluster.Subscribed(t.namespace, of.name, false)
		}
	}
	if of.countLocked() == 0 {
		delete(t.topics, of.name)
		if len(t.topics) == 0 {
			t.topics = nil // a map does not give back the memory to which it has grown
		}
	}
	return true
}

// leave ends all subscriptions of a socket that its object has removed.
func (t *topicTable) leave(sock *objectSocket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sub := sock.topics; sub != nil; sub = sub.next {
		t.dropLocked(sub.topic, sock)
	}
	sock.topics = nil
}

// all returns the topics and how many sockets have subscribed to each.
func (t *topicTable) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]int, len(t.topics))
	for name, of := range t.topics {
		all[name] = of.countLocked()
	}
	return all
}

// subscribers returns how many sockets have subscribed to a topic.
func (t *topicTable) subscribers(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of := t.topics[name]; of != nil {
		return of.countLocked()
	}
	return 0
}

// countLocked returns how many subscribers there are. The mu of the table must be held.
func (of *topic) countLocked() int { return of.subscribers.Len() + of.atEdges }

// topicCountLocked returns how many topics the socket has, and how many bytes their names have. The mu of the table must be held.
func (sock *objectSocket) topicCountLocked() (n, size int) {
	for sub := sock.topics; sub != nil; sub = sub.next {
		n++
		size += len(sub.topic.name)
	}
	return n, size
}

// unlistTopicLocked takes a topic out of the socket's list. The mu of the table must be held.
func (sock *objectSocket) unlistTopicLocked(of *topic) {
	at := &sock.topics
	for (*at).topic != of {
		at = &(*at).next
	}
	*at = (*at).next
}

// topicsLocked returns the names of the socket's topics, in the order in which it has subscribed to them. The mu of its object must be held,
// and the object must not have removed the socket.
func (sock *objectSocket) topicsLocked() (names []string) {
	for sub := sock.topics; sub != nil; sub = sub.next {
		names = append(names, sub.topic.name)
	}
	slices.Reverse(names)
	return names
}
