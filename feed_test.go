package edgews_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// feedRooms is a namespace of objects with a feed.
type feedRooms struct {
	*rooms
	id   edgews.ID
	opts edgews.FeedOptions
	feed *edgews.Feed // of the value that was constructed last; guarded by rooms.mu
}

func newFeedRooms(t testing.TB, nsOpts *edgews.NamespaceOptions, opts edgews.FeedOptions) *feedRooms {
	n := &feedRooms{opts: opts}
	n.rooms = newRooms(t, nsOpts, func(r *room) {
		f, err := edgews.NewFeed(t.Context(), r.st, &n.opts)
		if !assert.NoError(t, err) {
			return
		}
		n.mu.Lock()
		n.feed = f
		n.mu.Unlock()
	})
	n.id = n.IDFromName("room")
	return n
}

// awake returns the feed of the value, which it constructs if need be.
func (n *feedRooms) awake() *edgews.Feed {
	n.t.Helper()
	n.wake(n.id)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.feed
}

func (n *feedRooms) publish(id string, v any) uint64 {
	n.t.Helper()
	seq, err := n.awake().Publish(n.t.Context(), id, v)
	require.NoError(n.t, err)
	return seq
}

// reader is a client that takes what it gets from a feed.
type reader struct {
	t      testing.TB
	client *edgews.Socket
	server *edgews.Socket
}

// join makes a new socket a member.
func (n *feedRooms) join(who string, after uint64) *reader {
	n.t.Helper()
	r := n.connect()
	require.NoError(n.t, n.awake().Join(n.t.Context(), r.server, who, after))
	return r
}

// connect gives the object a socket.
func (n *feedRooms) connect() *reader {
	n.t.Helper()
	client, server := edgews.NewPair()
	require.NoError(n.t, n.wake(n.id).AcceptWebSocket(server))
	return &reader{n.t, client, server}
}

// frame receives a frame.
func (r *reader) frame() edgews.FeedFrame {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	f, err := edgews.ReceiveJSON[edgews.FeedFrame](ctx, r.client)
	require.NoError(r.t, err)
	return f
}

// brief describes a frame.
func brief(f edgews.FeedFrame) string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(f.Type, "feed."))
	if f.Seq != nil {
		fmt.Fprintf(&b, " %d", *f.Seq)
	}
	if f.Gone {
		b.WriteString(" gone")
	}
	if f.ID != "" {
		b.WriteString(" #" + f.ID)
	}
	if f.Data != nil {
		b.WriteString(" " + string(f.Data))
	}
	if f.Who != "" {
		b.WriteString(" " + f.Who)
	}
	if f.Here != nil {
		b.WriteString(" here:")
		for _, p := range f.Here {
			b.WriteString(" " + p.Who)
		}
	}
	return b.String()
}

// wants receives frames.
func (r *reader) wants(frames ...string) {
	r.t.Helper()
	for _, want := range frames {
		require.Equal(r.t, want, brief(r.frame()))
	}
}

// wantsNothing says that nothing else has been sent.
func (r *reader) wantsNothing() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Millisecond)
	defer cancel()
	m, err := r.client.Receive(ctx)
	require.ErrorIs(r.t, err, context.DeadlineExceeded, "%s", m.Data)
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		ann := n.join("ann", 0)
		ann.wants("cursor 0 here: ann")
		require.EqualValues(t, 1, n.publish("a", "hello"))
		require.EqualValues(t, 2, n.publish("", 17))
		require.EqualValues(t, 1, n.publish("a", "hello"), "published before")
		ann.wants(`message 1 #a "hello"`, "message 2 17")
		bob := n.join("bob", 1)
		bob.wants("cursor 1 here: ann bob", "message 2 17")
		ann.wants("joined bob")
		time.Sleep(time.Minute)
		info, _ := n.info(n.id)
		require.Equal(t, edgews.ObjectHibernated, info.State)
		require.EqualValues(t, 3, n.publish("", []string{"x"}))
		ann.wants(`message 3 ["x"]`)
		bob.wants(`message 3 ["x"]`)
		bob.client.Close(0, "")
		time.Sleep(4 * time.Second)
		ann.wantsNothing()
		require.Len(t, n.awake().Here(), 2)
		time.Sleep(2 * time.Second)
		ann.wants("left bob")
		ann.wantsNothing()
		require.Len(t, n.awake().Here(), 1)
	})
}
