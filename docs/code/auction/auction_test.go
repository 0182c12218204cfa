package auction_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/docs/code/auction"
	"github.com/edgews/edgews/edgewstest"
	"github.com/edgews/edgews/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A function that takes a socket: the test is the other end of a pair.
func TestBid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bidder, room := edgews.NewPair()
		rec := edgewstest.Record(t, room)
		room.Accept()
		go auction.Bid(t.Context(), bidder, 12)
		rec.Send("best 10")
		rec.Want(`sent text "best 10"`, `text "11"`)
		rec.Send("best 11") // its own
		rec.Send("best 12") // its limit
		rec.Want(`sent text "best 11"`, `sent text "best 12"`)
		rec.WantNothing(time.Minute)
		rec.Close(edgews.StatusNormalClosure, "")
		rec.WantEnd(`sent close 1000 ""`, `close 1000 "" clean=true`)
	})
}

// house is an auction house for a test: a server in memory, in a bubble.
type house struct {
	*edgewstest.Server
	auctions *edgews.Namespace
}

func open(t *testing.T, opts *edgews.NamespaceOptions) house {
	auctions := edgews.NewNamespace("auctions", auction.New, opts)
	t.Cleanup(func() { auctions.Shutdown(context.Background()) }) // after the server has been closed
	return house{edgewstest.New(t, auction.Handler(auctions)), auctions}
}

// enter opens a socket to an auction.
func (h house) enter(t *testing.T, name string) *edgewstest.Recorder {
	s := h.Dial("/"+name, nil)
	rec := edgewstest.Record(t, s)
	require.NoError(t, s.Accept())
	return rec
}

// An object behind a server: what each client gets, in order.
func TestAuction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		ann, bob := h.enter(t, "vase"), h.enter(t, "vase")
		ann.Want(`text "best 0"`)
		bob.Want(`text "best 0"`)
		ann.Send("5")
		ann.Want(`sent text "5"`, `text "best 5"`)
		bob.Want(`text "best 5"`)
		bob.Send("5")
		bob.Want(`sent text "5"`, `text "no, best 5"`)

		ann.WantNothing(59*time.Minute + 30*time.Second) // takes no time
		ann.WantEnd(`text "sold for 5"`, `close 1000 "" clean=true`)
		bob.WantEnd(`text "sold for 5"`, `close 1000 "" clean=true`)
	})
}

// Hibernation: the object must not rely on what it had in memory.
func TestHibernation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		ann := h.enter(t, "vase")
		ann.Want(`text "best 0"`)
		ann.Send("5")
		ann.Want(`sent text "5"`, `text "best 5"`)

		ann.WantNothing(30 * time.Second)
		for o := range h.auctions.Objects() {
			assert.Equal(t, edgews.ObjectHibernated, o.State)
		}
		ann.Send("4") // wakes it
		ann.Want(`sent text "4"`, `text "no, best 5"`)
	})
}

// Another process: a second namespace with the same store.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		before := open(t, &edgews.NamespaceOptions{Store: store})
		ann := before.enter(t, "vase")
		ann.Want(`text "best 0"`)
		ann.Send("5")
		ann.Want(`sent text "5"`, `text "best 5"`)
		require.NoError(t, before.auctions.Shutdown(t.Context()))
		ann.WantEnd(`close 1012 "service restart" clean=true`)

		after := open(t, &edgews.NamespaceOptions{Store: store})
		ann = after.enter(t, "vase")
		ann.Want(`text "best 5"`)
		ann.WantNothing(59*time.Minute + 30*time.Second)
		ann.WantEnd(`text "sold for 5"`, `close 1000 "" clean=true`) // the alarm that the first process set
	})
}

// Inside an object: Do runs a function as one of its events.
func TestInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		require.NoError(t, h.auctions.Hibernate(t.Context(), h.auctions.IDFromName("/vase"))) // as after 10 s
		err := h.auctions.ByName("/vase").Do(t.Context(), func(ctx context.Context, o edgews.Object) error {
			return o.(edgews.AlarmHandler).Alarm(ctx) // an alarm without bids
		})
		assert.NoError(t, err)
	})
}

// A client: the test is the server.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		shown := make(chan string, 10)
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- auction.Watch(ctx, fake.URL, fake.Client(), func(text string) { shown <- text })
		}()
		first := fake.Accept()
		first.Write(edgewstest.TextFrame("best 1"))
		assert.Equal(t, "best 1", <-shown)
		first.Close() // the connection is lost

		second := fake.Accept() // Watch has connected again
		second.Write(edgewstest.TextFrame("best 2"))
		assert.Equal(t, "best 2", <-shown)
		cancel()
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
}

// A network that does not work.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		ann, bob := h.enter(t, "vase"), h.enter(t, "vase")
		ann.Want(`text "best 0"`)
		bob.Want(`text "best 0"`)

		conn := h.Conn(bob.Socket())
		conn.Incoming().Stall() // bob gets nothing, and ann notices nothing
		ann.Send("5")
		ann.Want(`sent text "5"`, `text "best 5"`)
		bob.WantNothing(10 * time.Second)
		conn.Incoming().Resume()
		bob.Want(`text "best 5"`)

		conn.Outgoing().Drop() // bob is gone, and nothing tells the server
		require.Equal(t, 2, sockets(h))
		ann.WantNothing(50 * time.Second)
		assert.Equal(t, 1, sockets(h), "keep-alive has found out")
	})
}

// sockets returns how many sockets the auctions have.
func sockets(h house) (n int) {
	for o := range h.auctions.Objects() {
		n += o.Sockets
	}
	return n
}

// Peers that break the protocol, in every way that edgewstest knows.
func TestViolations(t *testing.T) {
	for _, v := range edgewstest.Violations() {
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, nil)
				peer := h.DialPeer("/vase", nil)
				peer.Expect(edgewstest.TextFrame("best 0"))
				peer.Write(v.Frames...)
				peer.ExpectClose(v.Code)
				ann := h.enter(t, "vase")
				ann.Want(`text "best 0"`) // the others do not notice
			})
		})
	}
}

// fullStore is a store whose disk is full.
type fullStore struct{ edgews.Store }

type fullObject struct{ edgews.ObjectStore }

var errFull = errors.New("the disk is full")

func (s fullStore) Open(ctx context.Context, o edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	object, err := s.Store.Open(ctx, o, f)
	return fullObject{object}, err
}

func (fullObject) Commit(context.Context, edgews.Batch) error { return errFull }

// Storage that fails: no client may see a bid that is not stored.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, &edgews.NamespaceOptions{
			Store:   fullStore{edgews.NewMemoryStore()},
			Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)},
		})
		ann := h.enter(t, "vase")
		ann.Want(`text "best 0"`)
		ann.Send("5")
		ann.Want(`sent text "5"`)
		assert.True(t, strings.HasPrefix(ann.Next(), "close 1011"))
	})
}

// crashes counts what must not happen.
type crashes struct {
	edgews.NopObserver
	t testing.TB
}

func (c crashes) ObserveObject(o edgews.ObjectObservation) {
	if o.Event == edgews.EventCrashed {
		c.t.Errorf("%v of %s: %v", o.Event, o.ID.Name(), o.Err)
	}
}

// FuzzAuction sends what a client could send.
func FuzzAuction(f *testing.F) {
	f.Add("5", true)
	f.Add("-1", false)
	f.Add("99999999999999999999", true)
	f.Fuzz(func(t *testing.T, message string, isText bool) {
		auctions := edgews.NewNamespace("auctions", auction.New, &edgews.NamespaceOptions{
			Options: edgews.Options{Observer: crashes{t: t}},
		})
		defer auctions.Shutdown(context.Background())
		s, _, err := auctions.ByName("vase").Connect(t.Context(), nil) // no network
		require.NoError(t, err)
		defer s.Receive(t.Context()) // after Close: the end, so that Shutdown has nothing to close
		defer s.Close(edgews.StatusNormalClosure, "")
		m, err := s.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, "best 0", m.Text())
		kind := edgews.Binary
		if isText {
			kind = edgews.Text
		}
		if err := s.Write(t.Context(), kind, []byte(message)); errors.Is(err, edgews.ErrInvalidUTF8) {
			return // edgews refuses to send it
		}
		m, err = s.Receive(t.Context())
		require.NoError(t, err)
		want := "no, best 0"
		if bid, err := strconv.Atoi(message); err == nil && bid > 0 {
			want = "best " + strconv.Itoa(bid)
		}
		require.Equal(t, want, m.Text())
	})
}

// An engine of your own has to pass this.
func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) edgews.Store { return edgews.NewMemoryStore() })
}

// The program as it is used: over TCP, by three clients.
func TestEndToEnd(t *testing.T) {
	auctions := edgews.NewNamespace("auctions", auction.New, nil)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	server := &http.Server{Handler: auction.Handler(auctions)}
	served := make(chan error, 1)
	go func() { served <- edgews.Serve(l, server) }()
	url := "ws://" + l.Addr().String() + "/vase"

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a failure ends, and says where
	defer cancel()
	person, _, err := edgews.Dial(ctx, url, nil)
	require.NoError(t, err)
	rec := edgewstest.Record(t, person)
	require.NoError(t, person.Accept())
	rec.Want(`text "best 0"`)

	robot, _, err := edgews.Dial(ctx, url, nil)
	require.NoError(t, err)
	last := make(chan string, 1)
	go func() {
		text, err := auction.Bid(ctx, robot, 20)
		assert.NoError(t, err)
		last <- text
	}()
	rec.Want(`text "best 1"`)
	rec.Send("10")
	rec.Want(`sent text "10"`, `text "best 10"`, `text "best 11"`)
	rec.Send("30") // beyond the limit of the robot
	rec.Want(`sent text "30"`, `text "best 30"`)
	require.NoError(t, auctions.RunAlarm(ctx, auctions.IDFromName("/vase"))) // an hour is too long for this test
	rec.WantEnd(`text "sold for 30"`, `close 1000 "" clean=true`)
	assert.Equal(t, "sold for 30", <-last)
	server.Close()
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
	assert.NoError(t, auctions.Shutdown(ctx))
}
