package edgews

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/edgews/edgews/internal/orderedmap"
)

// topicTable is the subscriptions of the sockets of a namespace, in this process. Objects change it; deliver sends what is published, by an
// object of this process or, in a cluster, of another node: it needs a topic and a message, and no object.
type topicTable struct {
	mu sync.Mutex // a leaf, also under an object's mu

	// Guarded by mu.
	topics map[string]*topic // none is without subscribers
}

// topic is a topic that has subscribers.
type topic struct {
	name        string
	subscribers orderedmap.Map[*Socket, struct{}]
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
	for _, s := range *to {
		_ = s.sendPrepared(m, false) // it is closing, or has no room: that is no error of Publish
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
		if n := sock.topicCountLocked(); n >= maxTopics && (of == nil || of.subscribers.Get(sock.s) == nil) {
			return fmt.Errorf("%w: it has %d topics, and the limit is %d", ErrTooManyTopics, n, maxTopics)
		}
	}
	if of == nil {
		of = t.addTopicLocked(name)
	}
	for _, sock := range sockets {
		if of.subscribers.Get(sock.s) == nil {
			of.subscribers.Put(sock.s, struct{}{})
			sock.topics = &subscription{of, sock.topics}
		}
	}
	return nil
}

// addTopicLocked adds a topic, which must get a subscriber. In a cluster, this is where the other nodes are told that this one wants what is
// published to it. mu must be held.
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
		if t.dropLocked(of, sock.s) {
			sock.unlistTopicLocked(of)
		}
	}
	return nil
}

// dropLocked takes s out of the subscribers of a topic, and forgets the topic if it was the last one. It reports whether s was one of them. mu
// must be held.
func (t *topicTable) dropLocked(of *topic, s *Socket) bool {
	if !of.subscribers.Delete(s) {
		return false
	}
	if of.subscribers.Len() == 0 {
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
		t.dropLocked(sub.topic, sock.s)
	}
	sock.topics = nil
}

// all returns the topics and how many sockets have subscribed to each.
func (t *topicTable) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]int, len(t.topics))
	for name, of := range t.topics {
		all[name] = of.subscribers.Len()
	}
	return all
}

// subscribers returns how many sockets have subscribed to a topic.
func (t *topicTable) subscribers(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of := t.topics[name]; of != nil {
		return of.subscribers.Len()
	}
	return 0
}

// topicCountLocked returns how many topics the socket has. The mu of the table must be held.
func (sock *objectSocket) topicCountLocked() (n int) {
	for sub := sock.topics; sub != nil; sub = sub.next {
		n++
	}
	return n
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
