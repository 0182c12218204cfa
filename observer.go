package edgews

import (
	"fmt"
	"net/http"
	"time"
)

// Observer is told what happens to sockets and objects, for metrics, traces, logs and pages about a running process: see the packages inspect
// and metrics. Options.Observer gives it to a socket. A socket that an object accepts, or holds before it is open, has the Observer of
// NamespaceOptions.Options, unless its own options have one.
//
// What is told of one socket comes in the order in which it happened, one call at a time: SocketOpened first and SocketClosed last, each once.
// So does what is told of one object. Calls for different sockets and objects are concurrent.
//
// Methods run with no mutex of edgews held: on the goroutine that has caused the event, on one that is calling the Observer for the same socket
// or object already, or on one of their own, as for pongs, SocketDrained and commits. They should be fast and must not wait, since the socket
// waits for them. They may call the methods of sockets, except those that receive; what that causes is told after the method has returned. A
// method that panics is logged, like a listener, and the socket goes on. Arguments are valid during the call, except for the Socket; copy what
// is kept. An Observer that wants only some events embeds [NopObserver].
//
// While an event of an object runs whose namespace has an Observer, its goroutine has the labels namespace, object and handler, which
// profiles of package runtime/pprof show. Execution traces of package runtime/trace have a region for each event of an object, such as
// edgews.WebSocketMessage, and for each message that listeners of an observed socket get (edgews.OnMessage).
type Observer interface {
	ObserveSocket(SocketObservation)
	ObserveMessage(MessageObservation)
	ObserveObject(ObjectObservation)
	ObserveRefusal(RefusalObservation)
}

// NopObserver is an Observer that ignores everything.
type NopObserver struct{}

func (NopObserver) ObserveSocket(SocketObservation)   {}
func (NopObserver) ObserveMessage(MessageObservation) {}
func (NopObserver) ObserveObject(ObjectObservation)   {}
func (NopObserver) ObserveRefusal(RefusalObservation) {}

// SocketObservation is an event of a socket that is not a message.
type SocketObservation struct {
	Socket *Socket
	Event  SocketEvent

	// PassThrough says that the socket stands for a connection whose bytes Proxy, or Respond with a dialed socket, passes on as they are. Of it,
	// only SocketOpened and SocketClosed are told. Its ID, addresses and Info are those of the connection of the client; all methods that send,
	// receive or close return ErrUsed. Close frames are not looked at: Code is 1005 and WasClean true if both sides have ended, otherwise 1006.
	PassThrough bool

	// SocketClosed: what the close event has, why the socket ended, its error if it has failed, and the time since SocketOpened.
	Code     StatusCode
	Reason   string
	WasClean bool
	Cause    CloseCause
	Err      error
	Lifetime time.Duration

	Queued    int           // SocketSlow, SocketDrained: BufferedAmount, in bytes
	RoundTrip time.Duration // SocketPong: since the ping was sent
}

// SocketEvent is a kind of SocketObservation.
type SocketEvent uint8

const (
	SocketOpened  SocketEvent = iota + 1 // the socket is open and accepted, or an object holds it from now on: Info names the object
	SocketSlow                           // a message has found at least half of SendBuffer waiting; again only after SocketDrained
	SocketDrained                        // after SocketSlow: nothing waits any more
	SocketPong                           // a ping, of Ping or keep-alive, has been answered
	SocketClosed                         // the close event has been delivered
)

var socketEventNames = [...]string{SocketOpened: "opened", SocketSlow: "slow", SocketDrained: "drained", SocketPong: "pong", SocketClosed: "closed"}

// String returns a word for e, such as "opened".
func (e SocketEvent) String() string { return nameOf(socketEventNames[:], e) }

// CloseCause says why a socket ended. Its values are few, so they suit a label of a metric; Err and Code have the details.
type CloseCause uint8

const (
	ClosedByPeer       CloseCause = iota + 1 // the peer's Close came first
	ClosedLocally                            // Close was called first
	ClosedByShutdown                         // Shutdown of a namespace, hub or server, MaxLifetime, IdleTimeout, PinTimeout
	ClosedAsLost                             // the connection ended without a Close, or failed
	ClosedAsSilent                           // KeepAliveTimeout, or CloseTimeout
	ClosedAsSlow                             // WriteTimeout, or OverflowClose
	ClosedForProtocol                        // the peer broke the protocol (ProtocolError, ErrInvalidUTF8 of a received message)
	ClosedForLimit                           // MaxMessageSize, RateLimit or a quota
	ClosedAfterFailure                       // a listener panicked, or the socket's object failed
)

var closeCauseNames = [...]string{
	ClosedByPeer: "peer", ClosedLocally: "local", ClosedByShutdown: "shutdown", ClosedAsLost: "lost", ClosedAsSilent: "silent", ClosedAsSlow: "slow",
	ClosedForProtocol: "protocol", ClosedForLimit: "limit", ClosedAfterFailure: "failure",
}

// String returns a word for c, such as "peer".
func (c CloseCause) String() string { return nameOf(closeCauseNames[:], c) }

// MessageObservation is a data message that was received or sent. Pings, pongs, Close frames and messages that a pass-through forwards are
// none, and nothing is told of a message that no listener, receive method or object has taken, nor of one that a Close has cut off. A received
// message is told of after its handler, behind what the handler has sent. A sent message is told of when it is queued as frames, in the order of
// the connection: later than Send, if it waits for a commit, for the end of a NextWriter's message or as one that may be replaced.
type MessageObservation struct {
	Socket    *Socket
	Direction Direction
	Kind      Kind
	Bytes     int // of payload, uncompressed

	// WireBytes is the size of the message's frames, with their headers, as they were received or queued. On a pair it is Bytes. It is 0 for a
	// message that was dropped, and ends at 4 GiB for a received one that has waited for its receiver.
	WireBytes int

	// Latency is how long the handler of a received message took: the listeners, or the object's handler. A message of a receive method is told
	// of when the next receive begins, or the socket ends, and Latency is the time since the message was taken. It is 0 for sent messages, and
	// for those that wait for a receive method when the socket ends, which are told of then, since SocketClosed comes last.
	Latency time.Duration

	Queued  int  // of a sent message: BufferedAmount after it, in bytes
	Dropped bool // Overflow has dropped the message, SendLatest has replaced it, or the socket has closed before it: it was not sent
	Auto    bool // an auto-response, or a message that one has answered; no handler has run
}

// Direction says which way a message goes.
type Direction uint8

const (
	Inbound  Direction = iota + 1 // received
	Outbound                      // sent
)

var directionNames = [...]string{Inbound: "in", Outbound: "out"}

// String returns "in" or "out".
func (d Direction) String() string { return nameOf(directionNames[:], d) }

// ObjectObservation is an event of an object.
type ObjectObservation struct {
	Namespace *Namespace
	ID        ID
	Event     ObjectEvent

	// Trigger says what caused the event: for EventConstructed what has woken the object, for EventCrashed and EventHandled which handler
	// it was.
	Trigger Trigger

	// Duration is how long the constructor (EventConstructed), the handler (EventHandled, EventAlarm) or the commit took. For
	// EventHibernated it is how long the object was in memory. A crash has none.
	Duration time.Duration

	Late  time.Duration // EventAlarm: how long after its time the alarm has fired
	Keys  int           // EventCommitted: values written and deleted; those of edgews itself, such as the alarm, do not count
	Bytes int           // EventCommitted: the size of the keys and values written
	Err   error         // why the constructor, handler or commit failed; of EventCrashed: why the object was reset
}

// ObjectEvent is a kind of ObjectObservation.
type ObjectEvent uint8

const (
	EventConstructed ObjectEvent = iota + 1 // the object's constructor has returned; Err if it has failed
	EventHandled                            // a handler other than Alarm has returned; messages of sockets are also MessageObservations
	EventAlarm                              // the Alarm handler has returned; there is no EventHandled for it
	EventCommitted                          // a commit to the store has ended
	EventCrashed                            // the value was dropped after a panic, Abort (also in the constructor) or a failed commit
	EventHibernated                         // the value was dropped because nothing needed it
)

var objectEventNames = [...]string{
	EventConstructed: "constructed", EventHandled: "handled", EventAlarm: "alarm", EventCommitted: "committed", EventCrashed: "crashed",
	EventHibernated: "hibernated",
}

// String returns a word for e, such as "constructed".
func (e ObjectEvent) String() string { return nameOf(objectEventNames[:], e) }

// Trigger is what an object handles.
type Trigger uint8

const (
	TriggerRequest    Trigger = iota + 1 // ServeHTTP
	TriggerMessage                       // WebSocketMessage, or a listener
	TriggerClose                         // WebSocketClose, or a listener
	TriggerError                         // WebSocketError, or a listener
	TriggerAlarm                         // Alarm
	TriggerCall                          // Call
	TriggerDo                            // State.Do and Stub.Do
	TriggerOperator                      // Hibernate, Shutdown and the like
	TriggerBackground                    // WaitUntil
)

var triggerNames = [...]string{
	TriggerRequest: "request", TriggerMessage: "message", TriggerClose: "close", TriggerError: "error", TriggerAlarm: "alarm", TriggerCall: "call",
	TriggerDo: "do", TriggerOperator: "operator", TriggerBackground: "background",
}

// String returns a word for t, such as "request".
func (t Trigger) String() string { return nameOf(triggerNames[:], t) }

// RefusalObservation is an upgrade that was refused: by Upgrade, Respond, UpgradeConn, a Hub, a namespace's limits, or Proxy.
type RefusalObservation struct {
	Request *http.Request
	Status  int // of the response, such as 403
	Cause   RefusalCause
	Err     error // what the function returned
}

// RefusalCause says why an upgrade was refused. Its values are few, so they suit a label of a metric.
type RefusalCause uint8

const (
	RefusedHandshake RefusalCause = iota + 1 // the request is not a valid opening handshake
	RefusedOrigin                            // AllowedOrigins
	RefusedLimit                             // MaxSockets, MaxPerKey or a quota
	RefusedShutdown                          // the namespace, hub or server is shutting down
	RefusedOptions                           // the server's options, or its ResponseWriter, cannot upgrade
	RefusedTarget                            // Proxy cannot reach its target, or the target has refused
	RefusedLost                              // the connection was lost before it was answered; Status is 0
)

var refusalCauseNames = [...]string{
	RefusedHandshake: "handshake", RefusedOrigin: "origin", RefusedLimit: "limit", RefusedShutdown: "shutdown", RefusedOptions: "options",
	RefusedTarget: "target", RefusedLost: "lost",
}

// String returns a word for c, such as "origin".
func (c RefusalCause) String() string { return nameOf(refusalCauseNames[:], c) }

// nameOf returns the name of v, or its number.
func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%T(%d)", v, uint8(v))
}
