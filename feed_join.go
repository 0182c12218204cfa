package edgews

import (
	"context"
	"fmt"
)

// checkWho returns an error unless who may join.
func checkWho(who string) error {
	return checkFeedName("the name of one who joins", who, maxFeedWho)
}

// Join makes s a member, and sends it what it has missed: the messages behind after. s must have been accepted with AcceptWebSocket by the
// object (ErrNotOwned). Its first frame is feed.cursor. Then come the messages behind after that are kept, and then what is published,
// without a gap and without a repetition between the two.
//
// after is the client's cursor, and 0 for a client that has none: it gets all that is kept. If messages behind after are gone, or after is
// beyond the last message (the cursor of another feed, or of a storage that was lost), feed.cursor says gone, and what is kept follows. A
// client that wants no history passes Last.
//
// who names the one who joins, for Here and for the others, in at most 256 bytes of UTF-8 (ErrFeedName). The same name may join with several
// sockets, and is there once. With "" the socket reads, and is not counted as anyone.
//
// Join does not wait for the client. It queues what half of Options.SendBuffer takes, and the rest follows in events of the object as the
// client reads; so does what a member has not got because it reads slowly. The other half is left for what the program sends.
// Options.Overflow does not apply to a feed. Only what is removed from the history before a slow client has got it is lost, and the client
// is told (gone).
//
// Joining again with the same socket begins anew behind after, and with another who, that one takes the place of the first. When the socket
// ends it leaves by itself. The attachment and the tags of s stay the program's. After an error s is no member, or as it was before; an error
// of the storage may come after the first frames, so close the socket, and the client connects again. ErrClosed: it is closing already.
// In a cluster a socket joins at most 16 feeds at a time (ErrTooManyFeeds).
func (f *Feed) Join(ctx context.Context, s *Socket, who string, after uint64) error {
	if err := checkWho(who); err != nil {
		return err
	}
	return f.start(ctx, s, after, func(m *feedMember) { f.roster.joins(m, who) })
}

// Replay sends s what a client has missed that has everything up to after: feed.cursor, and the messages behind after that are kept, as
// Join does. If s is a member, what is published follows, as after Join. If it is not, nothing follows once it has got the last message.
func (f *Feed) Replay(ctx context.Context, s *Socket, after uint64) error {
	return f.start(ctx, s, after, func(*feedMember) {})
}

// start begins a replay to s, which attached is called for.
func (f *Feed) start(ctx context.Context, s *Socket, after uint64, attached func(*feedMember)) error {
	sock, err := f.st.objectSocket(s)
	if err != nil {
		return err
	}
	from, gone, err := f.position(ctx, after)
	if err != nil {
		return err
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	m, err := f.roster.begin(sock, from, gone, attached)
	if err != nil {
		return err
	}
	if err := f.replay(ctx, m); err != nil {
		f.roster.drop(m)
		return err
	}
	return nil
}

// drop removes m, which leaves at once.
func (r *feedRoster) drop(m *feedMember) {
	r.lockSends()
	defer r.unlockSends()
	r.dropLocked(m)
}

// dropLocked is drop. The send lock must be held.
func (r *feedRoster) dropLocked(m *feedMember) {
	if !m.left {
		r.detach(m)
		r.leaves(m.who, 0)
	}
}

// begin has sock get everything behind from.
func (r *feedRoster) begin(sock *objectSocket, from uint64, gone bool, attached func(*feedMember)) (*feedMember, error) {
	r.lockSends()
	defer r.unlockSends()
	if err := r.mayFollow(sock); err != nil {
		return nil, err
	}
	m, err := r.attach(sock)
	if err != nil {
		return nil, err
	}
	m.live, m.cursorDue, m.gone, m.restart = false, true, gone, from
	attached(m)
	r.keepAtEdge(m)
	return m, nil
}

// position returns where a client with the cursor after begins, and whether messages are gone that it has not got.
func (f *Feed) position(ctx context.Context, after uint64) (from uint64, gone bool, err error) {
	tail, err := f.readTail(ctx)
	if err != nil {
		return 0, false, err
	}
	last := max(tail.seq, f.roster.lastSent())
	first := f.firstKept(tail.first, last)
	if after > last || after+1 < first {
		return first - 1, true, nil
	}
	return after, false, nil
}

// Leave ends the membership of s: the feed sends it nothing any more, and the others are told at once if who has no other socket there. It
// returns ErrNotJoined for a socket that is no member.
func (f *Feed) Leave(s *Socket) error {
	sock, err := f.st.objectSocket(s)
	if err != nil {
		return err
	}
	r := f.roster
	r.lockSends()
	defer r.unlockSends()
	m := r.memberOf(sock)
	if m == nil {
		return fmt.Errorf("%w: its name is %q", ErrNotJoined, r.name)
	}
	r.dropLocked(m)
	return nil
}
