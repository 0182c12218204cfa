package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
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
		f, err := edgews.NewFeed(context.Background(), r.st, &n.opts)
		if errors.Is(err, edgews.ErrShutdown) || !assert.NoError(t, err) { // Shutdown delivers the ends of sockets
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

func TestFeedCursors(t *testing.T) {
	cases := []struct {
		name      string
		opts      edgews.FeedOptions
		published int
		after     uint64
		want      []string
	}{
		{"empty", edgews.FeedOptions{}, 0, 0, []string{"cursor 0 here:"}},
		{"empty, with another feed's cursor", edgews.FeedOptions{}, 0, 9, []string{"cursor 0 gone here:"}},
		{"all", edgews.FeedOptions{}, 2, 0, []string{"cursor 0 here:", "message 1 1", "message 2 2"}},
		{"the last", edgews.FeedOptions{}, 2, 1, []string{"cursor 1 here:", "message 2 2"}},
		{"none", edgews.FeedOptions{}, 2, 2, []string{"cursor 2 here:"}},
		{"in the future", edgews.FeedOptions{}, 2, 3, []string{"cursor 0 gone here:", "message 1 1", "message 2 2"}},
		{"the end of numbers", edgews.FeedOptions{}, 2, 1<<64 - 1, []string{"cursor 0 gone here:", "message 1 1", "message 2 2"}},
		{"all that is kept", edgews.FeedOptions{Keep: 2}, 9, 0, []string{"cursor 7 gone here:", "message 8 8", "message 9 9"}},
		{"just gone", edgews.FeedOptions{Keep: 2}, 9, 6, []string{"cursor 7 gone here:", "message 8 8", "message 9 9"}},
		{"just kept", edgews.FeedOptions{Keep: 2}, 9, 7, []string{"cursor 7 here:", "message 8 8", "message 9 9"}},
		{"future, little is kept", edgews.FeedOptions{Keep: 1}, 9, 10, []string{"cursor 8 gone here:", "message 9 9"}},
		{"no history, missed", edgews.FeedOptions{Keep: -1}, 9, 8, []string{"cursor 9 gone here:"}},
		{"no history, up to date", edgews.FeedOptions{Keep: -1}, 9, 9, []string{"cursor 9 here:"}},
		{"no history, nothing published", edgews.FeedOptions{Keep: -1}, 0, 0, []string{"cursor 0 here:"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, hibernated := range []bool{false, true} {
					n := newFeedRooms(t, nil, c.opts)
					for i := range c.published {
						n.publish("", i+1)
					}
					if hibernated {
						require.NoError(t, n.Hibernate(t.Context(), n.id))
					}
					r, replayed := n.join("", c.after), n.connect()
					require.NoError(t, n.awake().Replay(t.Context(), replayed.server, c.after))
					r.wants(c.want...)
					replayed.wants(c.want...)
					next := n.publish("", "next")
					r.wants(fmt.Sprintf(`message %d "next"`, next))
					r.wantsNothing()
					replayed.wantsNothing()
				}
			})
		})
	}
}

// invalid is not UTF-8.
const invalid = "\xff"

func TestFeedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		f, ctx := n.awake(), t.Context()
		long := strings.Repeat("x", 257)
		options := []struct {
			opts edgews.FeedOptions
			is   error
			want string
		}{
			{edgews.FeedOptions{}, edgews.ErrFeedExists, `edgews: feed exists: this value has called NewFeed with the name "" before; keep the Feed in the value`},
			{edgews.FeedOptions{Name: "a/b"}, edgews.ErrFeedName, `edgews: name that a feed does not take: FeedOptions.Name "a/b" contains a slash, which separates the parts of its keys`},
			{edgews.FeedOptions{Name: invalid}, edgews.ErrFeedName, `edgews: name that a feed does not take: FeedOptions.Name is not UTF-8`},
			{edgews.FeedOptions{Name: long[:65]}, edgews.ErrFeedName, `edgews: name that a feed does not take: FeedOptions.Name has 65 bytes; the limit is 64`},
			{edgews.FeedOptions{Name: "a", MaxAge: -1}, nil, `edgews: FeedOptions.MaxAge is -1ns: it must not be negative; 0 means no limit`},
			{edgews.FeedOptions{Name: "a", LeaveAfter: time.Hour}, nil, `edgews: FeedOptions.LeaveAfter is 1h0m0s; the limit is 1m0s`},
		}
		for _, c := range options {
			_, err := edgews.NewFeed(ctx, n.wake(n.id), &c.opts)
			assert.EqualError(t, err, c.want)
			if c.is != nil {
				assert.ErrorIs(t, err, c.is)
			}
		}
		_, err := edgews.NewFeed(ctx, nil, nil)
		assert.EqualError(t, err, "edgews: NewFeed with a nil *State")

		for _, id := range []string{long, invalid} {
			_, err := f.Publish(ctx, id, 1)
			assert.ErrorIs(t, err, edgews.ErrFeedName)
		}
		_, err = f.Publish(ctx, "", func() {})
		assert.ErrorContains(t, err, "edgews: message cannot be encoded")
		_, err = f.Publish(ctx, "a", strings.Repeat("x", 2<<20))
		assert.ErrorIs(t, err, edgews.ErrValueTooBig)
		assert.EqualValues(t, 1, n.publish("a", nil), "nothing was published before")

		r := n.connect()
		for _, who := range []string{long, invalid} {
			assert.ErrorIs(t, f.Join(ctx, r.server, who, 0), edgews.ErrFeedName)
		}
		_, plain := edgews.NewPair()
		assert.ErrorIs(t, f.Join(ctx, plain, "ann", 0), edgews.ErrNotOwned)
		assert.ErrorIs(t, f.Join(ctx, nil, "ann", 0), edgews.ErrNotOwned)
		assert.ErrorIs(t, f.Leave(nil), edgews.ErrNotOwned)
		assert.EqualError(t, f.Leave(r.server), `edgews: socket has not joined the feed: its name is ""`)
		r.server.Close(0, "")
		assert.ErrorIs(t, f.Join(ctx, r.server, "ann", 0), edgews.ErrClosed)
		assert.Empty(t, f.Here())

		s := n.connect()
		require.NoError(t, n.Hibernate(ctx, n.id))
		assert.Empty(t, f.Here())
		_, err = f.Publish(ctx, "", 1)
		assert.ErrorIs(t, err, edgews.ErrAborted)
		assert.ErrorIs(t, f.Join(ctx, s.server, "ann", 0), edgews.ErrAborted)
		assert.ErrorIs(t, f.Leave(s.server), edgews.ErrAborted)
	})
}

// feedKeys counts the entries of a feed in the storage: messages with a body or without, and ids.
func feedKeys(t *testing.T, n *feedRooms) (messages, ids int) {
	for e, err := range n.wake(n.id).Storage().List(t.Context(), "feed/") {
		require.NoError(t, err)
		switch {
		case strings.HasPrefix(e.Key, "feed/"+n.opts.Name+"/m/"):
			messages++
		case strings.HasPrefix(e.Key, "feed/"+n.opts.Name+"/i/"):
			ids++
		default:
			assert.Fail(t, "unknown key", "%q", e.Key)
		}
	}
	return messages, ids
}

func TestFeedIsTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{Name: "x", Keep: 10})
		for i := range 50 {
			n.publish("", i)
			messages, ids := feedKeys(t, n)
			require.Equal(t, min(i+1, 10), messages)
			require.Zero(t, ids)
		}
		for i := range 1200 { // messages are forgotten before their ids are
			n.publish(fmt.Sprint(i), i)
		}
		messages, ids := feedKeys(t, n)
		assert.Equal(t, 1000, messages)
		assert.Equal(t, 1000, ids)
		assert.EqualValues(t, 50+201, n.publish("200", 0), "the oldest id that is remembered")
		assert.EqualValues(t, 1251, n.publish("199", 0), "its id is not remembered")
		n.join("", 1249).wants("cursor 1249 here:", `message 1250 #1199 1199`, `message 1251 #199 0`)
		n.join("", 0).wants("cursor 1241 gone here:", `message 1242 #1191 1191`)

		n.opts.Keep = 2000
		require.NoError(t, n.Hibernate(t.Context(), n.id))
		for i := range 1990 {
			n.publish(fmt.Sprint("more", i), i)
		}
		n.join("", 0).wants("cursor 1241 gone here:")
		for i := range 500 {
			n.publish("", i)
		}
		messages, ids = feedKeys(t, n)
		assert.Equal(t, 2000, messages)
		assert.Equal(t, 1500, ids)

		n.opts.Keep = 5 // a lot is to be removed now
		require.NoError(t, n.Hibernate(t.Context(), n.id))
		last := n.publish("", "last")
		n.join("", 0).wants(fmt.Sprintf("cursor %d gone here:", last-5), fmt.Sprintf("message %d 496", last-4))
		after, _ := feedKeys(t, n)
		assert.Greater(t, after, messages-300, "one Publish does not remove it all")
		for range 30 {
			n.publish("", 1)
		}
		messages, ids = feedKeys(t, n)
		assert.Equal(t, ids+5, messages)
		assert.LessOrEqual(t, ids, 1000-530)
	})
}

func TestFeedMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{MaxAge: time.Hour})
		for i := range 600 {
			n.publish("", i+1)
		}
		time.Sleep(time.Hour)
		n.join("", 599).wants("cursor 599 here:", "message 600 600")
		time.Sleep(time.Second)
		late := n.join("", 0)
		late.wants("cursor 0 here:")
		for {
			f := late.frame() // it is told in portions
			require.True(t, f.Gone)
			if *f.Seq == 600 {
				break
			}
		}
		messages, _ := feedKeys(t, n)
		assert.Equal(t, 600, messages, "still stored")
		for range 6 {
			n.publish("", "x")
		}
		messages, _ = feedKeys(t, n)
		assert.Equal(t, 6, messages)
		n.join("", 600).wants("cursor 600 here:", `message 601 "x"`)
		n.join("", 599).wants("cursor 600 gone here:", `message 601 "x"`)
	})
}

func TestFeedOfEmptiedStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		r := n.join("", 0)
		for i := range 3 {
			n.publish("a"+fmt.Sprint(i), i)
		}
		r.wants("cursor 0 here:", "message 1 #a0 0", "message 2 #a1 1", "message 3 #a2 2")
		require.NoError(t, n.wake(n.id).Storage().DeleteAll(t.Context()))
		n.join("", 2).wants("cursor 2 here:", "cursor 3 gone")
		require.NoError(t, n.Hibernate(t.Context(), n.id))
		assert.EqualValues(t, 4, n.publish("a0", "again"), "ids are forgotten, and numbers go on")
		r.wants(`message 4 #a0 "again"`)
		n.join("", 3).wants("cursor 3 here:", `message 4 #a0 "again"`)
		n.join("", 2).wants("cursor 3 gone here:", `message 4 #a0 "again"`)
	})
}

func TestFeedOfDamagedStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{Keep: 2})
		for i := range 2 {
			n.publish(fmt.Sprint(i), i)
		}
		storage := n.wake(n.id).Storage()
		damages := []struct {
			key, value, id string
			joins          bool
		}{
			{"feed//m/0000000000000001", "\x02", "new", false},
			{"feed//m/0000000000000002", "\x81\x01", "new", false},
			{"feed//m/0000000000000002", "\x81\x01\x01\x01\x05123", "new", false},
			{"feed//i/0", "x", "0", true},
		}
		for _, d := range damages {
			old, err := storage.Get(t.Context(), d.key)
			require.NoError(t, err)
			require.NoError(t, storage.Put(t.Context(), d.key, []byte(d.value)))
			if err := n.awake().Join(t.Context(), n.connect().server, "ann", 0); d.joins {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, edgews.ErrFeedDamaged)
				assert.Empty(t, n.awake().Here())
			}
			_, err = n.awake().Publish(t.Context(), d.id, 0)
			assert.ErrorIs(t, err, edgews.ErrFeedDamaged)
			assert.ErrorContains(t, err, d.key)
			require.NoError(t, storage.Put(t.Context(), d.key, old))
		}
		assert.EqualValues(t, 3, n.publish("new", 0), "nothing was lost")
	})
}

// A message is seen by others when it is durable, and not before.
func TestFeedIsDurableFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newFeedRooms(t, &edgews.NamespaceOptions{Store: store}, edgews.FeedOptions{})
		r := n.join("ann", 0)
		r.wants("cursor 0 here: ann")
		release := make(chan error)
		store.interfere(func(context.Context, edgews.Batch) error { return <-release })
		f := n.awake()
		published := make(chan error)
		go func() {
			_, err := f.Publish(context.Background(), "a", 1)
			published <- err
		}()
		time.Sleep(time.Second)
		r.wantsNothing()
		release <- nil
		require.NoError(t, <-published)
		r.wants("message 1 #a 1")

		go func() {
			_, err := f.Publish(context.Background(), "b", 2)
			published <- err
		}()
		release <- fmt.Errorf("disk is full")
		require.ErrorContains(t, <-published, "disk is full")
		_, err := r.client.Receive(t.Context())
		require.ErrorContains(t, err, "storage failed")
		store.interfere(nil)
		again := n.join("ann", 1)
		again.wants("cursor 1 here: ann")
		require.EqualValues(t, 2, n.publish("b", 2))
		again.wants("message 2 #b 2")
		require.NoError(t, n.Shutdown(t.Context()))
	})
}

func TestFeedReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		for i := range 3 {
			n.publish("", i+1)
		}
		r := n.join("ann", n.awake().Last())
		r.wants("cursor 3 here: ann")
		require.NoError(t, n.awake().Replay(t.Context(), r.server, 1))
		r.wants("cursor 1 here: ann", "message 2 2", "message 3 3")
		n.publish("", 4)
		r.wants("message 4 4")
		require.NoError(t, n.awake().Join(t.Context(), r.server, "anna", 3))
		r.wants("cursor 3 here: anna", "message 4 4")
	})
}

// Members need not be told who is there.
func TestFeedHidesPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{HidePresence: true})
		ann := n.join("ann", 0)
		bob := n.join("bob", 0)
		ann.wants("cursor 0")
		bob.wants("cursor 0")
		require.Len(t, n.awake().Here(), 2)
		require.NoError(t, n.awake().Leave(bob.server))
		require.Len(t, n.awake().Here(), 1)
		ann.wantsNothing()
		bob.wantsNothing()
	})
}

// A long replay goes on in events of its own, between others.
func TestFeedReplaysInPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{Keep: 2000})
		for i := range 2000 {
			n.publish("", i+1)
		}
		r := n.join("ann", 0)
		synctest.Wait()
		n.publish("", 2001)
		r.wants("cursor 0 here: ann")
		for i := range 2001 {
			require.EqualValues(t, i+1, *r.frame().Seq)
		}
		r.wantsNothing()
	})
}

// slowReader is a member over a network connection that takes nothing until its client reads.
func slowReader(t *testing.T, n *feedRooms, sendBuffer int) (r *reader, from *edgewstest.Flow) {
	srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Options: edgews.Options{
			SendBuffer: sendBuffer, WriteTimeout: -1, KeepAlive: -1, Overflow: edgews.OverflowClose, Compression: &edgews.Compression{Disable: true},
		}})
		if assert.NoError(t, err) {
			r.server = s
		}
	}))
	srv.OnConnect = func(client *edgewstest.Conn) { client.Incoming().Set(edgewstest.Faults{Buffer: 1 << 10}) }
	r = &reader{t: t}
	r.client = srv.Dial("/", nil)
	synctest.Wait()
	from = srv.Conn(r.client).Incoming()
	from.Stall()
	require.NoError(t, n.wake(n.id).AcceptWebSocket(r.server))
	return r, from
}

// A slow reader gets everything, takes half of its queue at most, and leaves the object asleep while it does not read.
func TestFeedOfASlowReader(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live=%v", live), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const messages, sendBuffer = 3000, 64 << 10
				n := newFeedRooms(t, nil, edgews.FeedOptions{Keep: messages})
				filler := strings.Repeat("x", 1000)
				r, from := slowReader(t, n, sendBuffer)
				if live {
					require.NoError(t, n.awake().Join(t.Context(), r.server, "slow", 0))
				}
				for range messages {
					n.publish("", filler)
					require.LessOrEqual(t, r.server.BufferedAmount(), sendBuffer/2+1<<10)
				}
				if !live {
					require.NoError(t, n.awake().Join(t.Context(), r.server, "slow", 0))
				}
				require.LessOrEqual(t, r.server.BufferedAmount(), sendBuffer/2+1<<10)
				require.NoError(t, r.server.SendBytes(make([]byte, sendBuffer/4)), "the program has room")
				other := n.join("fast", messages)
				other.wants("cursor 3000 here: fast slow")
				other.client.Close(0, "")
				time.Sleep(time.Minute)
				info, _ := n.info(n.id)
				require.Equal(t, edgews.ObjectHibernated, info.State)
				from.Resume()
				r.wants("cursor 0 here: slow")
				for seq := uint64(0); seq < messages; {
					m, err := r.client.Receive(t.Context())
					require.NoError(t, err)
					if m.Kind == edgews.Binary {
						continue
					}
					var f edgews.FeedFrame
					require.NoError(t, json.Unmarshal(m.Data, &f))
					require.Equal(t, seq+1, *f.Seq)
					seq++
				}
				r.wants("here here: slow")
				n.publish("", "live again")
				r.wants(`message 3001 "live again"`)
				r.client.Close(0, "")
			})
		})
	}
}

// A slow reader from which messages are removed is told so.
func TestFeedRemovesWhatASlowReaderHasNotGot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{Keep: 10})
		r, from := slowReader(t, n, 8<<10)
		require.NoError(t, n.awake().Join(t.Context(), r.server, "slow", 0))
		for range 100 {
			n.publish("", strings.Repeat("x", 1000))
		}
		from.Resume()
		r.wants("cursor 0 here: slow")
		seq := uint64(0)
		for {
			f := r.frame()
			if f.Gone {
				assert.EqualValues(t, 90, *f.Seq)
				break
			}
			require.Equal(t, seq+1, *f.Seq)
			seq++
		}
		assert.Less(t, seq, uint64(10))
		for seq = 91; seq <= 100; seq++ {
			require.Equal(t, seq, *r.frame().Seq)
		}
		r.wantsNothing()
		r.client.Close(0, "")
	})
}

// Several feeds of an object share a socket, with its attachment and its tags.
func TestFeedsShareASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var news, chat *edgews.Feed
		n := newRooms(t, nil, func(r *room) {
			news, _ = edgews.NewFeed(context.Background(), r.st, &edgews.FeedOptions{Name: "news"})
			chat, _ = edgews.NewFeed(context.Background(), r.st, &edgews.FeedOptions{Name: "chat"})
		})
		id, ctx := n.IDFromName("room"), t.Context()
		client, server := edgews.NewPair()
		r := &reader{t, client, server}
		require.NoError(t, n.wake(id).AcceptWebSocket(server, "tag"))
		require.NoError(t, server.SetAttachment("mine"))
		publish := func(f *edgews.Feed, v any) {
			_, err := f.Publish(ctx, "same", v)
			require.NoError(t, err)
		}
		publish(news, "old")
		require.NoError(t, news.Join(ctx, server, "ann", 0))
		require.NoError(t, chat.Join(ctx, server, "ann", 0))
		for _, want := range []string{"news cursor 0 here: ann", `news message 1 #same "old"`, "chat cursor 0 here: ann"} {
			f := r.frame()
			require.Equal(t, want, f.Feed+" "+brief(f))
		}
		require.NoError(t, n.Hibernate(ctx, id))
		n.wake(id)
		publish(chat, "hello")
		f := r.frame()
		require.Equal(t, "chat", f.Feed)
		require.Equal(t, `message 1 #same "hello"`, brief(f))
		require.NoError(t, chat.Leave(server))
		require.ErrorIs(t, chat.Leave(server), edgews.ErrNotJoined)
		require.Empty(t, chat.Here())
		require.Len(t, news.Here(), 1)
		_, err := chat.Publish(ctx, "", "unheard")
		require.NoError(t, err)
		r.wantsNothing()
		tags, err := n.state.Tags(server)
		require.NoError(t, err)
		require.Equal(t, []string{"tag"}, tags)
		var mine string
		require.NoError(t, server.Attachment(&mine))
		require.Equal(t, "mine", mine)
		client.Close(0, "")
		time.Sleep(time.Minute)
		n.wake(id)
		require.Empty(t, news.Here())
	})
}

// A feed is the same over every kind of connection.
func TestFeedOverEveryLink(t *testing.T) {
	both(t, edgews.Options{SendBuffer: 4 << 10}, func(t *testing.T, client, server *edgews.Socket) {
		const messages = 500
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		for i := range messages {
			n.publish("", i+1)
		}
		require.NoError(t, n.wake(n.id).AcceptWebSocket(server))
		require.NoError(t, n.awake().Join(t.Context(), server, "ann", 0))
		for i := range messages {
			n.publish("", messages+i+1)
		}
		r := &reader{t, client, server}
		r.wants("cursor 0 here: ann")
		for i := range 2 * messages {
			require.Equal(t, fmt.Sprintf("message %d %[1]d", i+1), brief(r.frame()))
		}
		n.publish("", "last")
		r.wants(fmt.Sprintf(`message %d "last"`, 2*messages+1))
		client.Close(1000, "")
		waitDone(t, client)
	})
}

// Goroutines publish and join at the same time.
func TestFeedConcurrently(t *testing.T) {
	const publishers, each, clients = 4, 150, 8
	n := newFeedRooms(t, &edgews.NamespaceOptions{HibernateAfter: -1}, edgews.FeedOptions{Keep: 10_000})
	f := n.awake()
	var all, publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range each {
				_, err := f.Publish(t.Context(), fmt.Sprintf("%d-%d", p, i%100), i)
				assert.NoError(t, err)
			}
		})
	}
	over := make(chan struct{})
	for c := range clients {
		all.Go(func() {
			for cursor, last := uint64(0), false; !last; {
				select {
				case <-over:
					last = true
				default:
				}
				client, server := edgews.NewPair()
				if !assert.NoError(t, n.state.AcceptWebSocket(server)) || !assert.NoError(t, f.Join(t.Context(), server, fmt.Sprint(c), cursor)) {
					return
				}
				for first := true; first || cursor < f.Last() && (last || cursor%17 != 0); first = false {
					frame, err := edgews.ReceiveJSON[edgews.FeedFrame](within(t), client)
					if !assert.NoError(t, err) {
						return
					}
					switch frame.Type {
					case "feed.cursor":
						assert.True(t, first)
						assert.Equal(t, cursor, *frame.Seq)
					case "feed.message":
						assert.Equal(t, cursor+1, *frame.Seq)
						cursor = *frame.Seq
					}
				}
				client.Close(0, "")
				f.Here()
			}
		})
	}
	publishing.Wait()
	close(over)
	all.Wait()
	assert.EqualValues(t, publishers*100, f.Last(), "each id once")
}

// A value need not make its feed in the constructor. Until it does, members that have not got everything wait.
func TestFeedMadeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &feedRooms{rooms: newRooms(t, nil, nil)}
		n.id = n.IDFromName("room")
		late := func() *edgews.Feed {
			f, err := edgews.NewFeed(t.Context(), n.wake(n.id), nil)
			require.NoError(t, err)
			return f
		}
		f := late()
		for i := range 100 {
			_, err := f.Publish(t.Context(), "", strings.Repeat("x", 1000+i))
			require.NoError(t, err)
		}
		r, from := slowReader(t, n, 16<<10)
		require.NoError(t, f.Join(t.Context(), r.server, "ann", 0))
		require.NoError(t, n.Hibernate(t.Context(), n.id))
		from.Resume()
		r.wants("cursor 0 here: ann")
		got := 0
		for ; ; got++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := r.client.Receive(ctx)
			cancel()
			if err != nil {
				break
			}
		}
		require.Less(t, got, 20)
		f = late()
		for range 100 - got {
			r.frame()
		}
		r.wantsNothing()
		_, err := f.Publish(t.Context(), "", "live")
		require.NoError(t, err)
		r.wants(`message 101 "live"`)
		r.client.Close(0, "")
	})
}

// A replay that ends because the value was lost goes on in the next value, without another event.
func TestFeedReplayOutlivesTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &dawdlingStore{edgews.NewMemoryStore(), func() {}}
		n := newFeedRooms(t, &edgews.NamespaceOptions{Store: store}, edgews.FeedOptions{})
		for i := range 100 {
			n.publish("", strings.Repeat("x", 1000+i))
		}
		r, from := slowReader(t, n, 16<<10)
		require.NoError(t, n.awake().Join(t.Context(), r.server, "ann", 0))
		n.state.WaitUntil(func(context.Context) {
			time.Sleep(time.Second)
			panic("lost")
		})
		store.pause = func() {
			store.pause = func() {}
			time.Sleep(2 * time.Second)
		}
		from.Resume()
		r.wants("cursor 0 here: ann")
		for i := range 100 {
			require.EqualValues(t, i+1, *r.frame().Seq)
		}
		require.EqualValues(t, 2, n.made.Load(), "values")
		r.client.Close(0, "")
	})
}
