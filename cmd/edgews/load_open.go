package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// loadSocket is one of the sockets of load.
type loadSocket struct {
	load    *load
	socket  *edgews.Socket
	number  int // from 1
	stalled bool

	mu      sync.Mutex
	sent    int       // messages
	pending []pending // messages that have not been sent back yet, the oldest first; only with -echo
}

// pending is a message that the server has to send back.
type pending struct {
	n   int       // of the socket, from 1
	due time.Time // when it had to be sent
}

// openAll opens n sockets at the rate of -rate, and returns when all attempts have ended, or soon after ctx has.
func (l *load) openAll(ctx context.Context, opts *edgews.DialOptions, n int) {
	attempts := make(chan struct{}, l.dialing)
	var running sync.WaitGroup
	defer running.Wait()
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(float64(i) / l.rate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			return
		}
		select {
		case attempts <- struct{}{}:
		default:
			l.limits.waitForServer()
			select {
			case attempts <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
		running.Go(func() {
			defer func() { <-attempts }()
			l.openOne(ctx, opts, i+1, due)
		})
	}
}

// openOne opens a socket, whose handshake should have begun at due.
func (l *load) openOne(ctx context.Context, opts *edgews.DialOptions, number int, due time.Time) {
	stalled := number <= l.stalled
	if stalled {
		narrow := *opts
		narrow.HTTPClient = &http.Client{Transport: l.narrowTransport(), Timeout: l.timeout}
		opts = &narrow
	}
	s, resp, err := edgews.Dial(ctx, l.url, opts)
	if err != nil {
		if ctx.Err() == nil {
			l.notOpened(refusal(err, resp))
		}
		return
	}
	l.opening.record(time.Since(due))
	one := &loadSocket{load: l, socket: s, number: number, stalled: stalled}
	l.mu.Lock()
	l.count.tried++
	l.count.opened++
	l.open = append(l.open, one)
	l.mu.Unlock()
	if stalled {
		return // a socket that is not accepted reads nothing
	}
	s.OnMessage(one.received)
	s.OnClose(func(e edgews.CloseEvent) { l.socketEnded(closeError(e)) })
	if err := s.Accept(); err != nil {
		l.socketEnded(err)
	}
}

// narrowTransport returns a transport for a socket that stalls: the system buffers as little for it as possible, so that the server notices soon.
func (l *load) narrowTransport() *http.Transport {
	t := l.transport()
	t.DialContext = (&net.Dialer{Control: smallReceiveBuffer}).DialContext
	return t
}

// notOpened counts an attempt that has failed.
func (l *load) notOpened(err error) {
	l.limits.failed(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.tried++
	if l.first == nil {
		l.first = err
	}
	countReason(l.count.failed, err)
}

// socketEnded counts a socket that has ended: as lost, unless load is closing it.
func (l *load) socketEnded(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.ended++
	if !l.count.closing {
		countReason(l.count.lost, err)
	}
}

// closeError returns what a close event says, as the error that Socket.Err returns after it.
func closeError(e edgews.CloseEvent) error {
	return &edgews.CloseError{Code: e.Code, Reason: e.Reason, WasClean: e.WasClean}
}

// maxReasons is how many different reasons are counted one by one: texts of errors may have addresses in them.
const maxReasons = 12

func countReason(reasons map[string]int, err error) {
	text := reasonText(err)
	if _, known := reasons[text]; !known && len(reasons) >= maxReasons {
		text = "other reasons"
	}
	reasons[text]++
}

// reasonText returns a text for err without the addresses of one connection, so that equal errors have equal texts.
func reasonText(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return escape(fmt.Sprintf("%s: %s", op.Op, op.Err), onOneLine)
	}
	return errorText(err)
}

// closeAll closes the sockets and waits for their ends, which Options.CloseTimeout bounds.
func (l *load) closeAll() {
	l.mu.Lock()
	l.count.closing = true
	sockets := l.open
	l.mu.Unlock()
	for _, one := range sockets {
		if one.stalled {
			_ = one.socket.Accept() // only an accepted socket can be closed
		}
		_ = one.socket.Close(edgews.StatusNormalClosure, "") // ErrClosed: it has ended already
	}
	for _, one := range sockets {
		<-one.socket.Done()
	}
}

// sleepUntil waits until due and reports whether ctx has not ended.
func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
