package edgews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// Relay forwards messages between a and b in both directions. It returns when both sockets have ended, with a [*RelayError] that says which
// of them ended first, and how; it never returns nil.
//
// A message arrives whole, with its kind. One that is still arriving is forwarded piece by piece, so a message of any size needs little
// memory; the pieces may be cut elsewhere than the sender has cut them. If one side does not take its messages, Relay stops reading from
// the other side: at most about the SendBuffer of one socket and 64 KiB of the other wait in each direction. Compression, keep-alive, pings
// and limits are those of each socket's own options: pings are answered and not forwarded.
//
// When one side sends a Close, the other one gets it after all messages before it, with the same code and reason; one without a code stays
// without. When a socket is lost or fails, the other side gets 1011. When ctx ends, both get 1001. What the other side still sends after
// that is discarded. Each side then has its CloseTimeout to end.
//
// Relay receives, as [Socket.Receive] does: it accepts sockets that have not been accepted, message listeners are not called, and
// other listeners are. To filter messages, call Receive and Write instead. If a receive method is running on one of the sockets already,
// or if a socket cannot be received from, Relay returns ErrReceiving, ErrAccepted or ErrUsed and closes neither.
//
// In an object, call Relay in a function of [State.WaitUntil]: an event that calls it lasts until both sockets have ended.
func Relay(ctx context.Context, a, b *Socket) error {
	if a == nil || b == nil || a == b {
		return errors.New("edgews: Relay needs two sockets")
	}
	for _, s := range []*Socket{a, b} {
		if err := s.receivable(); err != nil {
			return err
		}
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan *RelayError, 2)
	go func() { stopped <- forward(reading, a, b) }()
	go func() { stopped <- forward(reading, b, a) }()
	first := <-stopped
	if first != nil {
		stop()
		<-stopped
	} else { // a write has failed because its socket is ending: the goroutine that reads that one says how
		first = <-stopped
	}
	if ctx.Err() != nil {
		first = &RelayError{Err: ctx.Err()}
	}
	return endRelay(a, b, first)
}

// RelayError says how Relay ended.
type RelayError struct {
	Ended *Socket // the socket that ended first: a or b of the call; nil: the context ended
	Err   error   // what its receive methods return, a [*CloseError] or an error that unwraps to one; or the error of the context
}

func (e *RelayError) Error() string {
	if e.Ended == nil {
		return fmt.Sprintf("edgews: relay: %v", e.Err)
	}
	return fmt.Sprintf("edgews: relay: one side ended: %v", e.Err)
}

// Unwrap returns e.Err.
func (e *RelayError) Unwrap() error { return e.Err }

// forward sends the messages of from to to, until one of them ends, or ctx does. It returns how from has ended. It returns nil if a write has
// failed, or if ctx has ended.
func forward(ctx context.Context, from, to *Socket) *RelayError {
	for {
		kind, r, err := from.NextReader(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return &RelayError{from, err}
		}
		readErr, writeErr := forwardMessage(ctx, to, kind, r.(*messageReader))
		switch {
		case ctx.Err() != nil || writeErr != nil:
			return nil
		case readErr != nil:
			return &RelayError{from, readErr}
		}
	}
}

// forwardMessage sends the message of r to to: with one call if it has arrived, otherwise piece by piece.
func forwardMessage(ctx context.Context, to *Socket, kind Kind, r *messageReader) (readErr, writeErr error) {
	if r.last {
		return nil, to.Write(ctx, kind, r.rest)
	}
	w, err := to.NextWriter(ctx, kind)
	if err != nil {
		return nil, err
	}
	for {
		if _, err := w.Write(r.rest); err != nil {
			return nil, err
		}
		if r.last {
			return nil, w.Close()
		}
		if err := r.next(); err != nil {
			return err, nil
		}
	}
}

// endRelay closes both sockets because of first, and waits for their ends. If first is nil, the program has closed both.
func endRelay(a, b *Socket, first *RelayError) error {
	c := first.closing()
	ends := make(chan *RelayError, 2)
	for _, s := range []*Socket{a, b} {
		_ = s.Close(c.code, c.reason) // it fails for a socket that has ended and is not half open, and for one that is closing already
		go func() { ends <- &RelayError{s, s.drain()} }()
	}
	end := <-ends
	<-ends
	return cmp.Or(first, end)
}

// closing returns the Close for the side that has not ended. e may be nil.
func (e *RelayError) closing() closeFrame {
	if e == nil {
		return closeFrame{}
	}
	end, ok := errors.AsType[*CloseError](e.Err)
	switch {
	case e.Ended == nil:
		return closeFrame{StatusGoingAway, ""}
	case !ok || !end.WasClean: // 1006 and 1015 cannot be sent, and a failure of one side is not a fault of the other
		return closeFrame{StatusInternalError, "the other side of the relay was lost"}
	case end.Code == StatusNoStatusRcvd:
		return closeFrame{}
	}
	return closeFrame{end.Code, end.Reason}
}

// drain receives and drops messages until the socket has ended, and returns how.
func (s *Socket) drain() error {
	for {
		if _, err := s.Receive(context.Background()); err != nil {
			return err
		}
	}
}

// receivable is receivableLocked for callers that do not hold mu.
func (s *Socket) receivable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.receivableLocked()
}
