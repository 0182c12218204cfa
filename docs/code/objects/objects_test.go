// The code of docs/objects.md.
package objects_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Room is a chat room.
type Room struct {
	st    *edgews.State
	count int // of messages since it was constructed: hibernation forgets it
}

// member is the attachment of a socket.
type member struct{ Name string }

func NewRoom(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	err := st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	return &Room{st: st}, err
}

func (o *Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	name := r.URL.Query().Get("name")
	if err := o.st.AcceptWebSocket(s, "user:"+name); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "the room is full")
		return
	}
	s.SetAttachment(member{Name: name})
}

func (o *Room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	var from member
	if err := s.Attachment(&from); err != nil {
		return err
	}
	o.count++
	text := fmt.Appendf(nil, "%s: %s", from.Name, m.Data)
	o.st.Broadcast(edgews.Prepare(edgews.Text, text))
	return nil
}

func (o *Room) WebSocketClose(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	var who member
	if err := s.Attachment(&who); err != nil {
		return err
	}
	for _, other := range o.st.WebSockets() {
		if other != s { // the one that ends is still listed
			other.Send(who.Name + " has left")
		}
	}
	return nil
}

// newServer returns a server with a room for each path.
func newServer(rooms *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/room/{name}", func(w http.ResponseWriter, r *http.Request) {
		rooms.ByName(r.PathValue("name")).ServeHTTP(w, r)
	})
	return mux
}

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rooms := edgews.NewNamespace("rooms", NewRoom, nil)
		srv := edgewstest.New(t, newServer(rooms))
		enter := func(name string) *edgewstest.Recorder {
			s := srv.Dial("/room/lobby?name="+name, nil)
			client := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			return client
		}
		ann, bob := enter("ann"), enter("bob")
		ann.WantNothing(time.Minute) // the room hibernates
		bob.Send("ping")
		bob.Want(`sent text "ping"`, `text "pong"`)
		for o := range rooms.Objects() {
			assert.Equal(t, edgews.ObjectHibernated, o.State, "a ping does not wake it")
		}
		ann.Send("hello")
		ann.Want(`sent text "hello"`, `text "ann: hello"`)
		bob.Want(`text "ann: hello"`)
		bob.Close(edgews.StatusNormalClosure, "")
		bob.WantEnd(`sent close 1000 ""`, `close 1000 "" clean=true`)
		ann.Want(`text "bob has left"`)

		// What the guide says about tags, and about the state of objects.
		require.NoError(t, rooms.ByName("lobby").Do(t.Context(), func(_ context.Context, o edgews.Object) error {
			room := o.(*Room)
			kick(room, "ann")
			return nil
		}))
		ann.WantEnd(`close 1008 "put out" clean=true`)
		require.NoError(t, rooms.Shutdown(context.Background()))
	})
}

// kick closes all sockets of a user.
func kick(o *Room, name string) {
	for _, s := range o.st.WebSockets("user:" + name) {
		s.Close(edgews.StatusPolicyViolation, "put out")
	}
}

// why prints the objects that are awake, and what keeps them so.
func why(rooms *edgews.Namespace) {
	for o := range rooms.Objects() {
		if o.State == edgews.ObjectActive {
			fmt.Println(o.ID.Name(), "with", o.Sockets, "sockets is kept awake by", o.Pins)
		}
	}
}

func Example_why() {
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, nil); err == nil {
				s.Accept() // not AcceptWebSocket: the socket belongs to the value, which has to stay
			}
		}), nil
	}, nil)
	defer rooms.Shutdown(context.Background())
	ctx := context.Background()
	s, _, err := rooms.ByName("lobby").Connect(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Accept()
	why(rooms)
	fmt.Println(errors.Is(rooms.Hibernate(ctx, rooms.IDFromName("lobby")), edgews.ErrPinned))
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	// Output:
	// lobby with 0 sockets is kept awake by [accepted socket]
	// true
}

// Wallet keeps the coins of a user.
type Wallet struct{ coins int }

var errTooPoor = errors.New("not enough coins")

// pay is a request, which Call passes on as JSON.
type pay struct{ Coins int }

func (o *Wallet) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func (o *Wallet) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	if method != "pay" {
		return nil, edgews.ErrUnknownMethod
	}
	var p pay
	if err := json.Unmarshal(req, &p); err != nil {
		return nil, err
	}
	if p.Coins > o.coins {
		return nil, errTooPoor
	}
	o.coins -= p.Coins
	return o.coins, nil
}

func Example_call() {
	wallets := edgews.NewNamespace("wallets", func(context.Context, *edgews.State) (edgews.Object, error) {
		return &Wallet{coins: 10}, nil
	}, nil)
	ctx := context.Background()
	defer wallets.Shutdown(ctx)

	left, err := edgews.Call[pay, int](ctx, wallets.ByName("ann"), "pay", pay{Coins: 7})
	fmt.Println(left, err)
	_, err = edgews.Call[pay, int](ctx, wallets.ByName("ann"), "pay", pay{Coins: 7})
	fmt.Println(errors.Is(err, errTooPoor)) // the very error
	// Output:
	// 3 <nil>
	// true
}

// Weather asks a slow service, and stays able to answer meanwhile.
type Weather struct {
	st     *edgews.State
	report string
	fetch  func(context.Context) (string, error)
}

func (o *Weather) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, o.report)
	o.st.WaitUntil(func(ctx context.Context) { // beside the events
		report, err := o.fetch(ctx)
		if err != nil {
			return
		}
		o.st.Do(ctx, func() error { // as an event again
			o.report = report
			return nil
		})
	})
}

func TestWaitUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetch := func(ctx context.Context) (string, error) { return "sunny", nil }
		weather := edgews.NewNamespace("weather", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &Weather{st: st, report: "unknown", fetch: fetch}, nil
		}, nil)
		for _, want := range []string{"unknown", "sunny"} {
			w := httptest.NewRecorder()
			weather.ByName("berlin").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			assert.Equal(t, want, w.Body.String())
			synctest.Wait()
		}
		require.NoError(t, weather.Shutdown(context.Background()))
	})
}

// Draft keeps a text in memory, and stores it before it is dropped.
type Draft struct {
	st   *edgews.State
	text string
}

func NewDraft(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	text, err := st.Storage().Get(ctx, "text")
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return nil, err
	}
	return &Draft{st, string(text)}, nil
}

func (o *Draft) Suspend(ctx context.Context, why edgews.SuspendReason) error {
	return o.st.Storage().Put(ctx, "text", []byte(o.text))
}

func (o *Draft) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, o.text)
	o.text += r.URL.Query().Get("add")
}

func TestSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drafts := edgews.NewNamespace("drafts", NewDraft, nil)
		ask := func(query string) string {
			w := httptest.NewRecorder()
			drafts.ByName("letter").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?add="+query, nil))
			return w.Body.String()
		}
		assert.Empty(t, ask("dear"))
		require.NoError(t, drafts.Hibernate(t.Context(), drafts.IDFromName("letter")))
		assert.Equal(t, "dear", ask(""))
		require.NoError(t, drafts.Shutdown(context.Background()))
	})
}

// Two objects that call each other.
type peerObject struct {
	other func() *edgews.Stub
}

func (*peerObject) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (o *peerObject) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	return edgews.Call[struct{}, any](ctx, o.other(), method, struct{}{})
}

func TestCircle(t *testing.T) {
	var n *edgews.Namespace
	n = edgews.NewNamespace("circle", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &peerObject{func() *edgews.Stub {
			if st.ID().Name() == "a" {
				return n.ByName("b")
			}
			return n.ByName("a")
		}}, nil
	}, nil)
	_, err := edgews.Call[struct{}, any](t.Context(), n.ByName("a"), "find", struct{}{})
	require.ErrorIs(t, err, edgews.ErrReentrant)
	assert.Contains(t, err.Error(), `circle "a" Call(find) → circle "b" Call(find) → circle "a"`)
	require.NoError(t, n.Shutdown(context.Background()))
}

// TestPanic checks what the guide says about a panic: the value is dropped, the sockets stay.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rooms := edgews.NewNamespace("rooms", NewRoom, &edgews.NamespaceOptions{Options: edgews.Options{Logger: discard}})
		srv := edgewstest.New(t, newServer(rooms))
		s := srv.Dial("/room/lobby?name=ann", nil)
		ann := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		err := rooms.ByName("lobby").Do(t.Context(), func(context.Context, edgews.Object) error { panic("a fault") })
		assert.ErrorContains(t, err, "a fault")
		s.Send("still here?")
		ann.Want(`text "ann: still here?"`)
		require.NoError(t, rooms.Shutdown(context.Background()))
		assert.True(t, strings.HasPrefix(ann.Next(), "close 1012"))
	})
}
