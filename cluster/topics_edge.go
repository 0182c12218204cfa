package cluster

import (
	"slices"
	"time"

	"github.com/edgews/edgews"
)

// topicTally is what a connection has got of topics since its home was told, which counts it.
type topicTally struct{ messages, bytes int }

// subscribe subscribes the connection, or ends that. The home says it.
func (e *edgeSocket) subscribe(topic string, subscribed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.head.topics, topic)
	switch {
	case e.over || subscribed == (i >= 0):
	case subscribed:
		e.head.topics = append(e.head.topics, topic)
		e.c.topics.add(topicKey{e.head.of.key.Namespace, topic}, e)
	default:
		e.head.topics = slices.Delete(slices.Clone(e.head.topics), i, i+1)
		e.c.topics.remove(topicKey{e.head.of.key.Namespace, topic}, e)
	}
}

// add subscribes a connection.
func (t *topics) add(key topicKey, e *edgeSocket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.localLocked(key)
	if of.edges == nil {
		of.edges = make(map[*edgeSocket]struct{})
	}
	of.edges[e] = struct{}{}
}

// remove ends a subscription, if there is one.
func (t *topics) remove(key topicKey, e *edgeSocket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of := t.local[key]; of != nil {
		delete(of.edges, e)
		t.forgetLocked(key, of)
	}
}

// leaveTopicsLocked ends the subscriptions of a connection that is over. mu must be held.
func (e *edgeSocket) leaveTopicsLocked() {
	for _, topic := range e.head.topics {
		e.c.topics.remove(topicKey{e.head.of.key.Namespace, topic}, e)
	}
}

// publish sends a message of n bytes to the client, and reports whether it is on its way. Options.SendBuffer and Overflow apply as at the home.
func (e *edgeSocket) publish(m *edgews.Prepared, n int) bool {
	limit := e.head.of.options.SendBuffer // immutable
	if limit == 0 {
		limit = defaultSendBuffer
	}
	if waiting := e.s.BufferedAmount(); waiting > 0 && waiting+n > limit {
		if e.head.of.options.Overflow == edgews.OverflowClose {
			_ = e.s.Close(edgews.StatusTryAgainLater, "receiver is too slow")
		}
		return false
	}
	return e.s.SendPrepared(m) == nil
}

// defaultSendBuffer is the default of edgews.Options.SendBuffer.
const defaultSendBuffer = 1 << 20

// reportEvery is how often homes are told what their sockets have got of topics.
const reportEvery = time.Second

// count has the homes of sockets told that these have got a message of n bytes.
func (t *topics) count(sent []*edgeSocket, n int) {
	if len(sent) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range sent {
		t.reportLaterLocked(e, topicTally{1, n})
	}
}

// reportLaterLocked has the home of a socket told of more that the socket has got. mu must be held.
func (t *topics) reportLaterLocked(e *edgeSocket, more topicTally) {
	if len(t.unreported) == 0 {
		time.AfterFunc(reportEvery, t.report)
	}
	tally := t.unreported[e]
	t.unreported[e] = topicTally{tally.messages + more.messages, tally.bytes + more.bytes}
}

// report tells the homes what their sockets have got, where that is possible without waiting; the others are told later.
func (t *topics) report() {
	t.mu.Lock()
	due := t.unreported
	t.unreported = make(map[*edgeSocket]topicTally)
	t.mu.Unlock()
	for e, tally := range due {
		if e.trySend(tally.message()) {
			delete(due, e)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e, tally := range due {
		t.reportLaterLocked(e, tally)
	}
}

func (tally topicTally) message() []byte {
	return numberMessage(msgCounted, uint64(tally.messages), uint64(tally.bytes))
}

// reportTopics tells the home of a socket that has ended what it has got.
func (e *edgeSocket) reportTopics() {
	t := e.c.topics
	t.mu.Lock()
	tally, ok := t.unreported[e]
	delete(t.unreported, e)
	t.mu.Unlock()
	if ok {
		e.send(tally.message(), false)
	}
}

// trySend sends a message to the home if that is possible now. It returns false if it must be tried again.
func (e *edgeSocket) trySend(m []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return true
	}
	if e.ch == nil || len(e.unsent) > 0 {
		return false
	}
	_, err := e.ch.TrySend(m)
	return err == nil
}
