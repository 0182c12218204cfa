package link

import "time"

// write sends what there is to send until the connection breaks. All that has been queued while it wrote leaves with the next write.
func (l *peerLink) write(c *connection) {
	defer c.raw.Close()
	every := int64(l.manager.options.HeartbeatEvery)
	nextPing := l.manager.now() + every
	armed := nextPing
	timer := time.NewTimer(time.Duration(every))
	defer timer.Stop()
	buf := make([]byte, 0, writeSize+quantum)
	for {
		l.mu.Lock()
		if l.conn != c {
			l.mu.Unlock()
			return
		}
		now := l.manager.now()
		l.core.now = now
		l.core.tick()
		if now >= nextPing {
			nextPing = now + every
			if l.core.ping = c.lastRead <= now-every; l.core.ping {
				l.core.dropSpare()
				l.traffic.pinged = now
			}
		}
		buf = l.core.pull(buf[:0], writeSize)
		l.traffic.bytesOut += int64(len(buf))
		l.traffic.framesOut += countFrames(buf)
		l.deliverLaterLocked()
		l.writerIdle = len(buf) == 0
		next := nextPing
		if first := l.core.waitHead; first != nil {
			next = min(next, first.askAt)
		}
		l.mu.Unlock()

		if len(buf) > 0 {
			if c.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
				return
			}
			if _, err := c.Write(buf); err != nil {
				return
			}
			if cap(buf) > 2*writeSize { // there was a large message
				buf = make([]byte, 0, writeSize+quantum)
			}
			continue
		}
		if next < armed || armed <= now {
			armed = next
			timer.Reset(time.Duration(next - now))
		}
		select {
		case <-c.wake:
		case <-timer.C:
			armed = 0
			l.stopIdling(c)
		case <-c.done:
			return
		}
	}
}

// stopIdling says that the writer looks for frames to send without having been woken.
func (l *peerLink) stopIdling(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == c {
		l.writerIdle = false
	}
	select {
	case <-c.wake:
	default:
	}
}
