package edgewstest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listener is a [net.Listener] in memory. It knows which of its connections the program under test has not closed.
type listener struct {
	conns  chan *Conn    // dialed, not accepted
	closed chan struct{} // closed by Close
	once   sync.Once

	mu      sync.Mutex
	changed sync.Cond // with mu
	// Guarded by mu.
	dialed   int // the number of connections so far
	called   int // the number of calls of the handler so far
	open     map[*link]*openConn
	handlers map[*handlerCall]bool
}

// openConn is a connection that the program under test has not closed.
type openConn struct {
	watched *Conn  // the end that it has to close
	number  int    // the first is 1
	use     string // what the connection was used for last, such as "GET /chat"; "": nothing yet
}

// handlerCall is a running call of the handler.
type handlerCall struct {
	number    int
	conn      *Conn  // the server's end
	request   string // such as "GET /chat"
	goroutine string // such as "goroutine 17 "
}

func newListener() *listener {
	l := &listener{
		conns: make(chan *Conn), closed: make(chan struct{}), open: make(map[*link]*openConn), handlers: make(map[*handlerCall]bool),
	}
	l.changed.L = &l.mu
	return l
}

// newConn returns the two ends of a new connection. If watchClient, the program under test has to close the client's end, otherwise the
// server's.
func (l *listener) newConn(watchClient bool) (client, server *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialed++
	client, server = newConns(clientAddr(l.dialed), serverAddr)
	watched := server
	if watchClient {
		watched = client
	}
	l.open[watched.out.link] = &openConn{watched: watched, number: l.dialed}
	watched.onClose = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, watched.out.link)
		l.changed.Broadcast()
	}
	return client, server
}

// connect gives server, one end of a new connection, to Accept.
func (l *listener) connect(ctx context.Context, client, server *Conn) error {
	var err error
	select {
	case l.conns <- server:
		return nil
	case <-l.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	client.Close()
	server.Close()
	return &net.OpError{Op: "dial", Net: "memory", Addr: serverAddr, Err: err}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "memory", Addr: serverAddr, Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return serverAddr }

// uses notes for what a connection, of which conn is an end, is used.
func (l *listener) uses(conn *Conn, use string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usesLocked(conn, use)
}

func (l *listener) usesLocked(conn *Conn, use string) {
	if conn == nil {
		return
	}
	if c := l.open[conn.out.link]; c != nil {
		c.use = use
	}
}

// handlerStarts notes that a handler runs for a request of a connection, until ended is called.
func (l *listener) handlerStarts(conn *Conn, request string) (ended func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usesLocked(conn, request)
	l.called++
	call := &handlerCall{number: l.called, conn: conn, request: request, goroutine: goroutine()}
	l.handlers[call] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.handlers, call)
		l.changed.Broadcast()
	}
}

// hangUp cuts all connections that the program under test has not closed, through all faults.
func (l *listener) hangUp() {
	for _, c := range l.openConns() {
		c.out.link.hangUp()
	}
}

// closeAll closes the ends of the program under test.
func (l *listener) closeAll() {
	for _, c := range l.openConns() {
		c.Close()
	}
}

// openConns returns the ends that the program under test has not closed.
func (l *listener) openConns() (ends []*Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		ends = append(ends, c.watched)
	}
	return ends
}

// awaitEnd waits until the program under test has closed its ends and no handler runs. It returns false after patience.
func (l *listener) awaitEnd() bool {
	late := time.Now().Add(patience)
	defer time.AfterFunc(patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	}).Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open)+len(l.handlers) > 0 {
		if !time.Now().Before(late) {
			return false
		}
		l.changed.Wait()
	}
	return true
}

// reportHandlers reports the handlers that still run, with what they do.
func (l *listener) reportHandlers(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	calls := slices.SortedFunc(maps.Keys(l.handlers), func(a, b *handlerCall) int { return a.number - b.number })
	l.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	stacks := allStacks()
	for _, call := range calls {
		t.Errorf("edgewstest: the handler of %s still runs, %v after all connections have ended. It waits here:\n\n%s",
			call.request, patience, stackOf(stacks, call.goroutine))
	}
}

// reportConns reports the connections that the program under test has not closed.
func (l *listener) reportConns(t testing.TB, advice string) {
	t.Helper()
	for _, c := range l.leakedConns() {
		use := c.use
		if use == "" {
			use = "no request"
		}
		t.Errorf("edgewstest: connection %d (%s) is still open, %v after its other end has gone: %s", c.number, use, patience, advice)
	}
}

// leakedConns returns the connections that the program under test has not closed, except those whose handler still runs: net/http may close
// them afterwards.
func (l *listener) leakedConns() []*openConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	leaked := maps.Clone(l.open)
	for call := range l.handlers {
		if call.conn != nil {
			delete(leaked, call.conn.out.link)
		}
	}
	return slices.SortedFunc(maps.Values(leaked), func(a, b *openConn) int { return a.number - b.number })
}

// stackOf returns the stack of a goroutine.
func stackOf(stacks, goroutine string) string {
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if strings.HasPrefix(stack, goroutine) {
			return stack
		}
	}
	return fmt.Sprintf("(%s has no stack)", strings.TrimSpace(goroutine))
}
