package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
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

// hall is an object with a feed, to which clients connect and publish with requests.
type hall struct {
	st   *edgews.State
	feed *edgews.Feed
	r    *rand.Rand
}

// ServeHTTP makes a client a member, or publishes.
func (h *hall) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !edgews.IsUpgrade(req) {
		h.publish(w, req)
		return
	}
	after, _ := strconv.ParseUint(req.FormValue("cursor"), 10, 64)
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	if err := h.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "")
		return
	}
	if err := h.feed.Join(req.Context(), s, req.FormValue("who"), after); err != nil {
		s.Close(edgews.StatusInternalError, "")
	}
}

func (h *hall) publish(w http.ResponseWriter, req *http.Request) {
	id := req.FormValue("id")
	seq, err := h.feed.Publish(req.Context(), id, strings.Repeat(id, h.r.IntN(1000)))
	switch {
	case h.r.IntN(20) == 0:
		panic(http.ErrBodyNotAllowed) // the one who publishes does not know whether it was done
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case h.r.IntN(20) == 0:
		after := time.Duration(h.r.IntN(20)) * time.Millisecond
		h.st.WaitUntil(func(context.Context) {
			time.Sleep(after)
			panic("the value is lost, perhaps while another event runs")
		})
		fallthrough
	case h.r.IntN(4) == 0:
		h.st.WaitUntil(func(ctx context.Context) { h.feed.Publish(ctx, "", "by the way") })
		fallthrough
	default:
		fmt.Fprint(w, seq)
	}
}

// dawdlingStore is an engine whose scans take time: pause is called first.
type dawdlingStore struct {
	edgews.Store
	pause func()
}

// dawdling returns an engine whose scans take up to 10 ms.
func dawdling(seed uint64) *dawdlingStore {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 9))
	return &dawdlingStore{edgews.NewMemoryStore(), func() {
		mu.Lock()
		pause := time.Duration(r.IntN(10)) * time.Millisecond
		mu.Unlock()
		time.Sleep(pause)
	}}
}

func (s *dawdlingStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	return &dawdlingObject{o, s}, err
}

type dawdlingObject struct {
	edgews.ObjectStore
	s *dawdlingStore
}

func (o *dawdlingObject) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		o.s.pause()
		o.ObjectStore.Scan(ctx, r)(yield)
	}
}

// world is a feed with everything that goes wrong around it, and what its clients and publishers know.
type world struct {
	t       *testing.T
	store   *watchedStore
	srv     *edgewstest.Server
	opts    edgews.FeedOptions
	now     atomic.Pointer[edgews.Namespace]
	calm    atomic.Bool // nothing goes wrong any more
	mayGone bool        // messages may be gone

	mu   sync.Mutex
	log  map[uint64]string // the frames of messages, by number
	seqs map[string]uint64 // by id
}

func newWorld(t *testing.T, opts edgews.FeedOptions, seed uint64) *world {
	w := &world{t: t, opts: opts, store: watch(t, dawdling(seed)), log: make(map[uint64]string), seqs: make(map[string]uint64)}
	w.start(seed)
	w.srv = edgewstest.New(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.object().ServeHTTP(rw, req)
	}))
	w.srv.OnConnect = func(client *edgewstest.Conn) { client.Incoming().Set(edgewstest.Faults{Buffer: 4 << 10}) }
	return w
}

func (w *world) object() *edgews.Stub {
	n := w.now.Load()
	return n.Get(n.IDFromName("hall"))
}

// start begins a process, as it were.
func (w *world) start(seed uint64) {
	w.now.Store(edgews.NewNamespace("halls", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
		f, err := edgews.NewFeed(ctx, st, &w.opts)
		return &hall{st, f, rand.New(rand.NewPCG(seed, 7))}, err
	}, &edgews.NamespaceOptions{Store: w.store, HibernateAfter: 300 * time.Millisecond, Options: edgews.Options{
		Logger: quiet, SendBuffer: 8 << 10, Overflow: edgews.OverflowClose, KeepAlive: -1, Compression: &edgews.Compression{Disable: seed%2 == 0},
	}}))
}

// stop ends the process.
func (w *world) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = w.now.Load().Shutdown(ctx)
}

// wreck does something bad.
func (w *world) wreck(r *rand.Rand) {
	n := w.now.Load()
	switch r.IntN(6) {
	case 0:
		w.stop(time.Duration(r.IntN(300)) * time.Millisecond)
		time.Sleep(time.Second) // calls that were cut may be under way
		w.start(r.Uint64())
	case 1, 2:
		_ = n.Hibernate(context.Background(), n.IDFromName("hall"))
	default:
		fails := r.IntN(3)
		w.store.interfere(func(context.Context, edgews.Batch) error {
			time.Sleep(time.Duration(fails) * 5 * time.Millisecond)
			if w.calm.Load() || fails == 0 {
				return nil
			}
			fails--
			return errors.New("disk is full")
		})
	}
}

// publishes publishes a message until it has a number, and now and then once more.
func (w *world) publishes(r *rand.Rand, id string) {
	for again := r.IntN(3); ; {
		rec := httptest.NewRecorder()
		func() {
			defer func() { _ = recover() }() // a stub answers a panic with another one
			w.object().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/?id="+id, nil))
		}()
		seq, err := strconv.ParseUint(rec.Body.String(), 10, 64)
		if err == nil && rec.Code == http.StatusOK {
			w.numbered(id, seq)
			if again--; again < 0 {
				return
			}
		}
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
}

func (w *world) numbered(id string, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if was, known := w.seqs[id]; known {
		assert.Equal(w.t, was, seq, "number of %s", id)
	}
	w.seqs[id] = seq
}

// saw compares what a client has got with what others have.
func (w *world) saw(f edgews.FeedFrame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq, message := *f.Seq, f.ID+" "+string(f.Data)
	if other, known := w.log[seq]; known {
		assert.Equal(w.t, other, message, "message %d", seq)
	}
	w.log[seq] = message
}

// follower is a client of a feed.
type follower struct {
	w      *world
	r      *rand.Rand
	who    string
	cursor uint64
	here   []string // who is there, as far as it knows
	joined int      // connections
	behind int      // times that it was told that messages are gone
}

// follows connects until ctx ends.
func (c *follower) follows(ctx context.Context) {
	for ctx.Err() == nil {
		path := fmt.Sprintf("/?who=%s&cursor=%d", c.who, c.cursor)
		s, _, err := c.w.srv.TryDial(ctx, path, nil)
		if err != nil {
			time.Sleep(time.Duration(c.r.IntN(200)) * time.Millisecond)
			continue
		}
		c.joined++
		c.reads(ctx, s)
		if ctx.Err() == nil && c.r.IntN(2) == 0 {
			c.w.srv.Conn(s).Close() // without a word
		}
		s.Close(0, "")
		for range s.Messages(context.Background()) {
			_ = s // what comes now is lost
		}
	}
}

// reads takes frames until it has had enough of the connection.
func (c *follower) reads(ctx context.Context, s *edgews.Socket) {
	patience := time.Duration(1+c.r.IntN(3000)) * time.Millisecond
	enough := time.Now().Add(patience)
	for first := true; time.Now().Before(enough) || c.w.calm.Load(); first = false {
		receive, cancel := context.WithTimeout(ctx, patience)
		f, err := edgews.ReceiveJSON[edgews.FeedFrame](receive, s)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && !first:
			continue
		case err != nil:
			return
		}
		assert.Equal(c.w.t, first, f.Type == "feed.cursor" && f.Here != nil, "%v", f)
		c.takes(f)
		if c.r.IntN(20) == 0 && !c.w.calm.Load() {
			c.stalls(s)
		}
	}
}

// stalls has the client not read for a while.
func (c *follower) stalls(s *edgews.Socket) {
	from := c.w.srv.Conn(s).Incoming()
	from.Stall()
	time.Sleep(time.Duration(c.r.IntN(3000)) * time.Millisecond)
	from.Resume()
}

// takes checks a frame.
func (c *follower) takes(f edgews.FeedFrame) {
	t := c.w.t
	switch f.Type {
	case "feed.cursor":
		if !f.Gone {
			assert.Equal(t, c.cursor, *f.Seq)
		} else {
			assert.True(t, c.w.mayGone, "gone: %d, and has %d", *f.Seq, c.cursor)
			assert.Greater(t, *f.Seq, c.cursor)
			c.behind++
		}
		c.cursor = *f.Seq
	case "feed.message":
		assert.Equal(t, c.cursor+1, *f.Seq)
		c.w.saw(f)
		c.cursor = *f.Seq
	case "feed.joined":
		assert.NotContains(t, c.here, f.Who)
		c.here = append(c.here, f.Who)
	case "feed.left":
		assert.Contains(t, c.here, f.Who)
		c.here = slices.DeleteFunc(c.here, func(who string) bool { return who == f.Who })
	}
	if f.Here != nil {
		c.here = nil
		for _, p := range f.Here {
			c.here = append(c.here, p.Who)
		}
	}
}

// TestFeedExactlyOnce has clients follow a feed and publish to it while processes end, commits fail, values are lost, the object hibernates,
// connections break and clients read slowly. Every client gets every message once and in order, or is told that some are gone; every id is
// published once; and in the end all know who is there.
func TestFeedExactlyOnce(t *testing.T) {
	cases := []struct {
		name string
		opts edgews.FeedOptions
	}{
		{"all is kept", edgews.FeedOptions{Name: "news", Keep: 1 << 20}},
		{"little is kept", edgews.FeedOptions{Keep: 7}},
		{"nothing is kept", edgews.FeedOptions{Keep: -1}},
		{"a second is kept", edgews.FeedOptions{MaxAge: time.Second}},
	}
	seeds := 5
	if testing.Short() || raceEnabled {
		seeds = 2
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) { exactlyOnce(t, c.opts, uint64(seed)) })
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func exactlyOnce(t *testing.T, opts edgews.FeedOptions, seed uint64) {
	const publishers, each, followers = 4, 40, 6
	w := newWorld(t, opts, seed)
	w.mayGone = opts.Keep < 1000 && opts.Keep != 0 || opts.MaxAge > 0
	random := func(n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	var following, publishing sync.WaitGroup
	clients := make([]*follower, followers)
	for i := range clients {
		clients[i] = &follower{w: w, r: random(100 + i), who: fmt.Sprintf("user%d", i/2)} // two windows each
		following.Go(func() { clients[i].follows(ctx) })
	}
	for i := range publishers {
		r := random(200 + i)
		publishing.Go(func() {
			for n := range each {
				w.publishes(r, fmt.Sprintf("p%d-%d", i, n))
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			}
		})
	}
	wrecked := make(chan struct{})
	go func() {
		defer close(wrecked)
		for r := random(1); !w.calm.Load(); {
			w.wreck(r)
			time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
		}
	}()
	publishing.Wait()
	w.calm.Store(true)
	<-wrecked
	time.Sleep(time.Minute)
	last := w.check(clients)
	var connections, gone int
	for _, c := range clients {
		connections += c.joined
		gone += c.behind
	}
	t.Logf("%d messages, %d connections, %d times gone", last, connections, gone)
	cancel()
	following.Wait()
	w.stop(time.Minute)
	w.srv.Close()
}

// check compares what clients and publishers know.
func (w *world) check(clients []*follower) (last uint64) {
	t := w.t
	w.publishes(rand.New(rand.NewPCG(0, 0)), "end")
	time.Sleep(time.Second)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := range w.log {
		last = max(last, seq)
	}
	for _, c := range clients {
		assert.Equal(t, last, c.cursor, "of %s", c.who)
		slices.Sort(c.here)
		assert.Equal(t, []string{"user0", "user1", "user2"}, c.here)
	}
	bySeq := make(map[uint64]string)
	for id, seq := range w.seqs {
		assert.Empty(t, bySeq[seq], "two ids have number %d", seq)
		bySeq[seq] = id
		if message, seen := w.log[seq]; seen || !w.mayGone {
			assert.True(t, strings.HasPrefix(message, id+" "), "message %d is %q", seq, message)
		}
	}
	for seq, message := range w.log {
		if id, _, _ := strings.Cut(message, " "); id != "" {
			assert.Equal(t, seq, w.seqs[id], "number of %s", id)
		}
	}
	require.False(t, t.Failed())
	return last
}
