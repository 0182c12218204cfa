package edgews

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/handshake"
)

// ClusterHost is a namespace as a Cluster sees it: it runs the objects whose home this node is. Its methods may be called from any goroutine.
type ClusterHost struct{ n *Namespace }

// Namespace returns the namespace.
func (h *ClusterHost) Namespace() *Namespace { return h.n }

// ServeHTTP has an object of this node answer r, as Stub.ServeHTTP does on a single node. If the object opens a socket, upgrade is called instead
// of an upgrade of w's connection. It must not block: the edge upgrades the connection later. The error says why no handler has answered r, or
// what has ended the handler; with ErrNotHome no handler has begun.
func (h *ClusterHost) ServeHTTP(id ID, w http.ResponseWriter, r *http.Request, upgrade func(ClusterUpgrade) (ClusterConn, error)) error {
	if IsUpgrade(r) {
		r = connectRequest(r.Context(), r) // without compression, which is the edge's
	}
	cw := &clusterWriter{ResponseWriter: w, upgrade: upgrade}
	err := (&Stub{h.n, id, h.n.checkID(id)}).serveHere(cw, r)
	if cw.taken != nil && cw.taken.response == nil { // by the program itself: it cannot have answered
		h.n.logger().Error("edgews: handler has taken over a connection that is on another node", "namespace", h.n.name, "object", id.String(),
			"error", cmp.Or(err, errEdgeConn))
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
	return err
}

// Call has an object of this node answer a call of the function Call. With ErrNotHome the object has not begun to.
func (h *ClusterHost) Call(ctx context.Context, id ID, method string, req json.RawMessage) (json.RawMessage, error) {
	return (&Stub{h.n, id, h.n.checkID(id)}).callHere(ctx, method, req)
}

// withoutNotHome returns err, but not as ErrNotHome if a handler has begun: another node would run the handler a second time. The error may be
// the handler's own, or the object may have moved meanwhile.
func withoutNotHome(err error, begun *atomic.Bool) error {
	if begun.Load() && errors.Is(err, ErrNotHome) {
		return fmt.Errorf("%w: %v", ErrAborted, err)
	}
	return err
}

// AlarmsChanged says that this node has become the home of objects: the alarms that DueAlarms of the Store returns may be others than before,
// and restored members of feeds get what the last home has not sent them.
func (h *ClusterHost) AlarmsChanged() {
	h.n.alarms.schedule(time.Now())
	h.n.replayRestored()
}

// Deliver sends what is published to a topic to the sockets that have subscribed on this node and whose connections are not at edges: see
// Cluster.Subscribed.
func (h *ClusterHost) Deliver(topic string, m *Prepared) { h.n.topics.deliver(topic, m) }

// attach makes n known to its cluster. It panics if the cluster refuses n.
func (n *Namespace) attach() {
	detach, err := n.opts.Cluster.Attach(&ClusterHost{n})
	if err != nil {
		n.unregisterName()
		panic("edgews: NewNamespace: " + err.Error())
	}
	n.detach = detach
}

// isHome reports whether this node is the home of the object; without a cluster it is.
func (n *Namespace) isHome(id ID) bool {
	return n.opts.Cluster == nil || n.opts.Cluster.IsHome(ObjectKey{n.name, id})
}

// clusterWriter is the ResponseWriter of a request from an edge. It has no Unwrap: what is below cannot be hijacked, and Upgrade would ask it.
type clusterWriter struct {
	http.ResponseWriter
	upgrade func(ClusterUpgrade) (ClusterConn, error)
	taken   *edgeConn // what Hijack has returned
}

// Flush is http.Flusher.
func (w *clusterWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack is http.Hijacker. The connection that it returns is only for Upgrade and Respond.
func (w *clusterWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.taken = &edgeConn{w: w}
	return w.taken, bufio.NewReadWriter(bufio.NewReaderSize(w.taken, 0), bufio.NewWriterSize(w.taken, 1)), nil
}

// edgeConn stands for the connection of a clusterWriter, which is at an edge.
type edgeConn struct {
	w        *clusterWriter
	response *handshake.Response
	conn     ClusterConn // once answer was called
}

// errEdgeConn is for programs that take the connection of a request over to speak WebSocket themselves.
var errEdgeConn = errors.New("edgews: the connection of this request is on another node: answer it with Upgrade or Respond")

func (c *edgeConn) Read([]byte) (int, error)         { return 0, errEdgeConn }
func (c *edgeConn) Write([]byte) (int, error)        { return 0, errEdgeConn }
func (c *edgeConn) LocalAddr() net.Addr              { return unknownAddr }
func (c *edgeConn) RemoteAddr() net.Addr             { return unknownAddr }
func (c *edgeConn) SetDeadline(time.Time) error      { return nil }
func (c *edgeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *edgeConn) SetWriteDeadline(time.Time) error { return nil }

// Close cuts the client's connection, if it has been upgraded. It must not be called when there is a socket for it.
func (c *edgeConn) Close() error {
	if c.conn != nil {
		c.conn.Bind(newClusterSocket(Options{}.resolve(), identity{}).link.(*ClusterSocket)) // for what still arrives
		c.conn.Cut()
	}
	return nil
}

// answer has the edge upgrade the connection.
func (c *edgeConn) answer(r *http.Request, opts *Options) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.response.Bytes())), r)
	if err != nil {
		return &HandshakeError{Detail: "the answer could not be read", Err: err}
	}
	for name := range resp.Header {
		if handshake.Reserved(name) {
			resp.Header.Del(name)
		}
	}
	c.conn, err = c.w.upgrade(ClusterUpgrade{Header: resp.Header, Protocol: c.response.Protocol, Options: *opts})
	if err != nil {
		return &HandshakeError{Detail: "the edge cannot upgrade the connection", Err: err}
	}
	return nil
}

// open returns the socket that the object has upgraded. c is what upgrade has returned.
func (e *edgeConn) open(r *http.Request, c wireConfig) (*Socket, error) {
	defer c.pass.release()
	if err := e.answer(r, c.opts); err != nil {
		c.places.release()
		return nil, err
	}
	s := newClusterSocket(c.opts, c.identity())
	s.link.(*ClusterSocket).bind(e.conn, c)
	s.bindToObject(r.Context(), pinAccepted)
	s.warnIfUnaccepted()
	c.places.join(s)
	return s, nil
}

// bind connects the socket with its edge, and starts to count.
func (c *ClusterSocket) bind(conn ClusterConn, cfg wireConfig) {
	s := c.self
	s.mu.Lock()
	c.bindLocked(conn, cfg)
	s.mu.Unlock()
	conn.Bind(c)
}

// bindLocked is bind for callers that call Bind themselves. mu must be held.
func (c *ClusterSocket) bindLocked(conn ClusterConn, cfg wireConfig) {
	c.conn, c.key = conn, conn.Key()
	c.self.startCounterLocked(cfg.meter, cfg.object, true)
	c.self.counter.registerLocked() // no wire does
}
