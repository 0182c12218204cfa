// The code of docs/from-workers.md, except for the chat, which is in docs/code/chat.
package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func echo(w http.ResponseWriter, r *http.Request) {
	client, server := edgews.NewPair()
	server.Accept()
	server.OnMessage(func(e edgews.MessageEvent) {
		server.Send("you said " + e.Text())
	})
	server.OnClose(func(e edgews.CloseEvent) {
		log("closed with", e.Code)
	})
	edgews.Respond(w, r, client, nil)
}

func echoShorter(w http.ResponseWriter, r *http.Request) {
	server, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	server.OnMessage(func(e edgews.MessageEvent) {
		server.Send("you said " + e.Text())
	})
	server.Accept()
}

// log stands for console.log.
var log = func(args ...any) {}

func TestEcho(t *testing.T) {
	for _, handler := range []http.HandlerFunc{echo, echoShorter} {
		synctest.Test(t, func(t *testing.T) {
			srv := edgewstest.New(t, handler)
			resp, err := srv.Client().Get(srv.URL)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, http.StatusUpgradeRequired, resp.StatusCode)
			s := srv.Dial("/", nil)
			rec := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			require.NoError(t, s.Send("hello"))
			rec.Want(`text "you said hello"`)
		})
	}
}

func listen(url string, show func(text string)) error {
	ws, err := edgews.NewWebSocket(url, "news.v1")
	if err != nil {
		return err // the URL is wrong
	}
	ws.OnOpen(func(edgews.OpenEvent) { ws.Send("subscribe") })
	ws.OnMessage(func(e edgews.MessageEvent) { show(e.Text()) })
	ws.OnError(func(e edgews.ErrorEvent) { log(e.Err) })
	ws.OnClose(func(e edgews.CloseEvent) { log(e.Code, e.Reason, e.WasClean) })
	return nil
}

func ask(ctx context.Context, url string) (string, error) {
	ws, resp, err := edgews.Dial(ctx, url, nil)
	if err != nil {
		return "", err // resp has the answer, if there was one
	}
	log(resp.StatusCode)
	if err := ws.Write(ctx, edgews.Text, []byte("what time is it?")); err != nil {
		return "", err
	}
	m, err := ws.Receive(ctx)
	if err != nil {
		return "", err
	}
	return m.Text(), ws.Close(edgews.StatusNormalClosure, "thanks")
}

// passOn is a Worker that returns what fetch has returned.
func passOn(origin string) http.Handler {
	return edgews.Proxy(origin, nil)
}

func TestClients(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"news.v1"}})
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("answer to " + e.Text()) })
		s.Accept()
	}))
	defer origin.Close()
	front := httptest.NewServer(passOn(origin.URL))
	defer front.Close()
	for _, url := range []string{origin.URL, front.URL} {
		shown := make(chan string, 1)
		require.NoError(t, listen("ws"+strings.TrimPrefix(url, "http"), func(text string) { shown <- text }))
		assert.Equal(t, "answer to subscribe", <-shown)
		answer, err := ask(t.Context(), url)
		require.NoError(t, err)
		assert.Equal(t, "answer to what time is it?", answer)
	}
}

// Counter is an object with a field and storage.
type Counter struct {
	st *edgews.State
	n  int
}

func NewCounter(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	value, err := st.Storage().Get(ctx, "n")
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return nil, err
	}
	n, _ := strconv.Atoi(string(value))
	return &Counter{st, n}, nil
}

func (o *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := o.add(r.Context(), 1)
	if err != nil {
		http.Error(w, "not counted", http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, n)
}

func (o *Counter) add(ctx context.Context, by int) (int, error) {
	err := o.st.Storage().Put(ctx, "n", []byte(strconv.Itoa(o.n+by)))
	if err != nil {
		return 0, err
	}
	o.n += by
	return o.n, nil
}

func (o *Counter) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	switch method {
	case "add":
		var by int
		if err := json.Unmarshal(req, &by); err != nil {
			return nil, err
		}
		return o.add(ctx, by)
	}
	return nil, edgews.ErrUnknownMethod
}

func newCounters(store edgews.Store) *edgews.Namespace {
	return edgews.NewNamespace("counters", NewCounter, &edgews.NamespaceOptions{Store: store})
}

func worker(counters *edgews.Namespace) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := counters.IDFromName(r.URL.Path)
		counters.Get(id).ServeHTTP(w, r)
	})
}

func addFive(ctx context.Context, counters *edgews.Namespace) (int, error) {
	return edgews.Call[int, int](ctx, counters.ByName("/visits"), "add", 5)
}

func TestCounter(t *testing.T) {
	counters := newCounters(nil)
	defer counters.Shutdown(context.Background())
	for _, want := range []string{"1", "2"} {
		w := httptest.NewRecorder()
		worker(counters).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/visits", nil))
		assert.Equal(t, want, w.Body.String())
	}
	n, err := addFive(t.Context(), counters)
	require.NoError(t, err)
	assert.Equal(t, 7, n)
	require.NoError(t, counters.Hibernate(t.Context(), counters.IDFromName("/visits")))
	n, err = addFive(t.Context(), counters)
	require.NoError(t, err)
	assert.Equal(t, 12, n)
}

// Game has sockets that survive hibernation.
type Game struct{ st *edgews.State }

type player struct{ Team string }

func NewGame(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	err := st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	return &Game{st}, err
}

func (o *Game) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, server := edgews.NewPair()
	team := r.URL.Query().Get("team")
	if err := o.st.AcceptWebSocket(server, team); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	server.SetAttachment(player{Team: team})
	edgews.Respond(w, r, client, nil)
}

func (o *Game) WebSocketMessage(ctx context.Context, ws *edgews.Socket, m edgews.Message) error {
	var from player
	if err := ws.Attachment(&from); err != nil {
		return err
	}
	for _, mate := range o.st.WebSockets(from.Team) {
		mate.Send(m.Text())
	}
	return nil
}

func (o *Game) WebSocketClose(ctx context.Context, ws *edgews.Socket, e edgews.CloseEvent) error {
	log("closed with", e.Code, e.Reason, e.WasClean)
	return nil
}

func TestGame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		games := edgews.NewNamespace("games", NewGame, nil)
		srv := edgewstest.New(t, games.ByName("chess"))
		enter := func(team string) *edgewstest.Recorder {
			s := srv.Dial("/?team="+team, nil)
			rec := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			return rec
		}
		red, blue, other := enter("red"), enter("blue"), enter("red")
		list := func() (sockets []*edgews.Socket) {
			require.NoError(t, games.ByName("chess").Do(t.Context(), func(_ context.Context, o edgews.Object) error {
				sockets = o.(*Game).st.WebSockets()
				return nil
			}))
			return sockets
		}
		before := list()
		red.WantNothing(time.Minute) // the game hibernates
		assert.True(t, slices.Equal(before, list()), "the same pointers")
		red.WantNothing(time.Minute)
		red.Socket().Send("ping")
		red.Want(`text "pong"`)
		red.Socket().Send("e4")
		red.Want(`text "e4"`)
		other.Want(`text "e4"`)
		blue.WantNothing(time.Second)
		require.NoError(t, games.Shutdown(context.Background()))
	})
}

// Log stores lines.
type Log struct{ st *edgews.State }

func (o *Log) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (o *Log) newest(ctx context.Context) (lines []string, err error) {
	for e, err := range o.st.Storage().Scan(ctx, edgews.Range{Prefix: "line/", Reverse: true, Limit: 10}) {
		if err != nil {
			return nil, err
		}
		lines = append(lines, string(e.Value))
	}
	return lines, nil
}

func (o *Log) move(ctx context.Context, from, to string) error {
	return o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		value, err := tx.Get(from)
		if err != nil {
			return err // nothing is changed
		}
		if err := tx.Put(to, value); err != nil {
			return err
		}
		return tx.Delete(from)
	})
}

func (o *Log) remindMe(ctx context.Context) error {
	return o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour))
}

func (o *Log) Alarm(ctx context.Context) error {
	return o.st.Storage().Put(ctx, "line/reminder", []byte("an hour has passed"))
}

func (o *Log) fetchLater(fetch func(context.Context) (string, error)) {
	o.st.WaitUntil(func(ctx context.Context) { // beside the events of the object
		line, err := fetch(ctx)
		if err != nil {
			return
		}
		o.st.Do(ctx, func() error { // as an event again
			return o.st.Storage().Put(ctx, "line/fetched", []byte(line))
		})
	})
}

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := edgews.NewNamespace("logs", func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &Log{st}, nil }, nil)
		do := func(fn func(ctx context.Context, o *Log) error) {
			require.NoError(t, logs.ByName("a").Do(t.Context(), func(ctx context.Context, o edgews.Object) error { return fn(ctx, o.(*Log)) }))
		}
		want := func(lines ...string) {
			do(func(ctx context.Context, o *Log) error {
				got, err := o.newest(ctx)
				assert.Equal(t, lines, got)
				return err
			})
		}
		do(func(ctx context.Context, o *Log) error { return o.st.Storage().Put(ctx, "draft", []byte("first")) })
		do(func(ctx context.Context, o *Log) error { return o.move(ctx, "draft", "line/1") })
		do(func(ctx context.Context, o *Log) error {
			assert.ErrorIs(t, o.move(ctx, "draft", "line/2"), edgews.ErrKeyNotFound)
			return o.remindMe(ctx)
		})
		want("first")
		do(func(_ context.Context, o *Log) error {
			o.fetchLater(func(context.Context) (string, error) { return "from elsewhere", nil })
			return nil
		})
		<-time.After(time.Hour + time.Second)
		want("an hour has passed", "from elsewhere", "first")
		require.NoError(t, logs.Shutdown(context.Background()))
	})
}
