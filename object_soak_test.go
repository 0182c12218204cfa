package edgews_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soaked is an object that counts the messages of its sockets and sends the counts back. It keeps nothing that matters in its fields.
type soaked struct {
	st    *edgews.State
	heard *soak
	fresh bool
}

// soak is what a test knows of all its objects: what each has heard, and how often one was constructed.
type soak struct {
	counts []atomic.Int64
	wakes  atomic.Int64
}

func (o *soaked) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (o *soaked) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	if !o.fresh {
		o.fresh = true
		o.heard.wakes.Add(1)
	}
	var which []byte
	if err := s.Attachment(&which); err != nil {
		return err
	}
	i := binary.BigEndian.Uint64(which)
	if got := o.heard.counts[i].Add(1); got != int64(binary.BigEndian.Uint64(m.Data)) {
		o.heard.counts[i].Add(1 << 40) // out of order, or twice: the total will not be right
	}
	return s.SendBytes(m.Data)
}

// TestObjectSoak has thousands of objects hibernate and wake at random under traffic; each message takes effect once.
func TestObjectSoak(t *testing.T) {
	objects, rounds := 10_000, 20
	if testing.Short() || raceEnabled {
		rounds = 5
	}
	heard := &soak{counts: make([]atomic.Int64, objects)}
	states := make(chan *edgews.State, 1)
	n := edgews.NewNamespace("soak", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		select {
		case states <- st:
		default:
		}
		return &soaked{st: st, heard: heard}, nil
	}, &edgews.NamespaceOptions{HibernateAfter: 5 * time.Millisecond, Options: edgews.Options{Logger: quiet}})

	clients, ids := make([]*edgews.Socket, objects), make([]edgews.ID, objects)
	answers := make([]atomic.Int64, objects)
	for i := range clients {
		client, server := edgews.NewPair()
		require.NoError(t, server.SetAttachment(binary.BigEndian.AppendUint64(nil, uint64(i))))
		clients[i], ids[i] = client, n.NewUniqueID()
		client.OnMessage(func(edgews.MessageEvent) { answers[i].Add(1) })
		require.NoError(t, client.Accept())
		acceptIn(t, n, ids[i], states, server)
	}
	const senders = 8
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(sender), 1))
			for round := range rounds {
				for i := sender; i < objects; i += senders {
					if !assert.NoError(t, clients[i].SendBytes(binary.BigEndian.AppendUint64(nil, uint64(round+1)))) {
						return
					}
					if random.IntN(10) == 0 {
						_ = n.Hibernate(t.Context(), ids[random.IntN(objects)])
					}
				}
			}
		})
	}
	all.Wait()
	for i := range clients {
		eventually(t, func() bool { return answers[i].Load() == int64(rounds) }, "all answers")
		require.EqualValues(t, rounds, heard.counts[i].Load())
	}
	t.Logf("%d messages, %d times a message woke its object", objects*rounds, heard.wakes.Load())
	assert.Greater(t, heard.wakes.Load(), int64(objects), "they did hibernate")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.Shutdown(ctx))
	for i := range clients {
		waitDone(t, clients[i])
	}
}

// acceptIn has the object with that ID accept s.
func acceptIn(t testing.TB, n *edgews.Namespace, id edgews.ID, states chan *edgews.State, s *edgews.Socket) {
	for {
		select {
		case <-states:
		default:
		}
		n.Get(id).ServeHTTP(nil, httpRequest)
		if (<-states).AcceptWebSocket(s) == nil {
			return
		}
		require.NoError(t, n.Hibernate(t.Context(), id))
	}
}

var httpRequest, _ = http.NewRequest(http.MethodGet, "/", nil)
