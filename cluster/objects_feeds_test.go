package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// follower is an object with a feed that its clients join.
type follower struct {
	st   *edgews.State
	feed *edgews.Feed
}

func newFollower(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	f, err := edgews.NewFeed(ctx, st, nil)
	return &follower{st, f}, err
}

func (o *follower) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tally"}})
	if err != nil || o.st.AcceptWebSocket(s) != nil {
		return
	}
	_ = s.SetAttachment(r.URL.Query().Get("user"))
}

// WebSocketMessage publishes a message whose id is its text, except "join", and "joined?", which it answers.
func (o *follower) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	switch m.Text() {
	case "join":
		var user string
		_ = s.Attachment(&user)
		return o.feed.Join(ctx, s, user, 0)
	case "joined?":
		return s.Send(`{"type":"joined"}`)
	}
	_, err := o.feed.Publish(ctx, m.Text(), m.Text())
	return err
}

// feedReader is a client that takes what it gets.
type feedReader struct {
	s      *edgews.Socket
	joined chan struct{} // closed when "joined?" is answered
	all    chan struct{} // closed when it knows that all clients are there
	done   chan struct{} // closed when it has got all

	// Of the goroutine that reads, until done is closed.
	log  []string // frames that are no messages
	seqs []uint64 // of messages
	ids  map[string]bool
}

// reads takes frames until want messages have come. others is how many clients join later.
func reads(t *testing.T, s *edgews.Socket, others, want int) *feedReader {
	r := &feedReader{s: s, joined: make(chan struct{}), all: make(chan struct{}), done: make(chan struct{}), ids: make(map[string]bool)}
	joined := sync.OnceFunc(func() { close(r.joined) })
	go func() {
		defer close(r.done)
		for got := 0; got < want; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			f, err := edgews.ReceiveJSON[edgews.FeedFrame](ctx, s)
			cancel()
			if !assert.NoError(t, err, "after %d messages", got) {
				return
			}
			switch f.Type {
			case "joined": // twice, if the home dies before the edge knows that "joined?" has been handled
				joined()
			case "feed.message":
				got++
				r.seqs = append(r.seqs, *f.Seq)
				r.ids[f.ID] = true
			default:
				who := f.Who
				for _, p := range f.Here {
					who += " " + p.Who
				}
				r.log = append(r.log, f.Type+who)
				if len(r.log) == 1+others {
					close(r.all)
				}
			}
		}
	}()
	return r
}

// awaitFrames waits until arrived is closed. The test fails if the reader ends before.
func awaitFrames(t *testing.T, r *feedReader, arrived <-chan struct{}) {
	t.Helper()
	select {
	case <-arrived:
	case <-r.done:
		require.FailNow(t, "a client has got too few frames")
	}
}

// TestFeedsMove and TestFeedsSurviveDeath: each client gets each message once and in order while the home of the feed leaves, or dies.
func TestFeedsMove(t *testing.T) {
	testFeeds(t, func(home *site) { assert.NoError(t, home.Leave(context.Background())) })
}

func TestFeedsSurviveDeath(t *testing.T) { testFeeds(t, (*site).kill) }

// testFeeds ends the home when the edges have got all of the frames that it has sent so far, and know that each Join has been handled. Otherwise the
// next home would handle a message "join" again, because its event stores nothing, and it would send feed.here in place of a feed.joined that
// was lost.
func testFeeds(t *testing.T, end func(*site)) {
	const clients, messages = 6, 40
	sites := startSitesOf(t, newFollower, nil, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	var readers []*feedReader
	for i := range clients {
		s := others[i%2].dial(t, "lobby", fmt.Sprint(i))
		r := reads(t, s, clients-1-i, messages)
		readers = append(readers, r)
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("join")))
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("joined?"))) // the answer comes behind the acknowledgement of "join"
		awaitFrames(t, r, r.joined)
	}
	for _, r := range readers {
		awaitFrames(t, r, r.all)
	}
	for i := range messages {
		if i == messages/2 {
			end(home)
		}
		require.NoError(t, readers[i%clients].s.Write(t.Context(), edgews.Text, fmt.Append(nil, i)))
	}
	for i, r := range readers {
		<-r.done
		for n, seq := range r.seqs {
			require.Equal(t, uint64(n+1), seq, "client %d, message %d of %d, after %v", i, n, len(r.seqs), r.log)
		}
		assert.Len(t, r.ids, messages, "client %d", i)
		var want []string
		for who := range i + 1 {
			if who == 0 {
				want = []string{"feed.cursor"}
			}
			want[0] += fmt.Sprint(" ", who)
		}
		for who := i + 1; who < clients; who++ {
			want = append(want, fmt.Sprint("feed.joined", who))
		}
		assert.Equal(t, want, r.log, "client %d", i)
	}
}
