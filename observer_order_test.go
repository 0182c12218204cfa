package edgews_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check the order of what is told of a socket. They run without the event loop too.

// numbered returns the payload of the message number i: its size tells which one it is.
func numbered(i int) []byte { return []byte(strings.Repeat("x", i)) }

// wantsOrder checks that what was told of s begins with opened and ends with closed, each once, with no two calls at a time, and returns the sizes
// of the messages between them.
func (o *observations) wantsOrder(t *testing.T, s *edgews.Socket) (in, out []string) {
	t.Helper()
	eventually(t, func() bool {
		lines := o.of(s)
		return len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], "closed")
	}, "closed is told last")
	lines := o.of(s)
	assert.Equal(t, "opened", lines[0])
	for _, line := range lines[1 : len(lines)-1] {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "in":
			in = append(in, payloadOf(rest))
		case "out":
			out = append(out, payloadOf(rest))
		case "slow", "drained", "pong":
		default:
			t.Errorf("%q between opened and closed", line)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.Empty(t, o.faults)
	return in, out
}

// payloadOf returns the size of the payload in a line without its direction, such as "text 5/11".
func payloadOf(line string) string {
	_, sizes, _ := strings.Cut(line, " ")
	payload, _, _ := strings.Cut(sizes, "/")
	return payload
}

// sendsSomehow sends n numbered messages, each in one of the ways that there are.
func sendsSomehow(s *edgews.Socket, n int, r *rand.Rand) error {
	ctx := context.Background()
	for i := range n {
		p, kind := numbered(i), edgews.Binary
		var err error
		switch r.IntN(7) {
		case 0:
			err = s.Write(ctx, kind, p)
		case 1:
			err = s.SendBytes(p)
		case 2:
			err = s.Send(string(p))
		case 3:
			err = s.SendPrepared(edgews.Prepare(kind, p))
		case 4:
			w, e := s.NextWriter(ctx, kind)
			if e != nil {
				return e
			}
			w.Write(p[:len(p)/2])
			w.Write(p[len(p)/2:])
			err = w.Close()
		case 5:
			_, err = s.Ping(ctx)
			if err == nil {
				err = s.Write(ctx, kind, p)
			}
		case 6:
			err = s.SendLatest(fmt.Sprint(i), kind, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// consumers are the ways to take n messages from a socket that is not accepted. They return when all have been taken, and the socket's peer may
// close.
var consumers = map[string]func(t *testing.T, s *edgews.Socket, n int){
	"listener": func(t *testing.T, s *edgews.Socket, n int) {
		var got sync.WaitGroup
		got.Add(n)
		s.OnMessage(func(edgews.MessageEvent) { got.Done() })
		require.NoError(t, s.Accept())
		got.Wait()
	},
	"listener that answers": func(t *testing.T, s *edgews.Socket, n int) {
		var got sync.WaitGroup
		got.Add(n)
		s.OnMessage(func(m edgews.MessageEvent) {
			defer got.Done()
			assert.NoError(t, s.Write(context.Background(), m.Kind, m.Data))
		})
		require.NoError(t, s.Accept())
		got.Wait()
	},
	"two listeners": func(t *testing.T, s *edgews.Socket, n int) {
		var got sync.WaitGroup
		got.Add(2 * n)
		for range 2 {
			s.OnMessage(func(edgews.MessageEvent) { got.Done() })
		}
		require.NoError(t, s.Accept())
		got.Wait()
	},
	"Receive": func(t *testing.T, s *edgews.Socket, n int) {
		for range n {
			_, err := s.Receive(context.Background())
			require.NoError(t, err)
		}
	},
	"NextReader": func(t *testing.T, s *edgews.Socket, n int) {
		buffer := make([]byte, 1)
		for i := range n {
			_, r, err := s.NextReader(context.Background())
			require.NoError(t, err)
			for reads := 0; i%2 == 0 || reads < 1; reads++ { // of every other message, what is left is dropped
				if _, err := r.Read(buffer); err != nil {
					break
				}
			}
		}
	},
	"listener, then Receive": func(t *testing.T, s *edgews.Socket, n int) {
		var got sync.WaitGroup
		got.Add(1)
		first := true
		s.OnMessage(func(edgews.MessageEvent) {
			if first {
				first = false
				_, err := s.Receive(canceled())
				assert.ErrorIs(t, err, context.Canceled)
				got.Done()
			}
		})
		require.NoError(t, s.Accept())
		got.Wait()
		for range n - 1 {
			_, err := s.Receive(context.Background())
			require.NoError(t, err)
		}
	},
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Whatever two ends do to each other, what is told of each is in order: what one has sent is what the other has received.
func TestObservationsOfEveryConsumerAreInOrder(t *testing.T) {
	const messages = 60
	for name, consume := range consumers {
		t.Run(name, func(t *testing.T) {
			seen := newObservations()
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, nil)
			test := func(t *testing.T, sender, receiver *edgews.Socket) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				require.NoError(t, sender.Accept())
				var taken []string // of the answers
				var receiving, sending sync.WaitGroup
				receiving.Go(func() {
					for m, err := range sender.Messages(context.Background()) {
						if err == nil {
							taken = append(taken, fmt.Sprint(len(m.Data)))
						}
					}
				})
				sending.Go(func() { assert.NoError(t, sendsSomehow(sender, messages, rand.New(rand.NewPCG(seed, 1)))) })
				consume(t, receiver, messages)
				sending.Wait()
				require.NoError(t, sender.Close(1000, ""))
				receiver.Receive(context.Background())
				receiving.Wait()
				waitDone(t, sender)
				waitDone(t, receiver)
				_, out := seen.wantsOrder(t, sender)
				in, answered := seen.wantsOrder(t, receiver)
				want := make([]string, messages)
				for i := range want {
					want[i] = fmt.Sprint(i)
				}
				assert.Equal(t, want, out)
				assert.Equal(t, want, in)
				back, _ := seen.wantsOrder(t, sender)
				assert.Equal(t, taken, back)
				assert.Equal(t, answered[:len(back)], back)
			}
			overWires(t, edgews.Options{Observer: seen}, test)
			t.Run("pair in an object", func(t *testing.T) {
				st := n.wake(n.NewUniqueID())
				a, b := edgews.NewPair()
				st.Hold(a)
				st.Hold(b)
				test(t, a, b)
			})
		})
	}
}

// An object's sockets are told of in order, whether it has accepted them or they are listeners that it holds, while its handlers send.
func TestObservationsOfObjectsAreInOrder(t *testing.T) {
	const messages = 60
	for _, where := range []network{overTCP, overPipe} {
		t.Run(where.name, func(t *testing.T) {
			seen := newObservations()
			ready := make(chan *edgews.Socket, 1)
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, func(r *room) {
				r.serve = func(w http.ResponseWriter, req *http.Request) {
					s, err := edgews.Upgrade(w, req, nil)
					if assert.NoError(t, err) && assert.NoError(t, r.st.AcceptWebSocket(s)) {
						ready <- s
					}
				}
				r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
					if len(m.Data)%7 == 0 {
						_ = r.st.Storage().Put(ctx, "key", m.Data) // what follows waits for the commit
					}
					return s.SendBytes(m.Data)
				}
			})
			id := n.IDFromName("lobby")
			_, url, httpClient := where.serve(t, func(w http.ResponseWriter, r *http.Request) { n.Get(id).ServeHTTP(w, r) })
			client, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{HTTPClient: httpClient})
			require.NoError(t, err)
			var got sync.WaitGroup
			got.Add(messages)
			client.OnMessage(func(edgews.MessageEvent) { got.Done() })
			require.NoError(t, client.Accept())
			server := <-ready
			for i := range messages {
				require.NoError(t, client.SendBytes(numbered(i)))
			}
			got.Wait()
			require.NoError(t, client.Close(1000, ""))
			waitDone(t, client)
			waitDone(t, server)
			in, out := seen.wantsOrder(t, server)
			want := make([]string, messages)
			for i := range want {
				want[i] = fmt.Sprint(i)
			}
			assert.Equal(t, want, in)
			assert.Equal(t, want, out)
			assert.Equal(t, id, server.Info().Object)
		})
	}
}
