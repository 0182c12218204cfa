package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// ServeHTTP implements edgews.Cluster. A request waits while its object has no home, until its context ends.
func (c *Cluster) ServeHTTP(key edgews.ObjectKey, w http.ResponseWriter, r *http.Request) {
	head := c.requestHeadOf(key, r)
	for {
		_, m, err := c.home(r.Context(), c.shardOf(key))
		if err == nil {
			q := &edgeRequest{c: c, key: key, head: head, w: w, r: r, arrived: make(chan struct{}, 1)}
			err = q.serve(m)
		}
		switch {
		case err == nil:
			return
		case errors.Is(err, errRetry):
			err = c.awaitRetry(r.Context())
		}
		if err != nil {
			if r.Context().Err() == nil {
				w.Header().Set("Retry-After", "1")
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
			return
		}
	}
}

// errRetry: the node that was asked is not the object's home, and nothing has been read of the request.
var errRetry = errors.New("edgews: not the home of the object")

func (c *Cluster) requestHeadOf(key edgews.ObjectKey, r *http.Request) *requestHead {
	head := &requestHead{
		target: targetOf(key), Method: r.Method, URL: r.URL.RequestURI(), Host: r.Host, Proto: [2]int{r.ProtoMajor, r.ProtoMinor},
		RemoteAddr: r.RemoteAddr, Header: r.Header, ContentLength: r.ContentLength, Body: r.Body != nil && r.Body != http.NoBody, TLS: r.TLS != nil,
		Upgrade: edgews.IsUpgrade(r),
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer); ok {
		head.LocalAddr = local.String()
	}
	if head.Upgrade {
		head.Body = false
		head.ConnKey = c.token + strconv.FormatUint(c.lastConn.Add(1), 36)
	}
	return head
}

// edgeRequest is a request on the node that has got it: the receiver of its channel until it becomes a socket.
type edgeRequest struct {
	c    *Cluster
	key  edgews.ObjectKey
	head *requestHead
	w    http.ResponseWriter
	r    *http.Request
	ch   *link.Channel

	arrived chan struct{} // has one element if there is something new

	mu     sync.Mutex
	queue  []earlyMessage
	socket *edgeSocket // what the request has become; nil: it is a request
	ended  bool        // nothing more comes
	failed error       // the channel is over
}

// serve asks the member. It returns errRetry if another one has to be asked.
func (q *edgeRequest) serve(m Member) error {
	ch, err := q.c.open(q.r.Context(), m, greeting(kindRequest, q.head), q)
	if err != nil {
		return err
	}
	q.ch = ch
	stop := context.AfterFunc(q.r.Context(), func() { notify(q.arrived) })
	defer stop()
	sent := make(chan struct{})
	if q.head.Body {
		go func() {
			defer close(sent)
			q.sendBody()
		}()
		defer func() { <-sent }() // net/http does not allow reads of the body after the handler
	}
	return q.answer()
}

// sendBody sends the body of the request.
func (q *edgeRequest) sendBody() {
	buf := make([]byte, maxBodyMessage)
	for {
		n, err := q.r.Body.Read(buf)
		if n > 0 {
			if _, err := q.ch.Send(q.r.Context(), buf[:n]); err != nil {
				return
			}
		}
		switch {
		case err == io.EOF:
			_ = q.ch.End(nil)
			return
		case err != nil:
			q.ch.Reset(codeCancelled, nil)
			return
		}
	}
}

// answer passes the answer on.
func (q *edgeRequest) answer() error {
	began := false
	for {
		seq, p, ended, err := q.next()
		switch {
		case q.r.Context().Err() != nil:
			q.ch.Reset(codeCancelled, nil)
			return nil
		case err != nil && began:
			panic(http.ErrAbortHandler) // as net/http's ReverseProxy does
		case isNotHome(err) && !q.head.Body, errors.Is(err, link.ErrReplaced), errors.Is(err, link.ErrRemoved) && q.head.Upgrade:
			return errRetry
		case err != nil:
			q.w.WriteHeader(http.StatusBadGateway)
			return nil
		case ended:
			_ = q.ch.End(nil)
			return nil
		case len(p) == 0:
		case p[0] == msgHead:
			began = true
			q.writeHead(p[1:])
		case p[0] == msgBody:
			_, _ = q.w.Write(p[1:])
			_ = http.NewResponseController(q.w).Flush()
		case p[0] == msgAccept:
			q.ch.Consume(seq)
			return q.upgrade(p[1:])
		}
		q.ch.Consume(seq)
	}
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
	if json.Unmarshal(content, &head) != nil {
		q.w.WriteHeader(http.StatusBadGateway)
		return
	}
	h := q.w.Header()
	for name, values := range head.Header {
		h[name] = values
	}
	q.w.WriteHeader(head.Status)
}

// upgrade makes the client's connection a socket, as the object has answered.
func (q *edgeRequest) upgrade(content []byte) error {
	var accept acceptHead
	if err := json.Unmarshal(content, &accept); err != nil {
		q.ch.Reset(codeGone, nil)
		q.w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	opts := &edgews.UpgradeOptions{Options: accept.Options.options(), Header: accept.Header, InsecureSkipOriginCheck: true} // the object has checked
	opts.Options.SendBuffer = max(opts.Options.SendBuffer, minEdgeBuffer)
	opts.Options.Logger = q.c.opts.Logger
	if accept.Protocol != "" {
		opts.Protocols = []string{accept.Protocol}
	}
	s, err := edgews.Upgrade(q.w, q.r, opts)
	if err != nil {
		q.ch.Reset(codeGone, nil)
		return nil
	}
	e := newEdgeSocket(q, accept.Options, s)
	q.become(e)
	e.begin()
	return nil
}

// minEdgeBuffer is the least that the queue of a client takes at its edge: the home's SendBuffer bounds what waits there.
const minEdgeBuffer = 256 << 10

// become gives what arrives to e from now on, and what has arrived already.
func (q *edgeRequest) become(e *edgeSocket) {
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
	if deadline, ok := ctx.Deadline(); ok {
		head.Timeout = time.Until(deadline)
	}
	for {
		_, m, err := c.home(ctx, c.shardOf(key))
		if err != nil {
			return nil, err
		}
		q := &edgeCall{done: make(chan struct{})}
		ch, err := c.open(ctx, m, greeting(kindCall, head), q)
		if err == nil {
			_, err = ch.Send(ctx, req)
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			ch.Reset(codeCancelled, nil)
			return nil, ctx.Err()
		}
		_ = ch.End(nil)
		if isNotHome(q.err) {
			if err := c.awaitRetry(ctx); err != nil {
				return nil, err
			}
			continue
		}
		return q.answer, q.err
	}
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
