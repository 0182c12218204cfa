package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type addends struct{ A, B int }

var errNoRoom = &edgews.CallError{Code: "no_room"}

// calculator returns a Mux that answers requests. Each end of a socket may have one.
func calculator(t testing.TB) *edgews.Mux {
	m := new(edgews.Mux)
	edgews.HandleCall(m, "add", func(_ context.Context, _ *edgews.Socket, req addends) (int, error) { return req.A + req.B, nil })
	edgews.HandleCall(m, "none", func(context.Context, *edgews.Socket, any) (any, error) { return nil, nil })
	edgews.HandleCall(m, "typed", func(context.Context, *edgews.Socket, any) (any, error) {
		return 1, fmt.Errorf("wrapped: %w", &edgews.CallError{Code: "no_room", Message: `it is "full"`})
	})
	edgews.HandleCall(m, "secret", func(context.Context, *edgews.Socket, any) (any, error) {
		return nil, errors.New("the password is xyzzy")
	})
	edgews.HandleCall(m, "channel", func(context.Context, *edgews.Socket, any) (any, error) { return make(chan int), nil })
	edgews.HandleCall(m, "nested", func(ctx context.Context, _ *edgews.Socket, _ any) (any, error) {
		_, err := m.Call(ctx, "add", []byte("5"))
		return nil, fmt.Errorf("the password is xyzzy: %w", err)
	})
	edgews.HandleCall(m, "busy", func(context.Context, *edgews.Socket, any) (any, error) { return nil, edgews.ErrOverloaded })
	edgews.HandleCall(m, "late", func(context.Context, *edgews.Socket, any) (any, error) { return nil, context.DeadlineExceeded })
	edgews.HandleCall(m, "down", func(context.Context, *edgews.Socket, any) (any, error) { return nil, edgews.ErrShutdown })
	edgews.HandleCall(m, "panic", func(context.Context, *edgews.Socket, any) (any, error) { panic("the password is xyzzy") })
	edgews.HandleCall(m, "code", func(context.Context, *edgews.Socket, any) (any, error) { return nil, &edgews.CallError{} })
	edgews.Handle(m, "note", func(context.Context, *edgews.Socket, any) error { return nil })
	return m
}

// What arrives in a Dispatch, what is sent, and what Dispatch returns.
func TestHandleCall(t *testing.T) {
	for name, c := range map[string]struct{ message, reply, err string }{
		"result":         {`{"type":"add","id":7,"a":1,"b":2}`, `{"type":"reply","id":7,"result":3}`, ""},
		"string id":      {`{"type":"add","id":"a\"é","a":1}`, `{"type":"reply","id":"a\"é","result":1}`, ""},
		"other number":   {`{"type":"add","id":-1.5e300}`, `{"type":"reply","id":-1.5e300,"result":0}`, ""},
		"large number":   {`{"id":12345678901234567890123,"type":"add"}`, `{"type":"reply","id":12345678901234567890123,"result":0}`, ""},
		"null":           {`{"type":"none","id":0}`, `{"type":"reply","id":0,"result":null}`, ""},
		"typed":          {`{"type":"typed","id":1}`, `{"type":"reply","id":1,"error":{"code":"no_room","message":"it is \"full\""}}`, ""},
		"no code":        {`{"type":"code","id":1}`, `{"type":"reply","id":1,"error":{"code":"internal"}}`, "internal"},
		"secret":         {`{"type":"secret","id":1}`, `{"type":"reply","id":1,"error":{"code":"internal","message":"internal error"}}`, "xyzzy"},
		"nested":         {`{"type":"nested","id":1}`, `{"type":"reply","id":1,"error":{"code":"bad_request","message":"edgews: bad message: it has the wrong type, number"}}`, ""},
		"not encodable":  {`{"type":"channel","id":1}`, `{"type":"reply","id":1,"error":{"code":"internal","message":"internal error"}}`, "unsupported type"},
		"busy":           {`{"type":"busy","id":1}`, `{"type":"reply","id":1,"error":{"code":"overloaded","message":"try again later"}}`, ""},
		"late":           {`{"type":"late","id":1}`, `{"type":"reply","id":1,"error":{"code":"timeout","message":"it took too long"}}`, ""},
		"down":           {`{"type":"down","id":1}`, `{"type":"reply","id":1,"error":{"code":"unavailable","message":"the server is shutting down"}}`, ""},
		"wrong type":     {`{"type":"add","id":1,"a":"x"}`, `{"type":"reply","id":1,"error":{"code":"bad_request","message":"edgews: bad message: its field \"A\" has the wrong type, string"}}`, ""},
		"unknown":        {`{"type":"fly","id":1}`, `{"type":"reply","id":1,"error":{"code":"unknown_method","message":"edgews: no handler for this type of message: \"fly\""}}`, ""},
		"unknown, no id": {`{"type":"fly"}`, "", "no handler for this type of message"},
		"no id":          {`{"type":"add","a":1}`, "", ""},
		"no id, failed":  {`{"type":"typed"}`, "", "no_room"},
		"no call":        {`{"type":"note","id":1}`, "", ""},
		"id is null":     {`{"type":"add","id":null}`, "", "bad message: its id is neither a number nor a string"},
		"id is an array": {`{"type":"add","id":[1]}`, "", "bad message: its id is neither a number nor a string"},
		"long id":        {`{"type":"add","id":"` + strings.Repeat("x", 63) + `"}`, "", "bad message: its id has 65 bytes, the limit is 64"},
		"reply":          {`{"type":"reply","id":1}`, "", "no handler for this type of message"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client, server := edgews.NewPair()
				events := record(t, client)
				require.NoError(t, client.Accept())
				require.NoError(t, server.Accept())
				err := calculator(t).Dispatch(t.Context(), server, edgews.Message{Kind: edgews.Text, Data: []byte(c.message)})
				if c.err == "" {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, c.err)
				}
				require.NoError(t, server.Close(1000, ""))
				if c.reply == "" {
					events.wants(closed(1000, "", true))
				} else {
					assert.True(t, json.Valid([]byte(c.reply)))
					events.wants(message(c.reply), closed(1000, "", true))
				}
			})
		})
	}
}

func TestHandleCallAnotherField(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		there, here := edgews.Mux{Field: `k"`}, edgews.Mux{Field: `k"`}
		edgews.HandleCall(&there, "add", func(_ context.Context, _ *edgews.Socket, req addends) (int, error) { return req.A + req.B, nil })
		dispatching(t, &there, server)
		dispatching(t, &here, client)
		got, err := edgews.Request[addends, int](t.Context(), &here, client, "add", addends{1, 2})
		assert.NoError(t, err)
		assert.Equal(t, 3, got)
		client.Close(1000, "")
	})
}

// dispatching gives what s receives to m, in a listener.
func dispatching(t testing.TB, m *edgews.Mux, s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) { _ = m.Dispatch(context.Background(), s, e.Message) })
	require.NoError(t, s.Accept())
}

// dispatchStyles are the ways in which a program may give the messages of a socket to a Mux.
var dispatchStyles = map[string]func(t testing.TB, m *edgews.Mux, s *edgews.Socket){
	"listener": dispatching,
	"Receive": func(_ testing.TB, m *edgews.Mux, s *edgews.Socket) {
		go func() {
			for msg := range s.Messages(context.Background()) {
				_ = m.Dispatch(context.Background(), s, msg)
			}
		}()
	},
	"NextReader": func(_ testing.TB, m *edgews.Mux, s *edgews.Socket) {
		go func() {
			for {
				kind, r, err := s.NextReader(context.Background())
				if err != nil {
					return
				}
				data, _ := io.ReadAll(r)
				_ = m.Dispatch(context.Background(), s, edgews.Message{Kind: kind, Data: data})
			}
		}()
	},
}

// Both ends make requests to each other at the same time.
func TestRequest(t *testing.T) {
	for style, dispatch := range dispatchStyles {
		t.Run(style, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
				here, there := calculator(t), calculator(t)
				dispatch(t, here, client)
				dispatch(t, there, server)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if style != "listener" { // a receiving goroutine accepts its socket when it begins
					eventually(t, func() bool {
						return !errors.Is(client.Send(`{"type":"note"}`), edgews.ErrNotAccepted) && !errors.Is(server.Send(`{"type":"note"}`), edgews.ErrNotAccepted)
					}, "accepted")
				}
				var all sync.WaitGroup
				for i := range 20 {
					for m, s := range map[*edgews.Mux]*edgews.Socket{here: client, there: server} {
						all.Go(func() {
							got, err := edgews.Request[addends, int](ctx, m, s, "add", addends{i, 1})
							assert.NoError(t, err)
							assert.Equal(t, i+1, got)
						})
					}
				}
				all.Wait()
				nothing, err := edgews.Request[any, *int](ctx, here, client, "none", nil)
				assert.NoError(t, err)
				assert.Nil(t, nothing)
				_, err = edgews.Request[struct{}, any](ctx, here, client, "typed", struct{}{})
				assert.ErrorIs(t, err, errNoRoom)
				assert.NotErrorIs(t, err, &edgews.CallError{Code: "no_room", Message: "else"})
				assert.EqualError(t, err, `no_room: it is "full"`)
				for typ, want := range map[string]error{
					"fly": edgews.ErrUnknownMethod, "busy": edgews.ErrOverloaded, "late": context.DeadlineExceeded, "down": edgews.ErrShutdown,
				} {
					_, err = edgews.Request[any, any](ctx, here, client, typ, nil)
					assert.ErrorIs(t, err, want, typ)
				}
				_, err = edgews.Request[map[string]string, any](ctx, here, client, "add", map[string]string{"a": "x"})
				assert.ErrorIs(t, err, edgews.ErrBadMessage)
				_, err = edgews.Request[any, any](ctx, here, client, "secret", nil)
				assert.EqualError(t, err, "internal: internal error")
				_, err = edgews.Request[addends, string](ctx, here, client, "add", addends{})
				assert.ErrorIs(t, err, edgews.ErrBadMessage, "the answer does not fit")
				client.Close(1000, "")
				<-client.Done()
				_, err = edgews.Request[addends, int](ctx, here, client, "add", addends{})
				assert.ErrorIs(t, err, edgews.ErrClosed)
			})
		})
	}
}

func TestRequestsThatCannotBeSent(t *testing.T) {
	s, _ := edgews.NewPair()
	m := new(edgews.Mux)
	for _, c := range []struct {
		req  any
		text string
	}{
		{7, `edgews: request "x": int is no JSON object, so it has no fields for the message`},
		{[]int{1}, `edgews: request "x": []int is no JSON object`},
		{map[string]int{"id": 1}, `edgews: request "x": map[string]int has a field "id", which the message needs for itself`},
		{map[string]int{"type": 1}, `edgews: request "x": map[string]int has a field "type", which`},
		{struct{ ID string }{"x"}, `edgews: request "x": struct { ID string } has a field "ID", which the message needs for itself`},
		{struct{ Type string }{"x"}, `has a field "Type", which the message needs for itself`},
		{make(chan int), "edgews: message cannot be encoded: "},
	} {
		_, err := edgews.Request[any, any](t.Context(), m, s, "x", c.req)
		assert.ErrorContains(t, err, c.text)
	}
}

// A request ends with its context, with its socket, and when its handler panics; replies that nothing waits for are dropped.
func TestRequestsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		here, there := new(edgews.Mux), calculator(t)
		slow := make(chan struct{})
		edgews.HandleCall(there, "slow", func(_ context.Context, s *edgews.Socket, _ any) (int, error) {
			<-slow
			return 1, nil
		})
		var failed []error
		client.OnMessage(func(e edgews.MessageEvent) {
			if err := here.Dispatch(context.Background(), client, e.Message); err != nil {
				failed = append(failed, err)
			}
		})
		require.NoError(t, client.Accept())
		dispatching(t, there, server)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := edgews.Request[any, int](ctx, here, client, "slow", nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		slow <- struct{}{}
		for _, reply := range []string{ // twice, unknown, and of other shapes
			`{"type":"reply","id":1,"result":1}`, `{"type":"reply","id":99,"result":1}`, `{"type":"reply","id":"1"}`, `{"type":"reply"}`, `{"type":"reply","id":[]}`,
		} {
			require.NoError(t, server.Send(reply))
		}
		synctest.Wait()
		assert.Empty(t, failed)

		go func() {
			synctest.Wait()
			server.Send(`{"type":"reply","id":2,"error":5}`)
		}()
		_, err = edgews.Request[any, int](t.Context(), here, client, "slow", nil)
		assert.ErrorIs(t, err, edgews.ErrBadMessage)
		synctest.Wait()
		require.Len(t, failed, 1)
		assert.ErrorIs(t, failed[0], edgews.ErrBadMessage)
		slow <- struct{}{}

		results := make(chan error)
		go func() {
			_, err := edgews.Request[any, int](t.Context(), here, client, "slow", nil)
			results <- err
		}()
		synctest.Wait()
		require.NoError(t, client.Close(4001, "bye"))
		slow <- struct{}{}
		err = <-results
		assert.NoError(t, err, "the reply came before the peer's Close")

		client, server = edgews.NewPair()
		dispatching(t, here, client)
		dispatching(t, there, server)
		_, err = edgews.Request[any, int](t.Context(), here, client, "panic", nil)
		assert.EqualError(t, err, "internal: internal error")
		<-client.Done()
		assert.ErrorContains(t, client.Err(), "1011", "a panic in a listener ends its socket")

		client, server = edgews.NewPair()
		dispatching(t, here, client)
		require.NoError(t, server.Accept())
		time.AfterFunc(time.Second, func() { server.Close(4002, "full") })
		_, err = edgews.Request[any, int](t.Context(), here, client, "add", nil)
		assert.ErrorIs(t, err, edgews.ErrClosed)
		end, ok := errors.AsType[*edgews.CloseError](err)
		require.True(t, ok)
		assert.EqualValues(t, 4002, end.Code)
		assert.ErrorContains(t, err, `no reply to the request "add": `)
	})
}

// An object answers its sockets' requests, makes some of its own, and answers other objects with the same Mux.
func TestMuxInObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := calculator(t)
		var asked error
		log := new(logs)
		n := newRooms(t, log.options(), func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s, err := edgews.Upgrade(w, req, nil)
				if err == nil {
					_ = r.st.AcceptWebSocket(s)
				}
			}
			r.message = m.Dispatch
		})
		edgews.HandleCall(m, "ask", func(ctx context.Context, s *edgews.Socket, _ any) (any, error) {
			_, asked = edgews.Request[any, any](ctx, m, s, "name", nil)
			n.state.WaitUntil(func(ctx context.Context) {
				name, err := edgews.Request[any, string](ctx, m, s, "name", nil)
				assert.NoError(t, err)
				n.notes("it is %s", name)
			})
			return nil, nil
		})
		id := n.IDFromName("a")
		client, _, err := n.Get(id).Connect(t.Context(), nil)
		require.NoError(t, err)
		here := new(edgews.Mux)
		edgews.HandleCall(here, "name", func(context.Context, *edgews.Socket, any) (string, error) { return "ann", nil })
		dispatching(t, here, client)

		_, err = edgews.Request[any, any](t.Context(), here, client, "ask", nil)
		require.NoError(t, err)
		n.wants("it is ann")
		assert.ErrorIs(t, asked, edgews.ErrReentrant)
		assert.ErrorContains(t, asked, `the reply to the request "name" would be one; use State.WaitUntil`)

		made := n.made.Load()
		_, err = edgews.Request[any, any](t.Context(), here, client, "panic", nil)
		assert.EqualError(t, err, "internal: internal error")
		got, err := edgews.Request[addends, int](t.Context(), here, client, "add", addends{1, 2})
		assert.NoError(t, err)
		assert.Equal(t, 3, got)
		assert.Equal(t, made+1, n.made.Load(), "a panic drops the value, and the socket stays")
		time.Sleep(time.Hour)
		got, err = edgews.Request[addends, int](t.Context(), here, client, "add", addends{2, 2})
		assert.NoError(t, err)
		assert.Equal(t, 4, got)
		assert.Equal(t, made+2, n.made.Load(), "it has hibernated")
		_, err = edgews.Request[any, any](t.Context(), here, client, "secret", nil)
		assert.Error(t, err)
		synctest.Wait()
		assert.Contains(t, log.String(), "xyzzy", "what the peer is not told is in the log")
		client.Close(1000, "")
	})
}

func TestMuxCall(t *testing.T) {
	m := calculator(t)
	n := newCallees(t, nil, func(*edgews.State) methods {
		ms := make(methods)
		for _, typ := range []string{"add", "typed", "note", "fly"} {
			ms[typ] = func(ctx context.Context, req json.RawMessage) (any, error) { return m.Call(ctx, typ, req) }
		}
		return ms
	})
	a := n.Get(n.IDFromName("a"))
	got, err := edgews.Call[addends, int](t.Context(), a, "add", addends{1, 2})
	assert.NoError(t, err)
	assert.Equal(t, 3, got)
	_, err = edgews.Call[any, any](t.Context(), a, "typed", nil)
	assert.ErrorIs(t, err, errNoRoom)
	_, err = edgews.Call[int, any](t.Context(), a, "add", 5)
	assert.ErrorIs(t, err, edgews.ErrBadMessage)
	for _, method := range []string{"note", "fly"} {
		_, err = edgews.Call[any, any](t.Context(), a, method, nil)
		assert.ErrorIs(t, err, edgews.ErrUnknownMethod)
		assert.EqualError(t, err, `edgews: object has no such method: "`+method+`"`)
	}
}

func BenchmarkRequest(b *testing.B) {
	client, server := edgews.NewPair()
	here, there := new(edgews.Mux), calculator(b)
	dispatching(b, here, client)
	dispatching(b, there, server)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := edgews.Request[addends, int](b.Context(), here, client, "add", addends{1, 2}); err != nil {
			b.Fatal(err)
		}
	}
}
