package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

// This file is the first to read about topics: what a program calls. topics_table.go knows who has subscribed, and sends. In a cluster a socket
// whose connection is at an edge is subscribed there, and stays so when its object moves: Cluster.Publish sends one message to each node that
// has subscribers.

const (
	maxTopicSize = 256  // in bytes, as of a tag
	maxTopics    = 1024 // of a socket, so that a client that chooses its topics cannot fill the memory

	// maxEdgeTopics bounds the names of the topics of a socket whose connection is at an edge, in bytes: the edge sends them to the next home in
	// one message.
	maxEdgeTopics = 16 << 10
)

var (
	// ErrTopicName: a topic is UTF-8 of 1 to 256 bytes; the message says what is wrong.
	ErrTopicName = errors.New("edgews: invalid topic")

	// ErrTooManyTopics: a socket subscribes to at most 1024 topics; in a cluster the names of a socket's topics have at most 16 KiB together.
	ErrTooManyTopics = errors.New("edgews: socket has too many topics")
)

// checkTopic returns ErrTopicName, with what is wrong, unless topic may be one.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("%w: it is empty", ErrTopicName)
	case len(topic) > maxTopicSize:
		return fmt.Errorf("%w: it has %d bytes; the limit is %d", ErrTopicName, len(topic), maxTopicSize)
	case !utf8.ValidString(topic):
		return fmt.Errorf("%w: %q is not UTF-8", ErrTopicName, topic)
	}
	return nil
}

// Publish sends m to every socket that an object of the namespace has subscribed to topic with State.Subscribe. Topics connect objects: a
// message for the sockets of one object only is State.Broadcast's.
//
// A socket gets m at most once, however many objects publish. Messages that one goroutine publishes, one after the other, reach each socket
// in that order, and in order with what that goroutine sends to it otherwise; messages that are published concurrently may arrive in a
// different order at different sockets. Nothing is stored: a socket that subscribes later gets nothing of it (see Feed for a history). A
// socket whose subscription begins or ends while Publish runs may get m or not.
//
// Publish never waits for a socket: m is queued, for a socket without room its Overflow decides, and a socket that is closing does not take
// it. None of that is an error, nor is a topic without subscribers. m is encoded, and compressed, once for all. It may be published again,
// to other topics too.
//
// No object gets an event, and none is woken: the sockets of a hibernated object get m, and the object knows nothing of it. If the object
// itself is to know, use the function Call.
//
// With the context of an event of an object, or of a WaitUntil function, Publish counts as output of that object: while one of its commits is
// under way, which another goroutine has begun, Publish waits until it is over, so that no socket sees what is not durable. If that commit
// fails, nothing is published, and the error is ErrAborted, ErrFenced, or ctx.Err() if the reset has ended ctx. (What State.Broadcast sends is
// held back by the sockets instead; here they belong to other objects.) In the function of a Storage.Update the commit has not begun: publish
// after it. With any other context nothing is known of an object, and Publish waits for nothing. Each socket also waits for the commits of
// its own object, as with everything that is sent on it.
//
// The errors are ErrTopicName; ErrInvalidUTF8 and that of SendPrepared, if m cannot be sent; ctx.Err() if ctx has ended before m is published;
// and ErrShutdown after Shutdown has cut. With an error no socket gets m. ctx has no effect later on.
//
// Each socket counts m as a message that it has sent (Usage.MessagesOut), for the object that has accepted it. There is no request, and no
// object is active because of it.
//
// # In a cluster
//
// With NamespaceOptions.Cluster, m reaches the subscribers at all nodes: one message is sent to each node at which a subscriber's connection
// is. A socket gets m at most once, also while its object moves or its home dies, and the messages of one goroutine in their order. They are
// not in order with what is sent on the socket otherwise, do not wait for the commits of the socket's object, and do not count in
// BufferedAmount: they go to the client directly, and what exceeds Options.SendBuffer there is dropped, or the client is closed with 1013 if
// Overflow is OverflowClose. Observers are not told of them.
//
// Publish waits while the queue of 1 MiB to another node is full, for at most 5 s or until ctx ends; then no socket gets m, and the error is
// that of ctx. A node that is behind for 5 s, or that cannot be reached, does not get what is published until it has caught up; that is
// no error. A message has at most 32 MiB (link.ErrTooLarge of the module cluster).
//
// Deviation: Workers have no topics. There a program calls each object that has subscribers: one billed request for each, which also wakes
// the object. Messages that are sent on WebSockets are free, there as in the price lists here.
func (n *Namespace) Publish(ctx context.Context, topic string, m *Prepared) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	if err := awaitCommit(ctx); err != nil {
		return err
	}
	if n.shutdown.currentPhase() == eventsCutOff {
		return ErrShutdown
	}
	if c := n.opts.Cluster; c != nil {
		return c.Publish(ctx, ClusterPublication{Namespace: n.name, Topic: topic, Message: m, Kind: m.kind, Data: m.data})
	}
	n.topics.deliver(topic, m)
	return nil
}

// awaitCommit waits until the commit is over that is under way in the object to which ctx belongs, if there is one. It returns an error if
// the commit has failed, or if ctx ends.
func awaitCommit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o, ok := ctx.Value(objectContextKey{}).(*object)
	if !ok {
		return nil
	}
	lease := o.storage.Load()
	if lease == nil || lease.gate.state.Load() == gateOpen {
		return nil
	}
	return o.awaitGate(ctx, &lease.gate)
}

// Subscribe subscribes sockets to a topic: from now on they get what Namespace.Publish sends to it. It does nothing for a socket that has
// subscribed to topic before. The object must have accepted the sockets with AcceptWebSocket; a socket that is accepted with Accept, dialed or
// held belongs to a value, not to the object, and cannot subscribe.
//
// A subscription belongs to the socket. It survives hibernation, and a panic that drops the value; it ends with Unsubscribe, when
// WebSocketClose has returned, and when the object is reset (Abort, a commit that has failed), since that closes the socket. A value that is
// constructed again has nothing to do, but may subscribe again. It is not stored: like an attachment, it is lost with the socket.
//
// A topic is UTF-8 of 1 to 256 bytes (ErrTopicName), and belongs to the namespace: the topics of two namespaces have nothing in common. A
// socket has at most 1024 topics (ErrTooManyTopics). The error is ErrNotOwned if the object has not accepted one of the sockets, or the
// last event of one is over. With an error no socket is subscribed that was not before.
//
// In a cluster a subscription is kept at the node to which the client is connected, and survives moves of the object and the death of its home. It
// begins when that node and those that publish have learned of it, shortly after Subscribe has returned, and ends as late.
// A socket's topics there have at most 16 KiB together (ErrTooManyTopics).
//
// A subscription needs about 35 bytes, and a topic about 150 more; sockets without subscriptions need nothing.
func (st *State) Subscribe(topic string, sockets ...*Socket) error {
	return st.changeTopic(topic, sockets, (*topicTable).subscribe)
}

// Unsubscribe ends the subscriptions of sockets to a topic. It does nothing for a socket that has not subscribed to it. The errors are those of
// Subscribe; then all subscriptions are as before.
func (st *State) Unsubscribe(topic string, sockets ...*Socket) error {
	return st.changeTopic(topic, sockets, (*topicTable).unsubscribe)
}

// changeTopic calls change with what the object knows of sockets.
func (st *State) changeTopic(topic string, sockets []*Socket, change func(*topicTable, string, []*objectSocket) error) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	owned := make([]*objectSocket, len(sockets))
	for i, s := range sockets {
		owned[i] = objectSocketOf(s)
	}
	o := st.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if st.isDroppedLocked() {
		return ErrAborted
	}
	for _, sock := range owned {
		if sock == nil || sock.o != o || sock.removed {
			return ErrNotOwned
		}
	}
	return change(&o.ns.topics, topic, owned)
}

// Topics returns the topics that a socket has subscribed to, in the order in which it did. The slice is the caller's. The error is ErrNotOwned
// for a socket that this object has not accepted with AcceptWebSocket, and once WebSocketClose has returned.
func (st *State) Topics(s *Socket) ([]string, error) {
	sock, err := st.objectSocket(s)
	if err != nil {
		return nil, err
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if sock.removed {
		return nil, ErrNotOwned
	}
	return sock.topicsLocked(), nil
}

// Topics returns an iterator over the topics that have subscribers when the loop begins, and how many, in no order. The loop may do anything.
// It is for monitoring; what it returns may have changed already. In a cluster they are those of the objects whose home this node is.
func (n *Namespace) Topics() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for topic, subscribers := range n.topics.all() {
			if !yield(topic, subscribers) {
				return
			}
		}
	}
}

// Subscribers returns how many sockets have subscribed to a topic. Sockets that are closing count until they have ended. In a cluster they are
// those of the objects whose home this node is.
func (n *Namespace) Subscribers(topic string) int { return n.topics.subscribers(topic) }
