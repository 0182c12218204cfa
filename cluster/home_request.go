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
	"strings"
	"sync"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// homeRequest is a request from an edge, at the home: the receiver of its channel until the request becomes a socket.
type homeRequest struct {
	c    *Cluster
	ch   *link.Channel
	head *requestHead
	body *bodyReader
	h    *homeShard // set before the object gets the request

	cancel context.CancelCauseFunc

	mu     sync.Mutex
	conn   *homeConn // what the request has become; nil: it is a request
	failed error     // why the channel has ended
}

// acceptRequest begins to serve a request.
func (c *Cluster) acceptRequest(ch *link.Channel, head *requestHead) link.Receiver {
	ctx, cancel := context.WithCancelCause(context.Background())
	q := &homeRequest{c: c, ch: ch, head: head, cancel: cancel}
	q.body = &bodyReader{ch: ch, wake: make(chan struct{}, 1)}
	if !head.Body || head.Upgrade {
		q.body.end(io.EOF)
	}
	go q.serve(ctx)
	return q
}

// serve has the object answer.
func (q *homeRequest) serve(ctx context.Context) {
	defer q.cancel(nil)
	w := &homeWriter{q: q, header: make(http.Header)}
	err := q.run(ctx, w)
	q.mu.Lock()
	isSocket := q.conn != nil
	q.mu.Unlock()
	switch {
	case isSocket:
		q.conn.answer()
		q.ch.SetReceiver(q.conn) // the request is not needed any more
	case errors.Is(err, edgews.ErrNotHome) && !w.began:
		q.ch.Reset(codeNotHome, nil)
	case errors.Is(err, http.ErrAbortHandler) && w.began:
		w.sendBuffer()
		w.send([]byte{msgAbort}) // behind what the handler has flushed
		_ = q.ch.End(nil)
	case errors.Is(err, http.ErrAbortHandler):
		q.ch.Reset(codeFailed, nil)
	default:
		w.finish()
	}
	if !isSocket {
		q.body.discard()
	}
}

// run calls the object. A panic is http.ErrAbortHandler, as edgews has logged it.
func (q *homeRequest) run(ctx context.Context, w *homeWriter) (err error) {
	defer func() {
		if recover() != nil {
			err = http.ErrAbortHandler
		}
	}()
	host, id, err := q.c.object(q.head.target)
	if err != nil {
		return err
	}
	q.h = q.c.readyHome(ctx, q.c.shardOf(edgews.ObjectKey{Namespace: q.head.Namespace, ID: id}), q.head.Epoch)
	if q.h == nil {
		return edgews.ErrNotHome
	}
	r, err := q.head.request()
	if err != nil {
		http.Error(w, "the URL cannot be sent between the nodes of the cluster", http.StatusBadRequest)
		return err
	}
	if q.head.Body {
		r.Body = q.body
	}
	return host.ServeHTTP(id, w, r.WithContext(ctx), q.upgrade)
}

// upgrade makes the channel one for a socket.
func (q *homeRequest) upgrade(u edgews.ClusterUpgrade) (edgews.ClusterConn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed != nil {
		return nil, q.failed
	}
	conn := newHomeConn(q.c, q.ch, &socketHead{
		target: q.head.target, Shard: q.h.Shard, ConnKey: q.head.ConnKey, RemoteAddr: q.head.RemoteAddr, LocalAddr: q.head.LocalAddr,
	})
	conn.accept = &acceptHead{Header: sentHeader(u.Header), Protocol: u.Protocol, Options: sentOptionsOf(u.Options), Epoch: q.h.Epoch}
	q.conn = conn
	return conn, nil
}

// socket returns the socket that the request has become, or nil.
func (q *homeRequest) socket() *homeConn {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.conn
}

// Message implements link.Receiver.
func (q *homeRequest) Message(seq uint64, p []byte) bool {
	if conn := q.socket(); conn != nil {
		return conn.Message(seq, p)
	}
	if len(p) == 0 {
		q.body.end(io.ErrUnexpectedEOF)
		return true
	}
	return q.body.push(seq, p)
}

// Ended implements link.Receiver.
func (q *homeRequest) Ended(reason []byte) {
	if conn := q.socket(); conn != nil {
		conn.Ended(reason)
		return
	}
	q.body.end(io.EOF)
}

// Writable implements link.Receiver.
func (q *homeRequest) Writable() {
	if conn := q.socket(); conn != nil {
		conn.Writable()
	}
}

// Closed implements link.Receiver.
func (q *homeRequest) Closed(err error) {
	q.mu.Lock()
	if q.failed = err; err == nil {
		q.failed = link.ErrEnded
	}
	conn := q.conn
	q.mu.Unlock()
	if conn != nil {
		conn.Closed(err)
		return
	}
	if err != nil {
		q.body.end(err)
		q.cancel(err)
	}
}

// homeWriter is the ResponseWriter of a request from an edge. Like net/http it collects small writes until Flush.
type homeWriter struct {
	q      *homeRequest
	header http.Header
	began  bool
	left   int64  // how much of an announced body has not been written yet; negative: none was announced
	buf    []byte // a message of the body that is not sent yet; nil: there is none
	failed error
}

func (w *homeWriter) Header() http.Header { return w.header }

func (w *homeWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http
	}
	switch {
	case w.began || status == http.StatusSwitchingProtocols:
		return
	case status >= 200:
		w.began = true
		w.left = announcedLength(w.header)
	}
	w.send(message(msgHead, responseHead{status, sentHeader(w.header)}))
}

const (
	// maxBodyMessage is how much of a body is sent in one message.
	maxBodyMessage = 32 << 10
	// bodyBuffer is how much of a response is collected before it is sent without Flush.
	bodyBuffer = 4 << 10
)

func (w *homeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			return 0, http.ErrContentLength // as net/http
		}
		w.left -= int64(len(p))
	}
	for rest := p; len(rest) > 0 && w.failed == nil; {
		n := min(len(rest), maxBodyMessage-max(len(w.buf)-1, 0))
		if len(w.buf) == 0 {
			w.buf = append(w.buf, msgBody)
		}
		w.buf = append(w.buf, rest[:n]...)
		rest = rest[n:]
		if len(w.buf) > bodyBuffer {
			w.sendBuffer()
		}
	}
	if w.failed != nil {
		return 0, w.failed
	}
	return len(p), nil
}

func (w *homeWriter) sendBuffer() {
	if len(w.buf) > 0 {
		w.send(w.buf)
		w.buf = w.buf[:0] // Send has copied it
	}
}

// announcedLength returns the length of the body that a handler has announced, or -1.
func announcedLength(h http.Header) int64 {
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		return n
	}
	return -1
}

// Flush is http.Flusher.
func (w *homeWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	w.sendBuffer()
	w.send([]byte{msgFlush})
}

func (w *homeWriter) send(m []byte) {
	if w.failed == nil {
		_, w.failed = w.q.ch.Send(context.Background(), m) // the channel fails when the edge is dead, or does not wait any more
		if errors.Is(w.failed, link.ErrTooLarge) {         // the header
			w.q.ch.Reset(codeFailed, nil)
		}
	}
}

// finish ends the response.
func (w *homeWriter) finish() {
	w.WriteHeader(http.StatusOK)
	w.sendBuffer()
	if trailer := trailerOf(w.header); len(trailer) > 0 {
		w.send(message(msgTrailer, sentHeader(trailer)))
	}
	_ = w.q.ch.End(nil)
}

// trailerOf returns what a handler has set in its header to be sent behind the body, by both ways that net/http has.
func trailerOf(h http.Header) http.Header {
	trailer := make(http.Header)
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			trailer[name] = values
		}
	}
	for _, names := range h["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); h[name] != nil {
				trailer[name] = h[name]
			}
		}
	}
	return trailer
}

// bodyReader is a body that arrives on a channel.
type bodyReader struct {
	ch   *link.Channel
	wake chan struct{}

	mu   sync.Mutex
	buf  bytes.Buffer
	last uint64 // the sequence of the last message in buf
	err  error  // behind buf; nil: more may come
	over bool   // the handler has returned
}

// push adds a message. It returns true if the handler has returned.
func (b *bodyReader) push(seq uint64, p []byte) (consumed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return true
	}
	b.buf.Write(p)
	b.last = seq
	notify(b.wake)
	return false
}

// discard ends the body: the handler has returned. What has not been read would keep the channel.
func (b *bodyReader) discard() {
	b.end(http.ErrBodyReadAfterClose)
	b.mu.Lock()
	b.over = true
	b.buf = bytes.Buffer{}
	last := b.last
	b.mu.Unlock()
	if last != 0 {
		b.ch.Consume(last)
	}
}

func (b *bodyReader) end(err error) {
	b.mu.Lock()
	if b.err == nil {
		b.err = err
	}
	b.mu.Unlock()
	notify(b.wake)
}

func (b *bodyReader) Read(p []byte) (int, error) {
	for {
		b.mu.Lock()
		if b.buf.Len() > 0 {
			n, _ := b.buf.Read(p)
			last, empty := b.last, b.buf.Len() == 0
			b.mu.Unlock()
			if empty {
				b.ch.Consume(last)
			}
			return n, nil
		}
		err := b.err
		b.mu.Unlock()
		if err != nil {
			return 0, err
		}
		<-b.wake
	}
}

func (b *bodyReader) Close() error { return nil }

// acceptCall begins to serve a call.
func (c *Cluster) acceptCall(ch *link.Channel, head *callHead) link.Receiver {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &homeCall{c: c, ch: ch, head: head, ctx: ctx, cancel: cancel}
}

// homeCall is a call, at the home.
type homeCall struct {
	c      *Cluster
	ch     *link.Channel
	head   *callHead
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Message implements link.Receiver: the request.
func (q *homeCall) Message(_ uint64, p []byte) bool {
	go q.serve(bytes.Clone(p))
	return true
}

func (q *homeCall) serve(req json.RawMessage) {
	defer q.cancel(nil)
	ctx := q.ctx
	if q.head.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, q.head.Timeout)
		defer cancel()
		ctx = limited
	}
	answer, err := q.run(ctx, req)
	m := bytesMessage(msgResult, answer)
	switch {
	case errors.Is(err, edgews.ErrNotHome):
		q.ch.Reset(codeNotHome, nil)
		return
	case err != nil:
		m = message(msgError, errorToSend(err))
	}
	_, err = q.ch.Send(q.ctx, m)
	if errors.Is(err, link.ErrTooLarge) {
		_, err = q.ch.Send(q.ctx, message(msgError, sentError{Message: "edgews: the answer is too large: " + err.Error()}))
	}
	if err != nil {
		q.ch.Reset(codeFailed, nil)
		return
	}
	_ = q.ch.End(nil)
}

func (q *homeCall) run(ctx context.Context, req json.RawMessage) (json.RawMessage, error) {
	host, id, err := q.c.object(q.head.target)
	if err != nil {
		return nil, err
	}
	if q.c.readyHome(ctx, q.c.shardOf(edgews.ObjectKey{Namespace: q.head.Namespace, ID: id}), q.head.Epoch) == nil {
		return nil, edgews.ErrNotHome
	}
	return host.Call(ctx, id, q.head.Method, req)
}

// Ended implements link.Receiver.
func (q *homeCall) Ended([]byte) {}
func (q *homeCall) Writable()    {}

// Closed implements link.Receiver.
func (q *homeCall) Closed(err error) { q.cancel(err) }
