package edgews_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelSubscriber is a subscriber as a model: the topics that it has, and what it has heard.
type modelSubscriber struct {
	*subscriber
	object string
	topics []string
	heard  []string
	open   bool
}

// TestTopicsAgainstAModel makes random calls, one after the other, and compares what every client hears with lists of topics.
func TestTopicsAgainstAModel(t *testing.T) {
	for _, seed := range []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { topicsAgainstAModel(t, rand.New(rand.NewPCG(seed, 0)), 600) })
		})
	}
}

func topicsAgainstAModel(t *testing.T, r *rand.Rand, steps int) {
	n := newRooms(t, nil, nil)
	topics, objects := []string{"a", "b", "c", "d", "e"}, []string{"one", "two", "three"}
	var all []*modelSubscriber
	one := func(of []string) string { return of[r.IntN(len(of))] }
	some := func(object string) (chosen []*modelSubscriber, sockets []*edgews.Socket) {
		for _, s := range all {
			if s.open && s.object == object && r.IntN(2) == 0 {
				chosen, sockets = append(chosen, s), append(sockets, s.server)
			}
		}
		return chosen, sockets
	}
	end := func(s *modelSubscriber) { s.open, s.topics = false, nil }
	for step := range steps {
		topic, object := one(topics), one(objects)
		id := n.IDFromName(object)
		switch r.IntN(12) {
		case 0, 1, 2:
			chosen, sockets := some(object)
			require.NoError(t, n.stateOf(id).Subscribe(topic, sockets...))
			for _, s := range chosen {
				if !slices.Contains(s.topics, topic) {
					s.topics = append(s.topics, topic)
				}
			}
		case 3, 4:
			chosen, sockets := some(object)
			require.NoError(t, n.stateOf(id).Unsubscribe(topic, sockets...))
			for _, s := range chosen {
				s.topics = slices.DeleteFunc(s.topics, func(has string) bool { return has == topic })
			}
		case 5, 6, 7, 8:
			text := fmt.Sprint(topic, step)
			n.publishes(topic, text)
			for _, s := range all {
				if slices.Contains(s.topics, topic) {
					s.heard = append(s.heard, message(text))
				}
			}
		case 9:
			require.NoError(t, n.Hibernate(t.Context(), id))
		case 10:
			if r.IntN(10) == 0 {
				n.stateOf(id).Abort(nil)
				for _, s := range all {
					if s.object == object {
						end(s)
					}
				}
				break
			}
			if chosen, _ := some(object); len(chosen) > 0 {
				s := chosen[0]
				end(s)
				require.NoError(t, []*edgews.Socket{s.client, s.server}[r.IntN(2)].Close(1000, ""))
				synctest.Wait()
			}
		case 11:
			s := &modelSubscriber{subscriber: n.subscribed(object), object: object, open: true}
			all = append(all, s)
		}
		counts := make(map[string]int)
		for _, s := range all {
			for _, topic := range s.topics {
				counts[topic]++
			}
			if s.open && s.object == object {
				has, err := n.stateOf(id).Topics(s.server)
				require.NoError(t, err)
				require.Equal(t, strings.Join(s.topics, " "), strings.Join(has, " "), "step %d", step)
			}
		}
		require.Equal(t, counts, topicsOf(n.Namespace), "step %d", step)
	}
	synctest.Wait()
	for _, s := range all {
		var heard []string
		for _, event := range s.events.Rest() {
			if strings.HasPrefix(event, "text") {
				heard = append(heard, event)
			}
		}
		require.Equal(t, s.heard, heard)
	}
}

// span is when something began and ended, by a clock that counts what happens.
type span struct{ began, ended int64 }

// listening is what a test knows of the subscription of a socket to a topic. From surely.began to surely.ended the socket has it; outside of
// maybe it has not.
type listening struct{ surely, maybe span }

const never = math.MaxInt64

// hammered is a socket of TestTopicsUnderConcurrency. Only one goroutine changes its subscriptions.
type hammered struct {
	*subscriber
	object edgews.ID
	had    map[string][]listening // by topic

	mu    sync.Mutex
	heard []string // guarded by mu
}

// TestTopicsUnderConcurrency has several goroutines publish, subscribe, unsubscribe, close and hibernate at the same time. Each socket must
// get, in the order of each publisher and once, all that was published while it had the topic, and nothing from before or after.
func TestTopicsUnderConcurrency(t *testing.T) {
	t.Run("pairs", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			hammerTopics(t, func() (client, server *edgews.Socket) { return edgews.NewPair() })
		})
	})
	t.Run("tcp", func(t *testing.T) {
		hammerTopics(t, func() (client, server *edgews.Socket) { return overTCP.connect(t, edgews.Options{}) })
	})
}

func hammerTopics(t *testing.T, connect func() (client, server *edgews.Socket)) {
	const publishers, sockets, messages, changes = 3, 12, 300, 1000 // at least
	topics := []string{"a", "b", "c"}
	n := newRooms(t, nil, nil)
	var clock, changed atomic.Int64
	published := make(map[string]span) // by message. Guarded by mu
	var mu sync.Mutex

	var all []*hammered
	for i := range sockets {
		client, server := connect()
		h := &hammered{had: make(map[string][]listening), object: n.IDFromName(fmt.Sprint("object ", i%4))}
		client.OnMessage(func(e edgews.MessageEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.heard = append(h.heard, e.Text())
		})
		h.subscriber = &subscriber{client: client, server: server}
		require.NoError(t, n.stateOf(h.object).AcceptWebSocket(server))
		require.NoError(t, client.Accept())
		all = append(all, h)
	}

	for _, topic := range topics { // of two sockets that keep them
		for _, h := range all[:2] {
			h.subscribes(t, n, topic, &clock)
		}
	}

	var publishing, changing sync.WaitGroup
	stop := make(chan struct{})
	for p := range publishers {
		publishing.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for i := 0; i < messages || changed.Load() < changes; i++ {
				topic := topics[r.IntN(len(topics))]
				text := fmt.Sprint(p, " ", i, " ", topic)
				began := clock.Add(1)
				publish := func(ctx context.Context) {
					assert.NoError(t, n.Publish(ctx, topic, edgews.Prepare(edgews.Text, []byte(text))))
				}
				if p == 0 {
					publish(t.Context())
				} else { // in an event
					assert.NoError(t, n.ByName(fmt.Sprint("publisher ", p)).Do(t.Context(), func(ctx context.Context, _ edgews.Object) error {
						publish(ctx)
						return nil
					}))
				}
				mu.Lock()
				published[text] = span{began, clock.Add(1)}
				mu.Unlock()
			}
		})
	}
	for i, h := range all[2:] {
		changing.Go(func() {
			if i%3 > 0 {
				h.changes(t, n, topics, &clock, &changed, stop, math.MaxInt)
				return
			}
			h.changes(t, n, topics, &clock, &changed, stop, 50)
			h.closes(t, &clock)
		})
	}
	changing.Go(func() {
		for isOver := false; !isOver; {
			select {
			case <-stop:
				isOver = true
			default:
				_ = n.Hibernate(t.Context(), n.IDFromName(fmt.Sprint("object ", rand.IntN(4))))
			}
		}
	})
	publishing.Wait()
	close(stop)
	changing.Wait()
	for _, h := range all {
		h.closes(t, &clock)
		waitDone(t, h.client)
		waitDone(t, h.server)
	}
	assert.Empty(t, topicsOf(n.Namespace))
	var heard, required int
	for _, h := range all {
		heard += len(h.heard)
		required += h.check(t, published)
	}
	t.Logf("%d messages heard, of which %d had to be", heard, required)
	assert.GreaterOrEqual(t, required, 2*len(published), "those that keep their topics hear everything")
}

// changes subscribes and unsubscribes until stop is closed, or so many times.
func (h *hammered) changes(t *testing.T, n *rooms, topics []string, clock, changed *atomic.Int64, stop chan struct{}, most int) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range most {
		select {
		case <-stop:
			return
		default:
		}
		changed.Add(1)
		topic := topics[r.IntN(len(topics))]
		had := h.had[topic]
		if len(had) == 0 || had[len(had)-1].maybe.ended != never {
			h.subscribes(t, n, topic, clock)
			continue
		}
		last, began := &had[len(had)-1], clock.Add(1)
		h.calls(t, n, func(st *edgews.State) error { return st.Unsubscribe(topic, h.server) })
		last.surely.ended, last.maybe.ended = began, clock.Add(1)
	}
}

func (h *hammered) subscribes(t *testing.T, n *rooms, topic string, clock *atomic.Int64) {
	began := clock.Add(1)
	h.calls(t, n, func(st *edgews.State) error { return st.Subscribe(topic, h.server) })
	h.had[topic] = append(h.had[topic], listening{span{clock.Add(1), never}, span{began, never}})
}

// calls calls fn in an event of the object, which may hibernate at any other time.
func (h *hammered) calls(t *testing.T, n *rooms, fn func(st *edgews.State) error) {
	assert.NoError(t, n.Get(h.object).Do(t.Context(), func(_ context.Context, o edgews.Object) error { return fn(o.(*room).st) }))
}

// closes closes the socket, which may get messages until it has ended.
func (h *hammered) closes(t *testing.T, clock *atomic.Int64) {
	began := clock.Add(1)
	for _, all := range h.had {
		for i := range all {
			all[i].surely.ended = min(all[i].surely.ended, began)
		}
	}
	if h.server.Close(1000, "") == nil {
		waitDone(t, h.server)
	}
}

// check compares what the client has heard with what was published while it had the topic. It returns how many messages it had to hear.
func (h *hammered) check(t *testing.T, published map[string]span) (required int) {
	next := make(map[string]int) // by publisher
	heard := make(map[string]bool)
	for _, text := range h.heard {
		fields := strings.Fields(text)
		publisher, topic := fields[0], fields[2]
		number, err := strconv.Atoi(fields[1])
		require.NoError(t, err)
		require.GreaterOrEqual(t, number, next[publisher], "%q came late or twice", text)
		next[publisher] = number + 1
		heard[text] = true
		sent := published[text]
		require.True(t, slices.ContainsFunc(h.had[topic], func(l listening) bool {
			return sent.ended > l.maybe.began && sent.began < l.maybe.ended
		}), "%q was published at %v, and the socket had the topic at %v", text, sent, h.had[topic])
	}
	for text, sent := range published {
		topic := strings.Fields(text)[2]
		must := slices.ContainsFunc(h.had[topic], func(l listening) bool {
			return sent.began > l.surely.began && sent.ended < l.surely.ended
		})
		require.False(t, must && !heard[text], "%q was published at %v, and not heard, although the socket had the topic at %v", text, sent, h.had[topic])
		if must {
			required++
		}
	}
	return required
}
