package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// ServeHTTP implements edgews.Cluster. A request waits while its object has no home, until its context ends.
func (c *Cluster) ServeHTTP(key edgews.ObjectKey, w http.ResponseWriter, r *http.Request) {
	head, conn := c.requestHeadOf(key, r)
	var body *edgeBody
	if head.Body {
		// Otherwise net/http would itself read, and drop, what is left of the body when the answer begins.
		_ = http.NewResponseController(w).EnableFullDuplex()
		body = newEdgeBody(r.Body)
		defer body.stop(w, r)
	}
	shard := c.shardOf(key)
	for {
		o, m, err := c.home(r.Context(), shard)
		if err == nil {
			head.Epoch = o.Epoch
			q := &edgeRequest{c: c, key: key, conn: conn, shard: shard, epoch: o.Epoch, head: head, w: w, r: r, body: body, arrived: make(chan struct{}, 1)}
			err = q.serve(m)
		}
		if errors.Is(err, errRetry) {
			if err = c.retry(r.Context()); err == nil {
				continue
			}
		}
		if err != nil {
			body.closeUnlessRead(w, r)
			answerFailure(w, err)
		}
		return
	}
}

// errRetry: the node that was asked is not the object's home, or is dead, and nothing has been done that a second request would do again.
var errRetry = errors.New("edgews: not the home of the object")

// answerFailure answers a request that no home has answered.
func answerFailure(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, link.ErrTooLarge):
		http.Error(w, "the header of the request is too large for the cluster", http.StatusRequestHeaderFieldsTooLarge)
	case errors.Is(err, errHomeLost):
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, errNoHome.Error(), http.StatusServiceUnavailable)
	}
}

// errHomeLost is for requests and calls that the home may have begun to handle before it was lost.
var errHomeLost = errors.New("edgews: the home of the object was lost before it answered")

// requestHeadOf returns what the home is told of a request, and the number of its connection if it may become a socket.
func (c *Cluster) requestHeadOf(key edgews.ObjectKey, r *http.Request) (head *requestHead, conn uint64) {
	head = &requestHead{
		target: targetOf(key), Method: r.Method, URL: urlToSend(r.URL), Host: r.Host, Proto: [2]int{r.ProtoMajor, r.ProtoMinor},
		RemoteAddr: r.RemoteAddr, Header: sentHeader(r.Header), ContentLength: r.ContentLength, Body: r.Body != nil && r.Body != http.NoBody,
		TLS: r.TLS != nil, Upgrade: edgews.IsUpgrade(r),
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer); ok {
		head.LocalAddr = local.String()
	}
	if r.RequestURI != head.URL {
		head.RequestURI = r.RequestURI
	}
	if head.Upgrade {
		head.Body = false
		conn = c.lastConn.Add(1)
		head.ConnKey = c.connKey(conn)
	}
	return head, conn
}

// edgeRequest is a request on the node that has got it: the receiver of its channel until it becomes a socket.
type edgeRequest struct {
	c     *Cluster
	key   edgews.ObjectKey
	conn  uint64 // the number of the connection
	shard Shard
	epoch uint64 // with which the member owns the shard that is asked
	head  *requestHead
	w     http.ResponseWriter
	r     *http.Request
	body  *edgeBody // nil: there is none
	ch    *link.Channel
	began bool // the answer has begun

	arrived chan struct{} // has one element if there is something new

	mu     sync.Mutex
	queue  []earlyMessage
	socket *edgeSocket // what the request has become; nil: it is a request
	ended  bool        // nothing more comes
	failed error       // the channel is over
}

// serve asks the member. It returns errRetry if another one has to be asked.
func (q *edgeRequest) serve(m Member) error {
	if q.head.Upgrade {
		defer q.c.beginUpgrade(q)()
	}
	ch, err := q.c.open(q.r.Context(), m, greeting(kindRequest, q.head), q)
	if err != nil {
		return err
	}
	q.ch = ch
	stop := context.AfterFunc(q.r.Context(), func() { notify(q.arrived) })
	defer stop()
	if q.body != nil {
		ctx, cancel := context.WithCancel(q.r.Context())
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			q.body.sendTo(ctx, ch)
		}()
		defer func() {
			cancel()
			<-sent
		}()
	}
	return q.answer()
}

// answer passes the answer on.
func (q *edgeRequest) answer() error {
	for {
		seq, p, ended, err := q.next()
		switch {
		case q.r.Context().Err() != nil:
			q.ch.Reset(codeCancelled, nil)
			err = errors.Join(errNoHome, context.Cause(q.r.Context()))
			fallthrough
		case err != nil:
			return q.fail(err)
		case ended:
			_ = q.ch.End(nil)
			return nil
		case len(p) == 0:
		case p[0] == msgHead:
			q.writeHead(p[1:])
		case p[0] == msgBody:
			_, err = q.w.Write(p[1:])
		case p[0] == msgTrailer:
			q.writeTrailer(p[1:])
		case p[0] == msgFlush:
			_ = http.NewResponseController(q.w).Flush()
		case p[0] == msgAbort:
			q.ch.Reset(codeCancelled, nil)
			panic(http.ErrAbortHandler) // as net/http
		case p[0] == msgAccept:
			q.ch.Consume(seq)
			return q.upgrade(p[1:])
		}
		if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) { // the client is gone, or the body is not the announced one
			q.ch.Reset(codeCancelled, nil)
			return q.fail(err)
		}
		q.ch.Consume(seq)
	}
}

// fail ends a request whose channel is over. As in net/http, the connection is cut if the answer has begun, or if the handler has panicked.
func (q *edgeRequest) fail(err error) error {
	reset, _ := errors.AsType[*link.ResetError](err)
	switch {
	case q.began, reset != nil && reset.Code == codeFailed:
		panic(http.ErrAbortHandler)
	case errors.Is(err, errNoHome):
		return err
	case q.mayRetry(err):
		return errRetry
	}
	return errHomeLost
}

// mayRetry reports whether another home may be asked: no handler has begun, or the request may be handled twice (RFC 9110 section 9.2.2).
func (q *edgeRequest) mayRetry(err error) bool {
	if q.body != nil && !q.body.isComplete() {
		return false
	}
	if isNotHome(err) {
		return true
	}
	return isLost(err) && (!q.ch.Sent() || q.head.Upgrade || q.body == nil && isIdempotent(q.head.Method))
}

func isIdempotent(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

// next waits for the next message, the end or the failure of the channel.
func (q *edgeRequest) next() (seq uint64, p []byte, ended bool, err error) {
	for {
		q.mu.Lock()
		switch {
		case q.r.Context().Err() != nil:
		case len(q.queue) > 0:
			m := q.queue[0]
			q.queue = q.queue[1:]
			q.mu.Unlock()
			return m.seq, m.p, false, nil
		case q.failed == nil && !q.ended:
			q.mu.Unlock()
			<-q.arrived
			continue
		}
		ended, err = q.ended, q.failed
		q.mu.Unlock()
		return 0, nil, ended, err
	}
}

func (q *edgeRequest) writeHead(content []byte) {
	var head responseHead
	if json.Unmarshal(content, &head) != nil || head.Status < 100 || head.Status > 999 { // net/http panics
		q.began = true
		q.body.closeUnlessRead(q.w, q.r)
		q.w.WriteHeader(http.StatusBadGateway)
		return
	}
	h := q.w.Header()
	if head.Status < 200 { // the answer comes later, with a header of its own
		before := maps.Clone(h)
		maps.Copy(h, head.Header)
		q.w.WriteHeader(head.Status)
		clear(h)
		maps.Copy(h, before)
		return
	}
	q.began = true
	maps.Copy(h, head.Header)
	q.body.closeUnlessRead(q.w, q.r)
	q.w.WriteHeader(head.Status)
}

// writeTrailer has net/http send what follows the body.
func (q *edgeRequest) writeTrailer(content []byte) {
	var trailer sentHeader
	if json.Unmarshal(content, &trailer) == nil {
		maps.Copy(q.w.Header(), trailer)
	}
}

// upgrade makes the client's connection a socket, as the object has answered.
func (q *edgeRequest) upgrade(content []byte) error {
	var accept acceptHead
	if err := json.Unmarshal(content, &accept); err != nil {
		q.ch.Reset(codeGone, nil)
		q.w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	opts := &edgews.UpgradeOptions{Options: accept.Options.options(), Header: http.Header(accept.Header)}
	opts.InsecureSkipOriginCheck = true                                               // the object has checked
	opts.Options.SendBuffer, opts.Options.Overflow = edgeBuffer, edgews.OverflowError // those of the object are the home's
	if size := opts.Options.MaxMessageSize; size <= 0 || size > maxClientMessage {
		opts.Options.MaxMessageSize = maxClientMessage
	}
	opts.Options.Logger = q.c.opts.Logger
	if accept.Protocol != "" {
		opts.Protocols = []string{accept.Protocol}
	}
	opened := time.Now() // before the client learns of it, which may then open the next one
	s, err := edgews.Upgrade(q.w, q.r, opts)
	if err != nil {
		q.ch.Reset(codeGone, nil)
		return nil
	}
	e := newEdgeSocket(q, accept, s, opened)
	e.accept() // before what the home has sent already is taken: a socket that is not accepted sends nothing
	q.become(e)
	e.begin()
	return nil
}

// edgeBuffer does not bound what waits for a client at its edge: edgeBacklog, the window of the channel and one message do.
const edgeBuffer = 1 << 30

// maxClientMessage is the largest message of a client, in bytes: it is one message of a link.
const maxClientMessage = 32 << 20

// become gives what arrives to e from now on, and what has arrived already.
func (q *edgeRequest) become(e *edgeSocket) {
	first := e.channel()
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.socket = e
			ended, failed := q.ended, q.failed
			q.mu.Unlock()
			if failed != nil {
				e.channel().Closed(failed)
			} else if ended {
				e.channel().Ended(nil)
			}
			q.ch.SetReceiver(first) // the request is not needed any more
			return
		}
		m := q.queue[0]
		q.queue = q.queue[1:]
		q.mu.Unlock()
		if e.channel().Message(m.seq, m.p) {
			q.ch.Consume(m.seq)
		}
	}
}

// became returns what the request has become, or nil.
func (q *edgeRequest) became() link.Receiver {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.socket == nil {
		return nil
	}
	return q.socket.channel()
}

// Message implements link.Receiver.
func (q *edgeRequest) Message(seq uint64, p []byte) bool {
	q.mu.Lock()
	if e := q.socket; e != nil {
		q.mu.Unlock()
		return e.channel().Message(seq, p)
	}
	q.queue = append(q.queue, earlyMessage{seq, bytes.Clone(p)})
	q.mu.Unlock()
	notify(q.arrived)
	return false
}

// SharedMessage implements link.SharedReceiver.
func (q *edgeRequest) SharedMessage(seq uint64, m *link.Shared) bool {
	q.mu.Lock()
	e := q.socket
	q.mu.Unlock()
	if e != nil {
		return e.channel().SharedMessage(seq, m)
	}
	return q.Message(seq, m.Payload)
}

// Ended implements link.Receiver.
func (q *edgeRequest) Ended(reason []byte) {
	if r := q.became(); r != nil {
		r.Ended(reason)
		return
	}
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	notify(q.arrived)
}

// Writable implements link.Receiver.
func (q *edgeRequest) Writable() {
	if r := q.became(); r != nil {
		r.Writable()
	}
}

// Closed implements link.Receiver.
func (q *edgeRequest) Closed(err error) {
	if r := q.became(); r != nil {
		r.Closed(err)
		return
	}
	q.mu.Lock()
	if q.failed = err; err == nil {
		q.ended = true
	}
	q.mu.Unlock()
	notify(q.arrived)
}

// Call implements edgews.Cluster. A call waits while its object has no home, until ctx ends.
func (c *Cluster) Call(ctx context.Context, key edgews.ObjectKey, method string, req json.RawMessage) (json.RawMessage, error) {
	head := callHead{target: targetOf(key), Method: method}
	for {
		o, m, err := c.home(ctx, c.shardOf(key))
		if err != nil {
			return nil, err
		}
		head.Epoch = o.Epoch
		if deadline, ok := ctx.Deadline(); ok {
			head.Timeout = max(time.Until(deadline), 1)
		}
		answer, err := c.callHome(ctx, m, &head, req)
		if !errors.Is(err, errRetry) {
			return answer, err
		}
		if err := c.retry(ctx); err != nil {
			return nil, err
		}
	}
}

// callHome makes a call of a member. It returns errRetry if another one has to be asked.
func (c *Cluster) callHome(ctx context.Context, m Member, head *callHead, req json.RawMessage) (json.RawMessage, error) {
	q := &edgeCall{done: make(chan struct{})}
	ch, err := c.open(ctx, m, greeting(kindCall, head), q)
	if err != nil {
		return nil, err
	}
	if _, err = ch.Send(ctx, req); err != nil && !errors.Is(err, link.ErrEnded) { // if it has ended, q.done says why
		ch.Reset(codeCancelled, nil)
		return nil, err
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		ch.Reset(codeCancelled, nil)
		return nil, ctx.Err()
	}
	_ = ch.End(nil)
	lost := isLost(q.err)
	switch {
	case isNotHome(q.err), lost && !ch.Sent():
		return nil, errRetry
	case lost:
		return nil, fmt.Errorf("%w: %w", errHomeLost, q.err)
	}
	return q.answer, q.err
}

// edgeCall is the receiver of the channel of a call.
type edgeCall struct {
	done   chan struct{}
	answer json.RawMessage // these two are set before done is closed
	err    error
	over   bool // owned by the link's goroutine
}

func (q *edgeCall) finish(answer []byte, err error) {
	if !q.over {
		q.over, q.answer, q.err = true, answer, err
		close(q.done)
	}
}

// Message implements link.Receiver.
func (q *edgeCall) Message(_ uint64, p []byte) bool {
	if len(p) == 0 {
		return true
	}
	switch p[0] {
	case msgResult:
		q.finish(bytes.Clone(p[1:]), nil)
	case msgError:
		var e sentError
		if err := json.Unmarshal(p[1:], &e); err != nil {
			q.finish(nil, err)
		}
		q.finish(nil, e.err())
	}
	return true
}

func (q *edgeCall) Ended([]byte) {}
func (q *edgeCall) Writable()    {}

// Closed implements link.Receiver.
func (q *edgeCall) Closed(err error) {
	if err == nil {
		err = link.ErrEnded
	}
	q.finish(nil, err)
}
