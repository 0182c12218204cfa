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
	"github.com/edgews/edgews/internal/outbox"
	"github.com/edgews/edgews/internal/park"
	"github.com/edgews/edgews/internal/ratelimit"
)

// wireConfig is what newSocket needs to know of a connection after its opening handshake.
type wireConfig struct {
	conn     net.Conn
	buffered []byte // bytes that arrived behind the handshake; they are read first
	client   bool   // this end is the client, which masks its frames (RFC 6455 §5.3)
	opts     *Options
	deflate  *deflate.Params // nil: no compression
	meter    *Meter          // nil: none
	object   *object         // the object to which the socket's usage is charged; nil: none
	pass     quotaPass       // usage reserved in the quotas until newSocket counts it
	places   places          // reserved in rosters until the socket joins them

	url, protocol, extensions string
	where                     string // as in identity
}

func (c *wireConfig) identity() identity {
	return identity{url: c.url, protocol: c.protocol, extensions: c.extensions, where: c.where}
}

// wire is the link of a socket to a network connection. It has no goroutine of its own. It is the [park.Handler] of the connection:
// Received and Woken run in the connection's turn, which is the exclusive right to read the connection and to run its handler. They
// decode frames and call the listeners. A goroutine that adds a frame to the outbox also writes it, unless another goroutine is writing
// or the write is deferred to the end of a turn.
//
// Most connections are idle most of the time, so a wire has only the fields that an idle connection needs. It takes an incoming and an outbox
// from pools while messages arrive or leave. On a 64-bit system a wire has 96 bytes: s 8, filters 8, conn 48 (handler 16, offLoop 8,
// slot on the loop 24), incoming 8, out 8, three monoMillis 12, flags 4. newSocket allocates it together with the Socket, 72 bytes (mu 8, id 8,
// opened 8, opts 8, link 16, onMessage 8, socketExtra 8, accepted 4, phase 1, consumer 1, facts 2), and the mutex, 8 bytes: 176 in all, which includes one listener
// for messages. The loop's table takes 12 bytes more for each connection. After a garbage collection the runtime holds about 35 bytes
// more for each: unused ends of spans, their metadata, and stacks left by net/http's goroutines. Between collections the heap also
// contains the garbage that GOGC allows. Compression without context takeover adds the filters, 80 bytes; sockets share the identity.
type wire struct {
	// Immutable after construction.
	s *Socket
	*filters

	conn park.Conn

	*incoming                // nil: no message has arrived in part or waits; owned by the connection's turn
	out       *outbox.Outbox // nil: nothing is being sent; guarded by the socket's mu

	// Guarded by the socket's mu.
	peerDeadline monoMillis // by when the peer must answer a ping (pinged), send its Close frame or close the connection; 0: no deadline
	lastReceived monoMillis // when bytes last arrived; 0: reading waits for the application, not for the peer
	lastSent     monoMillis // when the connection last took bytes

	// Owned by the connection's turn.
	readingPaused bool          // nothing is read until Woken calls resume
	lingering     bool          // the last event has been delivered: received bytes are dropped
	readSize      park.ReadSize // of the next message: see chooseReadSize

	client bool // this end is the client, which masks its frames; immutable
}

// filters compress, inflate and limit the messages of a socket.
type filters struct {
	deflater *deflater             // nil: no compression
	inflater *deflate.Decompressor // nil: no compression
	limiter  *ratelimit.Limiter    // nil: Options.RateLimit is not set
}

// noFilters is the value of all sockets without filters.
var noFilters filters

// newSocket returns a socket over a connection, not accepted yet.
func newSocket(c wireConfig) *Socket {
	together := new(struct { // one allocation: none of the three outlives the others
		s  Socket
		w  wire
		mu sync.Mutex
	})
	s := &together.s
	s.mu, s.id, s.opts, s.socketExtra = &together.mu, newSocketID(), c.opts, &noExtra
	s.describeLocked(c.identity())
	s.link = together.w.init(s, c)
	return s
}

// newWire returns the link of s to a connection, for a socket that exists already.
func newWire(s *Socket, c wireConfig) *wire { return new(wire).init(s, c) }

// init makes w the link of s and starts counting its usage. It returns w.
func (w *wire) init(s *Socket, c wireConfig) *wire {
	w.s, w.client, w.filters = s, c.client, newFilters(c)
	w.conn.Init(c.conn, w)
	s.startCounterLocked(c.meter, c.object, !c.client)
	if len(c.buffered) > 0 {
		w.keepEarly(c.buffered, c.opts.MaxMessageSize)
	}
	return w
}

// newFilters returns the filters that the handshake has negotiated and the options ask for.
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

// startLocked starts reading, writing and keep-alive, after the socket has been accepted. mu must be held.
func (w *wire) startLocked() {
	w.lastReceived = nowMillis()
	w.lastSent = w.lastReceived
	w.s.counter.registerLocked()
	early := w.incoming != nil
	if w.conn.ForgetsPeer() {
		w.s.keepAddrsLocked(w.connAddrs().orUnknown())
	}
	w.conn.Start()
	if d := w.s.opts.KeepAlive; d > 0 && !w.s.hasEndedLocked() { // Close or a lost connection may have ended the socket before
		w.setTimerLocked(d)
	}
	if early || w.s.hasEndedLocked() {
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
	case w.isOpening(): // the open listeners run: finishOpening calls Wake
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

// deliverLastEvents calls finish. A panic of a listener does not leave it.
func (w *wire) deliverLastEvents() {
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	w.releaseHandler()
	w.s.finish()
	returned = true
}

// listenerFailed fails the socket after a listener has panicked with cause. If cause is nil, the listener has called runtime.Goexit, as
// failing tests do: this goroutine ends, and Wake has another one deliver the last events. Deferred functions call listenerFailed.
func (w *wire) listenerFailed(cause any) {
	w.conn.Cork(false)
	if cause == nil {
		w.s.endFailedTurnMessage()
		w.s.fail(StatusInternalError, "internal error", errGoexit)
		w.Flush(nil)
		w.conn.Wake()
		return
	}
	err := w.s.recovered(cause)
	w.s.endFailedTurnMessage()
	w.s.panicked(err)
	w.readingPaused = false
	w.finishReadAfterPanic()
}

// finishReadAfterPanic is finishRead after a listener has panicked. finishRead calls listeners too, which may panic as well.
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

// errGoexit is the reason for the end of a socket whose listener has called runtime.Goexit.
var errGoexit = errors.New("edgews: listener ended its goroutine")

// lossLocked returns the error for a connection that has ended with err: the write error, or one with the number of unsent bytes. It
// returns nil if everything has been written. mu must be held.
func (w *wire) lossLocked(err error) error {
	if w.out != nil && w.out.Err != nil {
		return w.out.Err
	}
	if unsent, _ := w.s.bufferedLocked(); unsent > 0 {
		return fmt.Errorf("edgews: connection lost with %d bytes unsent: %w", unsent, err)
	}
	return nil
}

// header returns the header of a frame to send, complete except for the length.
func (w *wire) header(op frame.Opcode) frame.Header {
	h := frame.Header{Fin: true, Opcode: op, Masked: w.client}
	if w.client {
		// RFC 6455 §5.3: masking keys must be unpredictable. math/rand/v2's top-level functions use ChaCha8, seeded by the system.
		binary.NativeEndian.PutUint32(h.Key[:], rand.Uint32())
	}
	return h
}

// takenLocked does nothing: a received message never counts as BufferedAmount of a wire. mu must be held.
func (w *wire) takenLocked(*item) {}

// frameSize implements link.
func (w *wire) frameSize(body, _ int) int { return frame.Size(body, w.client) }

// bufferedLocked returns what has not been written, in bytes of payload and in bytes that count against SendBuffer. mu must be held.
func (w *wire) bufferedLocked() (payload, size int) {
	if w.out == nil {
		return 0, 0
	}
	return w.out.Payload, w.out.Size
}

// isParkedLocked reports whether the connection waits on the event loop, and neither has received a part of a message nor has anything to
// write. mu must be held.
func (w *wire) isParkedLocked() bool {
	if w.out != nil || !w.conn.TryTurn() {
		return false
	}
	defer w.conn.ReturnTurn()
	return w.incoming == nil
}

// addrs asks the connection for its addresses. Once it is closed, they have been kept: see keepAddrs.
func (w *wire) addrs() addrs {
	a := w.connAddrs()
	if a.local != nil && a.remote != nil {
		return a
	}
	w.s.mu.Lock()
	kept := w.s.keptAddrs
	w.s.mu.Unlock()
	if kept != nil { // while the connection was asked, it was closed
		return *kept
	}
	return a.orUnknown()
}

func (w *wire) connAddrs() (a addrs) {
	a.local, a.remote = w.conn.Addrs()
	return a
}

// keepAddrs keeps the addresses of a connection that is about to be closed.
func (w *wire) keepAddrs() {
	a := w.s.addrs() // those that have been kept, if closeWriteSide came before
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.keptAddrs == nil {
		w.s.keepAddrsLocked(a)
	}
}

// endedLocked wakes the turn, which delivers the last events, after the socket has ended. mu must be held.
func (w *wire) endedLocked() {
	if w.s.is(lost) {
		w.conn.Wake()
	}
	w.resumeReadingLocked()
}
