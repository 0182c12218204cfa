package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/frame"
	"github.com/edgews/edgews/internal/park"
	"github.com/edgews/edgews/internal/ratelimit"
)

// wireConfig is what a handshake has led to.
type wireConfig struct {
	conn     net.Conn
	buffered []byte // bytes that came behind the handshake: read first
	client   bool   // we are the client: we mask
	opts     *Options
	deflate  *deflate.Params // nil: no compression
	meter    *Meter          // nil: none
	object   *object         // the one that pays, if one does
	pass     quotaPass       // of the quotas

	url, protocol, extensions string
}

func (c *wireConfig) identity() identity { return identity{c.url, c.protocol, c.extensions} }

// wire is the link of a socket to a network connection. It has no goroutine: it is told what arrives, in the connection's
// turn, delivers it there, and whoever finds the outbox idle writes it.
//
// Most connections are silent most of the time. What a silent one needs is here, and the rest is borrowed. On 64 bits, in
// bytes: s 8, filters 8, conn 48 (handler 16, stream 8, and its place on the loop 24), out 8, three monoMillis 12, incoming 8, the
// flags 4. With the Socket and the mutex, which are allocated together with it (mu 8, opts 8, link 16, onMessage 8, extra 8,
// accepted 4, status 4; the mutex itself 8), that makes 160. One listener for messages is in there; the loop's table has 12
// for each connection. With them Go holds about 35 more after a collection: ends of spans, their books, stacks that goroutines of
// net/http have left. Between collections there is as much garbage again as the collector allows (GOGC). Compression without
// takeover adds 80, the filters; what has been agreed on is shared.
type wire struct {
	// Immutable after construction.
	s *Socket
	*filters

	conn park.Conn

	*incoming         // nil: nothing has begun to arrive; owned by the connection's turn
	out       *outbox // nil: nothing is being sent; guarded by the socket's mu

	// Guarded by the socket's mu.
	peerDeadline monoMillis // until when the peer has to answer a ping (pinged), send its Close or hang up; 0: no limit
	lastReceived monoMillis // when bytes last arrived; 0: we wait for the application, not for the peer
	lastSent     monoMillis // when the connection last took bytes

	// Owned by the connection's turn.
	readingPaused bool // nothing is read until the application has done something
	direct        bool // what is being read goes straight into the message
	lingering     bool // the last event has been delivered: what arrives is dropped

	client bool // we are the client: we mask; immutable
}

// filters are what messages pass on their way.
type filters struct {
	deflater *deflater // nil: no compression
	inflater *deflate.Decompressor
	limiter  *ratelimit.Limiter
}

// noFilters is shared by all sockets that have none.
var noFilters filters

// newSocket returns a socket over a connection, to be accepted.
func newSocket(c wireConfig) *Socket {
	together := new(struct { // they live and die together
		s  Socket
		w  wire
		mu sync.Mutex
	})
	s := &together.s
	s.mu, s.opts, s.socketExtra = &together.mu, c.opts, &noExtra
	s.describeLocked(c.identity())
	s.link = together.w.init(s, c)
	return s
}

func newWire(s *Socket, c wireConfig) *wire { return new(wire).init(s, c) }

func (w *wire) init(s *Socket, c wireConfig) *wire {
	w.s, w.client, w.filters = s, c.client, newFilters(c)
	w.conn.Init(c.conn, w)
	s.startCounterLocked(c.meter, c.object, !c.client)
	if len(c.buffered) > 0 {
		w.keepEarly(c.buffered, c.opts.MaxMessageSize)
	}
	return w
}

func newFilters(c wireConfig) *filters {
	limiter := ratelimit.New(c.opts.RateLimit.Messages, c.opts.RateLimit.Bytes)
	if limiter == nil && c.deflate == nil {
		return &noFilters
	}
	f := new(filters)
	if p := c.deflate; p != nil {
		f = newDeflateFilters(*p, c.client, c.opts.Compression)
	}
	f.limiter = limiter
	return f
}

// startLocked begins to read.
func (w *wire) startLocked() {
	w.lastReceived = nowMillis()
	w.lastSent = w.lastReceived
	w.s.counter.registerLocked()
	early := w.incoming != nil
	w.conn.Start()
	if d := w.s.opts.KeepAlive; d > 0 && !w.s.is(ended) { // a Close may have been faster
		w.setTimerLocked(d)
	}
	if early || w.s.is(ended) {
		w.conn.Wake()
	}
}

// Woken implements [park.Handler].
func (w *wire) Woken() {
	if w.lingering {
		w.closeConnIfDone()
		return
	}
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	switch {
	case w.isOpening(): // finishOpening wakes it again
	case !w.alive():
		w.finishAndLinger()
	case w.readingPaused:
		w.finishRead(w.resume(), nil)
	}
	returned = true
}

// ReadEnded implements [park.Handler].
func (w *wire) ReadEnded(err error) {
	w.s.mu.Lock()
	w.s.loseLocked(w.lossLocked(err))
	w.s.mu.Unlock()
	if !w.lingering {
		w.deliverLastEvents()
		w.lingering = true
		w.dropInput()
	}
	if !endOfStream(err) || !w.staysOpenForWriting() {
		w.closeConn()
	}
}

func (w *wire) deliverLastEvents() {
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	w.s.finish()
	returned = true
}

// listenerFailed continues after a listener has not returned: the socket fails. cause is what the listener has panicked with; nil: it has called
// runtime.Goexit, as failing tests do. Then another goroutine delivers the rest. survive is called by a deferred function.
func (w *wire) listenerFailed(cause any) {
	w.conn.Cork(false)
	if cause == nil {
		w.s.fail(StatusInternalError, "internal error", errGoexit)
		w.Flush()
		w.conn.Wake()
		return
	}
	w.s.panicked(w.s.recovered(cause))
	w.readingPaused = false
	w.finishReadAfterPanic()
}

// finishReadAfterPanic is finishRead after a listener has panicked.
func (w *wire) finishReadAfterPanic() {
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	w.finishRead(false, nil)
	returned = true
}

var errGoexit = errors.New("edgews: listener ended its goroutine")

// lossLocked is what there is to tell about the end of a connection: nothing, if it has taken everything that
// was sent. mu must be held.
func (w *wire) lossLocked(err error) error {
	switch {
	case w.out == nil:
		return nil
	case w.out.err == nil && w.out.payload > 0:
		return fmt.Errorf("edgews: connection lost with %d bytes unsent: %w", w.out.payload, err)
	}
	return w.out.err
}

// header returns the header of a frame of ours, complete except for its length.
func (w *wire) header(op frame.Opcode) frame.Header {
	h := frame.Header{Fin: true, Opcode: op, Masked: w.client}
	if w.client {
		// RFC 6455 §5.3: unpredictable. The top-level functions draw on ChaCha8 seeded by the system.
		binary.NativeEndian.PutUint32(h.Key[:], rand.Uint32())
	}
	return h
}

func (w *wire) takenLocked(*item) {}

func (w *wire) bufferedLocked() (payload, size int) {
	if w.out == nil {
		return 0, 0
	}
	return w.out.payload, w.out.size
}

// failLocked has the turn look up.
func (w *wire) endedLocked() {
	if w.s.is(lost) {
		w.conn.Wake()
	}
	w.resumeReadingLocked()
}
