package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The number of a message that is committed and not sent yet is given to no other one, also if the storage is emptied meanwhile.
func TestFeedNumbersAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedRooms(t, nil, edgews.FeedOptions{})
		sending, goOn := make(chan struct{}, 10), make(chan struct{})
		r := &reader{t: t}
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Options: edgews.Options{
				Compression: &edgews.Compression{Threshold: 60, Choose: func(edgews.Kind, []byte) bool {
					sending <- struct{}{}
					<-goOn
					return true
				}},
			}})
			if assert.NoError(t, err) {
				r.server = s
			}
		}))
		r.client = srv.Dial("/", &edgews.DialOptions{Options: edgews.Options{Compression: &edgews.Compression{}}})
		synctest.Wait()
		storage := n.wake(n.id).Storage()
		require.NoError(t, n.state.AcceptWebSocket(r.server))
		f := n.awake()
		require.NoError(t, f.Join(t.Context(), r.server, "", 0))
		var publishing sync.WaitGroup
		for i := range 3 {
			if i == 2 {
				require.NoError(t, storage.DeleteAll(t.Context()))
			}
			publishing.Go(func() {
				seq, err := f.Publish(context.Background(), "", i+1)
				assert.NoError(t, err)
				assert.EqualValues(t, i+1, seq)
			})
			synctest.Wait()
		}
		require.Len(t, sending, 1, "the first message is being sent")
		close(goOn)
		publishing.Wait()
		r.wants("cursor 0 here:", "message 1 1", "message 2 2", "message 3 3")
		r.client.Close(0, "")
	})
}

// A replay ends with the membership: it does not go on beside that of a socket that has joined again.
func TestFeedLeaveEndsTheReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &dawdlingStore{edgews.NewMemoryStore(), func() {}}
		n := newFeedRooms(t, &edgews.NamespaceOptions{Store: store}, edgews.FeedOptions{})
		for i := range 3 {
			n.publish("", i+1)
		}
		r, f := n.connect(), n.awake()
		var scans atomic.Int32
		goOn := make(chan struct{})
		store.pause = func() {
			if scans.Add(1) == 3 { // Join has looked at the last message twice
				<-goOn
			}
		}
		joined := make(chan error)
		go func() { joined <- f.Join(context.Background(), r.server, "ann", 0) }()
		synctest.Wait()
		r.wants("cursor 0 here: ann")
		r.wantsNothing()
		require.NoError(t, f.Leave(r.server))
		require.NoError(t, f.Join(t.Context(), r.server, "bob", 1))
		close(goOn)
		require.NoError(t, <-joined)
		n.publish("", 4)
		r.wants("cursor 1 here: bob", "message 2 2", "message 3 3", "message 4 4")
		r.wantsNothing()
	})
}

// strictReader takes what a client gets from several feeds, and checks that the messages of each follow each other behind its cursor.
type strictReader struct {
	t       testing.TB
	client  *edgews.Socket
	server  *edgews.Socket
	flow    *edgewstest.Flow // to the client
	mu      sync.Mutex
	cursors map[string]uint64 // by feed. Guarded by mu
}

func (r *strictReader) read() {
	for {
		f, err := edgews.ReceiveJSON[edgews.FeedFrame](context.Background(), r.client)
		if err != nil {
			return
		}
		r.mu.Lock()
		switch cursor, known := r.cursors[f.Feed]; f.Type {
		case "feed.cursor":
			r.cursors[f.Feed] = *f.Seq
		case "feed.message":
			assert.True(r.t, known, "a message before a cursor")
			assert.Equal(r.t, cursor+1, *f.Seq)
			r.cursors[f.Feed] = *f.Seq
		default:
			assert.True(r.t, known, "%s before a cursor", f.Type)
		}
		r.mu.Unlock()
	}
}

func (r *strictReader) cursor(feed string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cursors[feed]
}

// TestFeedMembersDoAnything has goroutines use two feeds of an object and the same sockets at once: Join with any cursor and name, Replay,
// Leave and Close in any order, while others publish, readers stall, and the object hibernates and loses its storage. Every client gets the
// messages behind each cursor without a gap, and in the end all that is published.
func TestFeedMembersDoAnything(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() || raceEnabled {
		seeds = 5
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { membersRun(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// twoFeeds is a namespace of an object with two feeds.
type twoFeeds struct {
	*rooms
	id      edgews.ID
	feeds   [2]*edgews.Feed // of the value that was constructed last; guarded by rooms.mu
	readers []*strictReader
}

func newTwoFeeds(t *testing.T, seed uint64) *twoFeeds {
	n := &twoFeeds{}
	n.rooms = newRooms(t, &edgews.NamespaceOptions{Store: watch(t, dawdling(seed)), HibernateAfter: 50 * time.Millisecond}, func(r *room) {
		var feeds [2]*edgews.Feed
		for i, opts := range []edgews.FeedOptions{{Name: "a", Keep: 20}, {Name: "b", LeaveAfter: 10 * time.Millisecond}} {
			f, err := edgews.NewFeed(context.Background(), r.st, &opts)
			if errors.Is(err, edgews.ErrShutdown) || errors.Is(err, edgews.ErrAborted) || !assert.NoError(t, err) {
				return
			}
			feeds[i] = f
		}
		n.mu.Lock()
		n.feeds = feeds
		n.mu.Unlock()
	})
	n.id = n.IDFromName("room")
	return n
}

func (n *twoFeeds) feed(i int) *edgews.Feed {
	n.get(n.id)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.feeds[i]
}

// connect gives the object network connections with little room.
func (n *twoFeeds) connect(count int) {
	var server *edgews.Socket
	srv := edgewstest.New(n.t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s, err := edgews.Upgrade(w, req, &edgews.UpgradeOptions{Options: edgews.Options{
			SendBuffer: 4 << 10, WriteTimeout: -1, KeepAlive: -1, Compression: &edgews.Compression{Disable: true},
		}})
		if assert.NoError(n.t, err) {
			server = s
		}
	}))
	srv.OnConnect = func(client *edgewstest.Conn) { client.Incoming().Set(edgewstest.Faults{Buffer: 1 << 10}) }
	for range count {
		client := srv.Dial("/", nil)
		synctest.Wait()
		require.NoError(n.t, n.wake(n.id).AcceptWebSocket(server))
		r := &strictReader{t: n.t, client: client, server: server, flow: srv.Conn(client).Incoming(), cursors: make(map[string]uint64)}
		go r.read()
		n.readers = append(n.readers, r)
	}
}

// step does something. The errors are those of feeds of values that hibernate, and of sockets that end meanwhile.
func (n *twoFeeds) step(r *rand.Rand) {
	i := r.IntN(2)
	f, to := n.feed(i), n.readers[r.IntN(len(n.readers))]
	var err error
	switch op := r.IntN(25); {
	case op < 10:
		_, err = f.Publish(context.Background(), "", strings.Repeat("x", r.IntN(500)))
	case op < 16:
		err = f.Join(context.Background(), to.server, []string{"", "ann", "bob"}[r.IntN(3)], uint64(r.IntN(40)))
	case op < 18:
		err = f.Replay(context.Background(), to.server, f.Last()-min(f.Last(), uint64(r.IntN(30))))
	case op < 21:
		err = f.Leave(to.server)
	case op < 22:
		_ = n.Hibernate(context.Background(), n.id) // it may be busy
	case op < 23:
		to.flow.Stall()
	case op < 24:
		to.flow.Resume()
	case r.IntN(10) == 0:
		n.wake(n.id).WaitUntil(func(context.Context) { panic("the value is lost") })
	case r.IntN(20) == 0:
		to.client.Close(0, "")
	case r.IntN(20) == 0:
		err = n.wake(n.id).Storage().DeleteAll(context.Background())
	}
	for _, expected := range []error{nil, edgews.ErrAborted, edgews.ErrClosed, edgews.ErrNotOwned, edgews.ErrNotJoined} {
		if errors.Is(err, expected) {
			return
		}
	}
	assert.NoError(n.t, err)
}

// publishAndLeave checks that all sockets get the next message that are members, and ends their memberships.
func (n *twoFeeds) publishAndLeave() {
	for i, name := range []string{"a", "b"} {
		last, err := n.feed(i).Publish(n.t.Context(), "", "for all members")
		require.NoError(n.t, err)
		time.Sleep(time.Minute)
		for _, r := range n.readers {
			got := r.cursor(name) == last
			if err := n.feed(i).Leave(r.server); err == nil {
				assert.True(n.t, got, "member of feed %s", name)
			}
		}
		assert.Empty(n.t, n.feed(i).Here())
	}
}

func membersRun(t *testing.T, seed uint64) {
	n := newTwoFeeds(t, seed)
	n.connect(6)
	var workers sync.WaitGroup
	for w := range uint64(4) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(seed, w))
			for range 150 {
				n.step(r)
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
		})
	}
	workers.Wait()
	for _, r := range n.readers {
		r.flow.Resume()
	}
	time.Sleep(time.Minute)
	n.publishAndLeave()
	open := 0
	for _, r := range n.readers {
		if r.client.ReadyState() == edgews.Open {
			open++
			require.NoError(t, n.feed(0).Join(t.Context(), r.server, "cid", 0))
			require.NoError(t, n.feed(1).Join(t.Context(), r.server, "", n.feed(1).Last()))
		}
	}
	for i, name := range []string{"a", "b"} {
		for range 3 {
			_, err := n.feed(i).Publish(t.Context(), "", fmt.Sprint("last of ", name))
			require.NoError(t, err)
		}
	}
	time.Sleep(time.Minute)
	for i, name := range []string{"a", "b"} {
		for _, r := range n.readers {
			if r.client.ReadyState() == edgews.Open {
				assert.Equal(t, n.feed(i).Last(), r.cursor(name), "feed %s", name)
			}
		}
	}
	sockets := 0
	for _, p := range n.feed(0).Here() {
		assert.Equal(t, "cid", p.Who)
		sockets += p.Sockets
	}
	assert.Equal(t, open, sockets)
	assert.Empty(t, n.feed(1).Here())
	for _, r := range n.readers {
		r.client.Close(0, "")
	}
	time.Sleep(time.Minute)
	assert.Empty(t, n.feed(0).Here())
}
