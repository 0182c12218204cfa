package link

import "time"

// read takes in what the peer sends until the connection breaks.
func (l *peerLink) read(c *connection) error {
	patience := missedHeartbeats * l.manager.options.HeartbeatEvery
	for {
		if err := l.takeIn(c); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := c.Read(c.decoder.space())
		if err != nil {
			return err
		}
		l.traffic.bytesIn.Add(int64(n))
		c.decoder.advance(n)
	}
}

// takeIn decodes the frames that have arrived and calls the receivers.
func (l *peerLink) takeIn(c *connection) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	for {
		more, err := l.takeInBatch(c)
		l.deliver()
		if err != nil || !more {
			return err
		}
	}
}

// takeInBatch decodes a batch of frames; more says that others may follow.
func (l *peerLink) takeInBatch(c *connection) (more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != c {
		return false, errSuperseded
	}
	l.core.now = l.manager.now()
	c.lastRead = l.core.now
	var f frame
	for range batchFrames {
		if more, err = c.decoder.next(&f); err != nil || !more {
			return false, err
		}
		l.traffic.framesIn++
		if f.kind == typePong {
			l.pongLocked()
		}
		if err = l.core.receive(&f); err != nil {
			return false, err
		}
		if len(l.core.events) >= batchFrames { // a frame may be for many channels
			break
		}
	}
	return true, nil
}

// pongLocked measures the round trip of a ping.
func (l *peerLink) pongLocked() {
	if t := &l.traffic; t.pinged != 0 {
		t.roundTrip, t.pinged = time.Duration(l.core.now-t.pinged), 0
	}
}

// deliver calls the receivers for the events that are due. The caller has the turn.
func (l *peerLink) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.core.grantCredit(); len(l.core.events) > 0; l.core.grantCredit() {
		events := l.core.events
		l.core.events = nil
		l.mu.Unlock()
		for i := range events {
			l.call(&events[i])
		}
		l.mu.Lock()
		for i := range events {
			if events[i].consumed {
				l.core.consume(events[i].ch, events[i].seq)
			}
		}
		if l.core.events == nil && cap(events) <= batchFrames {
			clear(events)
			l.core.events = events[:0]
		}
	}
	l.wakeLocked()
}

// call calls a receiver.
func (l *peerLink) call(e *event) {
	ch := e.ch
	if e.kind == eventOpen {
		ch.link = l
		ch.receiver = l.manager.options.Accept(l.peer, ch, e.payload)
		if ch.receiver == nil {
			l.mu.Lock()
			l.core.reset(ch, CodeRefused, nil)
			l.mu.Unlock()
		}
		return
	}
	if ch.receiver == nil || ch.silent.Load() {
		return
	}
	switch e.kind {
	case eventMessage:
		if r, ok := ch.receiver.(SharedReceiver); ok && e.shared != nil {
			e.consumed = r.SharedMessage(e.seq, e.shared)
		} else {
			e.consumed = ch.receiver.Message(e.seq, e.payload)
		}
	case eventEnded:
		ch.receiver.Ended(e.payload)
	case eventWritable:
		ch.receiver.Writable()
	case eventClosed:
		ch.receiver.Closed(e.err)
		ch.receiver = nil
	}
}

// deliverLaterLocked has the events delivered by another goroutine, if there are any: the caller is a goroutine of the program, which may
// hold locks that receivers take.
func (l *peerLink) deliverLaterLocked() {
	l.core.grantCredit()
	if len(l.core.events) == 0 || l.later {
		return
	}
	l.later = true
	l.manager.tasks.Go(func() {
		l.turn <- struct{}{}
		l.mu.Lock()
		l.later = false
		l.mu.Unlock()
		l.deliver()
		<-l.turn
	})
}
