package edgews_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logBuffer is a log that a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Every kind of event has the limit, and the error says which it was. The constructor, which sets the limit, is not bounded.
func TestEventLimits(t *testing.T) {
	for _, c := range []struct {
		handler string
		cause   func(t *testing.T, n *rooms, id edgews.ID)
	}{
		{"ServeHTTP", func(t *testing.T, n *rooms, id edgews.ID) { n.get(id) }},
		{"WebSocketMessage", func(t *testing.T, n *rooms, id edgews.ID) {
			client, _, _ := n.joins(id)
			<-n.diary // of the request that joins makes
			require.NoError(t, client.Send("a"))
		}},
		{"WebSocketClose", func(t *testing.T, n *rooms, id edgews.ID) {
			client, _, _ := n.joins(id)
			<-n.diary
			require.NoError(t, client.Close(1000, ""))
		}},
		{"Do", func(t *testing.T, n *rooms, id edgews.ID) {
			require.NoError(t, n.Get(id).Do(t.Context(), func(ctx context.Context, o edgews.Object) error { return o.(*room).alarm(ctx) }))
			assert.NoError(t, t.Context().Err(), "the caller's context goes on")
		}},
		{"Alarm", func(t *testing.T, n *rooms, id edgews.ID) {
			st := n.wake(id)
			<-n.diary
			require.NoError(t, st.Storage().SetAlarm(t.Context(), time.Now()))
		}},
	} {
		t.Run(c.handler, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log logBuffer
				var n *rooms
				waits := func(ctx context.Context) error {
					begin := time.Now()
					deadline, ok := ctx.Deadline()
					assert.True(t, ok && deadline.Sub(begin) == time.Minute)
					<-ctx.Done()
					assert.Equal(t, context.DeadlineExceeded, ctx.Err())
					assert.ErrorIs(t, context.Cause(ctx), edgews.ErrEventTimeout)
					assert.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
					n.notes("%v after %v", context.Cause(ctx), time.Since(begin))
					return nil
				}
				n = newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: log.logger()}}, func(r *room) {
					require.NoError(t, r.st.SetEventTimeout(time.Minute))
					time.Sleep(time.Hour)
					r.serve = func(_ http.ResponseWriter, r *http.Request) { waits(r.Context()) }
					r.message = func(ctx context.Context, _ *edgews.Socket, _ edgews.Message) error { return waits(ctx) }
					if c.handler == "WebSocketClose" { // Shutdown would close the socket of the others
						r.close = func(ctx context.Context, _ *edgews.Socket, _ edgews.CloseEvent) error { return waits(ctx) }
					}
					r.alarm = waits
				})
				c.cause(t, n, n.NewUniqueID())
				text := "edgews: event timeout: " + c.handler + " has run for longer than 1m0s, the limit of State.SetEventTimeout"
				n.rings(text + " after 1m0s")
				synctest.Wait()
				assert.Contains(t, log.String(), text)
			})
		})
	}
}

// A call ends with what its method returns; the limit of the object that calls is another one.
func TestEventLimitOfCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *edgews.Namespace
		n = newCallees(t, nil, func(st *edgews.State) methods {
			if st.ID().Name() == "quick" {
				assert.NoError(t, st.SetEventTimeout(time.Second))
			} else {
				assert.NoError(t, st.SetEventTimeout(time.Minute))
			}
			return methods{
				"wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
					<-ctx.Done()
					return nil, context.Cause(ctx)
				},
				"ask": func(ctx context.Context, _ json.RawMessage) (any, error) {
					_, err := edgews.Call[any, any](ctx, n.ByName("quick"), "wait", nil)
					assert.NoError(t, ctx.Err())
					return nil, err
				},
			}
		})
		start := time.Now()
		_, err := edgews.Call[any, any](t.Context(), n.ByName("slow"), "ask", nil)
		assert.EqualError(t, err, "edgews: event timeout: Call(wait) has run for longer than 1s, the limit of State.SetEventTimeout")
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// The function of State.Do has no context, so the limit only shows in the log; and only when it has been exceeded.
func TestEventLimitOfDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log logBuffer
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: log.logger()}}, nil)
		st := n.wake(n.NewUniqueID())
		require.NoError(t, st.SetEventTimeout(time.Minute))
		require.NoError(t, st.Do(t.Context(), func() error { time.Sleep(time.Minute - 1); return nil }))
		time.Sleep(time.Hour)
		assert.NotContains(t, log.String(), "timeout")
		st = n.wake(st.ID())
		require.NoError(t, st.SetEventTimeout(time.Minute))
		assert.Equal(t, io.EOF, st.Do(t.Context(), func() error { time.Sleep(2 * time.Minute); return io.EOF }))
		assert.Contains(t, log.String(), "edgews: event timeout: Do has run for longer than 1m0s, the limit of State.SetEventTimeout")
	})
}

// An alarm has 15 minutes, as in Durable Objects, whatever the other events have, and is retried then.
func TestAlarmTimeout(t *testing.T) {
	for _, c := range []struct {
		name            string
		option, setting time.Duration
		want            string
	}{
		{"default", 0, 0, "edgews: event timeout: Alarm has run for longer than 15m0s, the limit of NamespaceOptions.AlarmTimeout"},
		{"option", time.Second, time.Minute, "edgews: event timeout: Alarm has run for longer than 1s, the limit of NamespaceOptions.AlarmTimeout"},
		{"setting", 0, time.Minute, "edgews: event timeout: Alarm has run for longer than 1m0s, the limit of State.SetEventTimeout"},
		{"none", -1, 0, "no deadline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var n *rooms
				n = newRooms(t, &edgews.NamespaceOptions{AlarmTimeout: c.option}, func(r *room) {
					require.NoError(t, r.st.SetEventTimeout(c.setting))
					r.alarm = func(ctx context.Context) error {
						if _, ok := ctx.Deadline(); !ok {
							n.notes("no deadline")
							return nil
						}
						<-ctx.Done()
						if edgews.AlarmRetry(ctx) == 0 {
							n.notes("%v", context.Cause(ctx))
							return ctx.Err()
						}
						n.notes("retried")
						return nil
					}
				})
				require.NoError(t, n.wake(n.NewUniqueID()).Storage().SetAlarm(t.Context(), time.Now()))
				n.rings(c.want)
				if c.name != "none" {
					n.rings("retried")
				}
			})
		})
	}
}

// What a client does to its request is not a timeout.
func TestCancelledRequestIsNoTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		causes := make(chan error, 1)
		var log logBuffer
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: log.logger()}}, func(r *room) {
			require.NoError(t, r.st.SetEventTimeout(time.Minute))
			r.serve = func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				causes <- context.Cause(r.Context())
			}
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go n.ByName("lobby").ServeHTTP(discardResponse{}, newRequestIn(ctx))
		synctest.Wait()
		gone := errors.New("gone")
		cancel(gone)
		assert.Equal(t, gone, <-causes)
		time.Sleep(time.Hour)
		assert.NotContains(t, log.String(), "timeout")
	})
}

func newRequestIn(ctx context.Context) *http.Request {
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	return r
}

func TestAlarmRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.alarm = func(ctx context.Context) error {
				nested, cancel := context.WithCancel(ctx)
				defer cancel()
				n.notes("%d", edgews.AlarmRetry(nested))
				n.ByName("other").ServeHTTP(discardResponse{}, newRequestIn(ctx))
				return io.EOF
			}
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				if r.st.ID().Name() == "other" {
					n.notes("other %d", edgews.AlarmRetry(req.Context()))
				}
			}
		})
		require.NoError(t, n.wake(n.IDFromName("lobby")).Storage().SetAlarm(t.Context(), time.Now()))
		for _, retry := range []string{"0", "1", "2", "3", "4", "5", "6"} {
			n.rings(retry, "other 0")
		}
		assert.Zero(t, edgews.AlarmRetry(t.Context()))
	})
}

// Another process goes on counting, and a new alarm begins at 0.
func TestAlarmRetryAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		for _, want := range []string{"0", "1", "2"} {
			retries := make(chan string, 1)
			n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
				r.alarm = func(ctx context.Context) error { retries <- fmt.Sprint(edgews.AlarmRetry(ctx)); return io.EOF }
			})
			if want == "0" {
				require.NoError(t, n.wake(n.IDFromName("lobby")).Storage().SetAlarm(t.Context(), time.Now()))
			}
			assert.Equal(t, want, <-retries)
			synctest.Wait()
			require.NoError(t, n.Shutdown(t.Context()))
		}
		retries := make(chan int, 1)
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
			r.alarm = func(ctx context.Context) error { retries <- edgews.AlarmRetry(ctx); return nil }
		})
		require.NoError(t, n.wake(n.IDFromName("lobby")).Storage().SetAlarm(t.Context(), time.Now()))
		assert.Zero(t, <-retries)
	})
}
