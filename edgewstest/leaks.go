package edgewstest

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

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

// goroutine returns what the stack of the calling goroutine begins with, such as "goroutine 17 ".
func goroutine() string {
	var buf [64]byte
	stack := string(buf[:runtime.Stack(buf[:], false)])
	number, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
	return "goroutine " + number + " "
}

// allStacks returns the stacks of all goroutines.
func allStacks() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}
