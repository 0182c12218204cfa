package edgews

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
)

// Cluster spreads the objects of namespaces over the nodes of a cluster: NamespaceOptions.Cluster. The module
// github.com/edgews/edgews/cluster has one; programs pass it on, and its methods are for this package.
//
// Each object has one home, the node that runs it. A client's connection stays on the node that has accepted it, its edge. On the home, a
// socket has a [ClusterConn] in place of a connection; for the program it is a Socket like any other. The methods may be called by several
// goroutines at a time.
type Cluster interface {
	// Attach is called by NewNamespace. The cluster uses host from then on, until detach is called at the end of Shutdown. An error is one of the
	// options: NewNamespace panics.
	Attach(host *ClusterHost) (detach func(), err error)

	// IsHome reports whether this node is the home of an object at the moment. It does not block.
	IsHome(key ObjectKey) bool

	// ServeHTTP has the object answer r, wherever its home is: ClusterHost.ServeHTTP there. It is called on the node that has got r.
	ServeHTTP(key ObjectKey, w http.ResponseWriter, r *http.Request)

	// Call has the object answer a call of the function Call, wherever its home is: ClusterHost.Call there.
	Call(ctx context.Context, key ObjectKey, method string, req json.RawMessage) (json.RawMessage, error)

	// Publish sends a message to the subscribers of a topic at all nodes, with one message for each node that has any: to the connections that
	// ClusterConn.Subscribe has subscribed, and with ClusterHost.Deliver. Each gets it at most once, and what one goroutine publishes in its
	// order. It waits for room until ctx ends, but not for ever for a node that is stuck. With an error no socket gets the message.
	Publish(ctx context.Context, p ClusterPublication) error

	// Subscribed says that objects of this node have a subscriber of a topic that is not at an edge, or that they have none any more:
	// ClusterHost.Deliver is for those. It is called with mutexes of this package held: it must not block, and must not call this package.
	Subscribed(namespace, topic string, subscribed bool)

	// Store returns the storage of the objects whose home is this node, for NamespaceOptions.Store. It fences by ownership, and DueAlarms returns
	// the alarms of those objects only.
	Store() Store
}

// ErrNotHome: this node is not the home of the object, or is not any more.
var ErrNotHome = errors.New("edgews: the object lives on another node")

// ClusterConn connects a socket on an object's home with its edge. A Cluster implements it. The methods are called with the mutex of the socket
// held: they must not block, and must not call methods of the socket, its ClusterSocket or its object.
type ClusterConn interface {
	// Key identifies the connection in the cluster: a short string that no other connection has, before or after.
	Key() string

	// Bind is called once, before the other methods: the methods of s may be called from then on.
	Bind(s *ClusterSocket)

	// Send queues a message, or a piece of one, behind everything that was queued before. data must be copied, unless prepared is not nil: then it
	// is prepared's and never changes. Calls with the same prepared send the same message to several sockets. It returns true if the message does
	// not count in BufferedAmount: it is on its way. Otherwise ClusterSocket.Acknowledge says when it is.
	Send(kind Kind, first, last bool, data []byte, prepared *Prepared) (sent bool)

	// Close queues a Close frame; code 0: an empty one. Nothing is sent behind it.
	Close(code StatusCode, reason string)

	// Ping queues a ping. The edge answers with ClusterSocket.Pong when the client has answered it.
	Ping(id uint64)

	// Position says how far the client is, in a feed that it follows, when it has got the message that is sent next. The edge notes it, and others that
	// it was told since the last message, together with that message, in ClusterRestored.Positions: no other home sends what the client has got.
	Position(p ClusterPosition)

	// Describe says what survives the home: the socket's tags, attachment and feeds, which the edge keeps, and passes to ClusterHost.Restore. It is
	// called when the socket is accepted in any way, and when that changes.
	Describe(kept ClusterKept)

	// Subscribe subscribes the connection at the edge to a topic of the namespace, or ends that. The edge keeps it for ClusterRestored.Topics, and
	// forgets it with the connection. For one topic, subscribed is true and false by turns. It is called with other mutexes of this package
	// held, and not always with that of the socket.
	Subscribe(topic string, subscribed bool)

	// AutoRespond says which messages the edge answers without the home, in place of what was set before. pairs never changes; calls with the same
	// slice are for sockets of one object. The edge tells of them with ClusterSocket.AutoResponded.
	AutoRespond(pairs []AutoResponse)

	// Handled says how many whole messages have been handled since the last call, in the order of Deliver: they need not be sent again.
	Handled(messages int)

	// Cut says that the socket has failed on this side, behind the Close, if one was queued.
	Cut()

	// Addrs returns the addresses of the client's connection, as the edge sees them. Neither is nil.
	Addrs() (local, remote net.Addr)
}

// ClusterKept is what an edge keeps of a socket for the next home of its object.
type ClusterKept struct {
	Accepted       bool // by State.AcceptWebSocket: it survives its home. Other sockets end with it
	Tags           []string
	Attachment     []byte
	AttachmentForm uint8         // how Attachment is encoded; 0xFF: there is none
	Feeds          []ClusterFeed `json:",omitempty"` // that the socket has joined
}

// noAttachmentForm is ClusterKept.AttachmentForm without an attachment.
const noAttachmentForm = 0xFF

// ClusterUpgrade is what an object has answered to an opening handshake: the edge then upgrades the connection.
type ClusterUpgrade struct {
	Header   http.Header // further headers of the response
	Protocol string      // the subprotocol; "": none
	Options  Options     // those of Upgrade or Respond. What cannot be sent to another node does not apply there
}

// ClusterPublication is a message that is published to a topic of a namespace.
type ClusterPublication struct {
	Namespace, Topic string
	Message          *Prepared // for sockets of this node
	Kind             Kind      // of Message, for other nodes
	Data             []byte    // of Message. It never changes
}
