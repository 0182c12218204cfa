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

// WebSocketMessage publishes a message whose id is its text, except "join".
func (o *follower) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	if m.Text() == "join" {
		var user string
		_ = s.Attachment(&user)
		return o.feed.Join(ctx, s, user, 0)
	}
	_, err := o.feed.Publish(ctx, m.Text(), m.Text())
	return err
}

// feedReader is a client that takes what it gets.
type feedReader struct {
	s     *edgews.Socket
	first chan struct{} // closed when it has got the first frame
	done  chan struct{} // closed when it has got all

	mu   sync.Mutex
	log  []string // frames that are no messages
	seqs []uint64 // of messages
	ids  map[string]bool
}

// reads takes frames until want messages have come.
func reads(t *testing.T, s *edgews.Socket, want int) *feedReader {
	r := &feedReader{s: s, first: make(chan struct{}), done: make(chan struct{}), ids: make(map[string]bool)}
	go func() {
		defer close(r.done)
		for got := 0; got < want; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			f, err := edgews.ReceiveJSON[edgews.FeedFrame](ctx, s)
			cancel()
			if !assert.NoError(t, err, "after %d messages", got) {
				return
			}
			if got == 0 && len(r.log) == 0 {
				close(r.first)
			}
			r.mu.Lock()
			if f.Type == "feed.message" {
				got++
				r.seqs = append(r.seqs, *f.Seq)
				r.ids[f.ID] = true
			} else {
				who := f.Who
				for _, p := range f.Here {
					who += " " + p.Who
				}
				r.log = append(r.log, f.Type+who)
			}
			r.mu.Unlock()
		}
	}()
	return r
}

// TestFeedsMove and TestFeedsSurviveDeath: each client gets each message once and in order while the home of the feed leaves, or dies.
func TestFeedsMove(t *testing.T) {
	testFeeds(t, func(home *site) { assert.NoError(t, home.Leave(context.Background())) })
}

func TestFeedsSurviveDeath(t *testing.T) { testFeeds(t, (*site).kill) }

func testFeeds(t *testing.T, end func(*site)) {
	const clients, messages = 6, 40
	sites := startSitesOf(t, newFollower, nil, "a", "b", "c")
	home, others := homeOf(t, sites, "lobby")
	var readers []*feedReader
	for i := range clients {
		s := others[i%2].dial(t, "lobby", fmt.Sprint(i))
		r := reads(t, s, messages)
		readers = append(readers, r)
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("join")))
		<-r.first
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
			require.Equal(t, uint64(n+1), seq, "client %d", i)
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
