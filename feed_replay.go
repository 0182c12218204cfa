package edgews

import (
	"context"
	"errors"
)

// One replay, and one event, sends at most replayMessages messages, or replayBytes and one message. Then other events have their turn.
const (
	replayMessages = 256
	replayBytes    = 256 << 10
)

// replay sends m what it has not got, as far as its socket has room and not more than a portion. Then it is live, or the rest follows in
// another event.
func (f *Feed) replay(ctx context.Context, m *feedMember) error {
	if !m.beginReplay() {
		return nil
	}
	need, err := f.sendMissed(ctx, m)
	m.endReplay(need, err)
	switch {
	case err == errPortion, err == ErrNotJoined, errors.Is(err, errNoRoom), errors.Is(err, ErrClosed):
		return nil
	}
	return err
}

// beginReplay reports whether there is something to do, and nothing else does it.
func (m *feedMember) beginReplay() bool {
	m.r.lockSends()
	defer m.r.unlockSends()
	switch {
	case m.left || m.live || m.waiting || m.replaying:
		return false
	case m.cursorDue && !m.sendCursor():
		return false
	}
	m.replaying = true
	return true
}

// sendCursor sends the first frame. The send lock must be held.
func (m *feedMember) sendCursor() bool {
	at := ClusterPosition{Joined: m.r.joinedOf(m), HasSeq: true, Seq: m.restart, Here: m.r.toldHereID()}
	frame := m.r.outgoing(m.r.cursorFrame(m.restart, m.gone, m.r.toldHere()), at)
	if !m.sendLive(frame) {
		return false
	}
	m.cursorDue, m.hereDue, m.sent = false, false, m.restart
	return true
}

// cursorFrame returns a feed.cursor frame.
func (r *feedRoster) cursorFrame(seq uint64, gone bool, here []Presence) []byte {
	return (&FeedFrame{Type: frameCursor, Feed: r.name, Seq: &seq, Gone: gone, Here: here}).encode()
}

// errPortion ends a replay that has sent its portion.
var errPortion = errors.New("edgews: replay goes on in another event")

// sendMissed sends m what it has not got. If the socket has no room, it returns errNoRoom and how many bytes it needs.
func (f *Feed) sendMissed(ctx context.Context, m *feedMember) (need int, err error) {
	tail, err := f.readTail(ctx)
	if err != nil {
		return 0, err
	}
	p := &replayPortion{m: m, f: f, now: unixMilli(), messages: replayMessages, bytes: replayBytes}
	last := max(tail.seq, f.roster.lastSent())
	if first := f.firstKept(tail.first, last); m.sent > last || m.sent+1 < first {
		if err := p.skipTo(first - 1); err != nil {
			return p.need, err
		}
	}
	for rec, err := range f.records(f.scanner(ctx), Range{After: f.recordKey(m.sent), Limit: replayMessages}) {
		if err == nil {
			err = p.send(&rec)
		}
		if err != nil {
			return p.need, err
		}
	}
	if p.messages > 0 {
		p.seen = last
	}
	if m.sent < p.seen { // what is behind it has been removed, or is too old
		err = p.skipTo(p.seen)
	}
	return p.need, err
}

// replayPortion is what one replay sends.
type replayPortion struct {
	m               *feedMember
	f               *Feed
	now             int64
	messages, bytes int    // that may still be sent
	need            int    // bytes for which there was no room
	seen            uint64 // the last message that was looked at
}

// send sends the message of an entry, if it is kept.
func (p *replayPortion) send(rec *feedRecord) error {
	p.messages--
	p.seen = rec.seq
	if !rec.hasBody || p.f.isExpired(rec.at, p.now) {
		return nil
	}
	if rec.seq != p.m.sent+1 {
		if err := p.skipTo(rec.seq - 1); err != nil {
			return err
		}
	}
	if err := p.queue(p.f.appendMessage(nil, rec, rec.body), rec.seq); err != nil {
		return err
	}
	p.m.sent = rec.seq
	if p.bytes <= 0 {
		return errPortion
	}
	return nil
}

// skipTo tells the client that the messages up to seq are gone.
func (p *replayPortion) skipTo(seq uint64) error {
	if err := p.queue(p.m.r.cursorFrame(seq, true, nil), seq); err != nil {
		return err
	}
	p.m.sent = seq
	return nil
}

// queue sends a frame, after which the client has everything up to seq, unless the socket has left the feed: it may have joined again, and get
// another replay.
func (p *replayPortion) queue(frame []byte, seq uint64) error {
	p.m.r.lockSends()
	defer p.m.r.unlockSends()
	if p.m.left {
		return ErrNotJoined
	}
	err := p.m.sock.s.sendIfHalfEmpty(p.m.r.outgoing(frame, ClusterPosition{HasSeq: true, Seq: seq}))
	if err != nil {
		p.need = len(frame)
		return err
	}
	p.bytes -= len(frame)
	return nil
}

// endReplay decides how m goes on after a replay that has ended with err: nil if everything has been sent that was stored when it began.
func (m *feedMember) endReplay(need int, err error) {
	m.r.lockSends()
	defer m.r.unlockSends()
	m.replaying = false
	switch {
	case m.left:
	case errors.Is(err, errNoRoom):
		m.waitForRoom(need)
	case m.cursorDue || err == errPortion || errors.Is(err, ErrAborted):
		m.enqueue()
	case err != nil: // the socket has ended, or the caller closes it
	case m.sent < m.r.lastSent():
		m.enqueue()
	case m.once:
		m.r.detach(m)
	case m.hereDue && !m.sendHere():
	default:
		m.live = true
	}
}
