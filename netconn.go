package edgews

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// NetConn returns s as a [net.Conn], to tunnel a stream protocol through it. Each Write is sent as a message of
// the given kind; Read returns the data of the messages that arrive, one after the other, without their
// boundaries. It accepts s, if nobody has, for the pull style.
//
// Read returns [io.EOF] after a clean close with 1000, 1001 or no code. A message of another kind closes the
// socket with 1003. Write waits for room in the queue, as [Socket.Write] does. Deadlines work as net.Conn says:
// they may be changed at any time, a call that passes one returns [os.ErrDeadlineExceeded], and the connection
// can be used again afterwards. Close sends Close 1000 and does not wait. LocalAddr and RemoteAddr are those of the network
// connection, also after its end. For a pair, and for a connection that had ended before NetConn was called, they are of a network
// named "websocket"; they are never nil.
//
// Reads and writes may run at the same time; several reads, or several writes, take turns.
func NetConn(s *Socket, kind Kind) net.Conn {
	c := &netConn{s: s, kind: kind, readDeadline: newDeadline(), writeDeadline: newDeadline(), readToken: make(chan struct{}, 1)}
	c.addrs() // while the operating system can still tell them
	return c
}

type netConn struct {
	s    *Socket
	kind Kind

	readDeadline, writeDeadline *deadline

	// reading holds the one token of whoever reads. A mutex would stop a synctest bubble's clock while a Read
	// waits.
	readToken chan struct{}
	// Guarded by reading.
	message io.Reader

	mu            sync.Mutex
	local, remote net.Addr // nil: not known yet; guarded by mu
}

func (c *netConn) Read(p []byte) (int, error) {
	select {
	case c.readToken <- struct{}{}:
	case <-c.readDeadline.Done():
		return 0, c.readDeadline.Err()
	}
	defer func() { <-c.readToken }()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := c.nextMessage(); err != nil {
			return 0, c.readError(err)
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, c.readError(err)
		}
	}
}

func (c *netConn) nextMessage() error {
	if c.message != nil {
		return nil
	}
	kind, r, err := c.s.NextReader(c.readDeadline)
	if err != nil {
		return err
	}
	if kind != c.kind {
		_ = c.s.Close(StatusUnsupportedData, fmt.Sprintf("only %s messages are understood", c.kind))
		return fmt.Errorf("edgews: received a %s message on a NetConn for %s", kind, c.kind)
	}
	c.message = r
	return nil
}

// readError is err as the users of a net.Conn expect it.
func (c *netConn) readError(err error) error {
	if err != nil && endedWell(err) {
		return io.EOF
	}
	return err
}

func (c *netConn) Write(p []byte) (int, error) {
	err := c.s.Write(c.writeDeadline, c.kind, p)
	if errors.Is(err, ErrClosed) {
		return 0, fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *netConn) Close() error {
	c.s.mu.Lock()
	c.s.acceptForPullLocked()
	c.s.mu.Unlock()
	c.readDeadline.expire(net.ErrClosed)
	c.writeDeadline.expire(net.ErrClosed)
	if err := c.s.Close(StatusNormalClosure, ""); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

func (c *netConn) LocalAddr() net.Addr {
	local, _ := c.addrs()
	return local
}

func (c *netConn) RemoteAddr() net.Addr {
	_, remote := c.addrs()
	return remote
}

// addrs asks the connection until it has told both addresses, and remembers them.
func (c *netConn) addrs() (local, remote net.Addr) {
	w, ok := c.s.currentLink().(*wire)
	if !ok {
		return placeholderAddr("memory"), placeholderAddr("memory")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.local == nil || c.remote == nil {
		local, remote = w.conn.Addrs()
		c.local, c.remote = knownAddr(c.local, local), knownAddr(c.remote, remote)
	}
	return knownAddr(c.local, placeholderAddr("unknown")), knownAddr(c.remote, placeholderAddr("unknown"))
}

func knownAddr(a, b net.Addr) net.Addr {
	if a != nil {
		return a
	}
	return b
}

// placeholder is the address of a pair's end, or one that nobody knows any more.
type placeholderAddr string

func (placeholderAddr) Network() string  { return "websocket" }
func (p placeholderAddr) String() string { return string(p) }

func (c *netConn) SetDeadline(t time.Time) error {
	c.readDeadline.set(t)
	c.writeDeadline.set(t)
	return nil
}

func (c *netConn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return nil
}

func (c *netConn) SetWriteDeadline(t time.Time) error {
	c.writeDeadline.set(t)
	return nil
}

// deadline is a point in time that may be moved while calls wait for it, as a context for those calls.
type deadline struct {
	mu sync.Mutex
	// Guarded by mu.
	timer      *time.Timer
	done       chan struct{} // closed when the time has come; replaced when it is moved after that
	err        error         // why done is closed
	final      bool          // the connection is closed: there is no later
	generation int           // tells a timer that fires late that it has been replaced
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return
	}
	d.generation++
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.err != nil {
		d.done, d.err = make(chan struct{}), nil
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.expireLocked(os.ErrDeadlineExceeded)
		return
	}
	epoch := d.generation
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.generation == epoch {
			d.expireLocked(os.ErrDeadlineExceeded)
		}
	})
}

// expire ends everything that waits, now and later, with err.
func (d *deadline) expire(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.final {
		return
	}
	d.final = true
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.err == nil {
		d.expireLocked(err)
	}
	d.err = err
}

func (d *deadline) expireLocked(err error) {
	if d.err == nil {
		d.err = err
		close(d.done)
	}
}

// Deadline implements [context.Context]. Nothing that waits looks at it.
func (d *deadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements [context.Context].
func (d *deadline) Value(any) any { return nil }

// Done implements [context.Context].
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// Err implements [context.Context], with the errors of a net.Conn.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
