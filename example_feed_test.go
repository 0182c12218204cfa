package edgews_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/edgews/edgews"
)

// Salon is a chat room: everyone in it gets what anyone says, also what was said while they were away.
type Salon struct {
	st   *edgews.State
	feed *edgews.Feed
}

func NewSalon(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	feed, err := edgews.NewFeed(ctx, st, &edgews.FeedOptions{Keep: 200, MaxAge: 7 * 24 * time.Hour})
	return &Salon{st, feed}, err
}

// ServeHTTP lets a client join: /salon?who=ann&cursor=17, where 17 is the seq of the last frame that the client has.
func (s *Salon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	socket, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	cursor, _ := strconv.ParseUint(r.FormValue("cursor"), 10, 64)
	err = s.st.AcceptWebSocket(socket)
	if err == nil {
		err = s.feed.Join(r.Context(), socket, r.FormValue("who"), cursor)
	}
	if err != nil {
		socket.Accept() // if the object has not accepted it
		socket.Close(edgews.StatusTryAgainLater, "")
	}
}

// WebSocketMessage gets {"id":"…","text":"…"}. A client that was not told of its message in time sends it once more with the same id.
func (s *Salon) WebSocketMessage(ctx context.Context, socket *edgews.Socket, m edgews.Message) error {
	var said struct{ ID, Text string }
	if err := json.Unmarshal(m.Data, &said); err != nil {
		return socket.Close(edgews.StatusUnsupportedData, "")
	}
	_, err := s.feed.Publish(ctx, said.ID, said.Text)
	return err
}

// A client that connects again with its cursor gets what it has missed, and nothing twice.
func ExampleFeed() {
	salons := edgews.NewNamespace("salons", NewSalon, nil)
	server := httptest.NewServer(salons.Get(salons.IDFromName("lobby")))
	defer server.Close()
	ctx := context.Background()

	var cursor uint64
	next := func(s *edgews.Socket) {
		f, _ := edgews.ReceiveJSON[edgews.FeedFrame](ctx, s)
		if f.Seq != nil {
			cursor = *f.Seq
		}
		var here []edgews.Presence = f.Here // who is there, in the first frame
		fmt.Println(f.Type, cursor, f.ID, string(f.Data), len(here))
	}
	ann, _, _ := edgews.Dial(ctx, server.URL+"/?who=ann&cursor="+fmt.Sprint(cursor), nil)
	next(ann)
	ann.Write(ctx, edgews.Text, []byte(`{"id":"a1","text":"hello"}`))
	next(ann)
	ann.Close(edgews.StatusGoingAway, "")

	bob, _, _ := edgews.Dial(ctx, server.URL+"/?who=bob&cursor=1", nil)
	edgews.ReceiveJSON[edgews.FeedFrame](ctx, bob)
	bob.Write(ctx, edgews.Text, []byte(`{"id":"b1","text":"hello, ann"}`))
	edgews.ReceiveJSON[edgews.FeedFrame](ctx, bob)

	ann, _, _ = edgews.Dial(ctx, server.URL+"/?who=ann&cursor="+fmt.Sprint(cursor), nil)
	next(ann)
	next(ann)
	ann.Close(edgews.StatusGoingAway, "")
	bob.Close(edgews.StatusGoingAway, "")
	salons.Shutdown(ctx)
	// Output:
	// feed.cursor 0   1
	// feed.message 1 a1 "hello" 0
	// feed.cursor 1   2
	// feed.message 2 b1 "hello, ann" 0
}

// A repeated id is the same message, and those who are there are known by name.
func ExampleFeed_Publish() {
	salons := edgews.NewNamespace("salons", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
		feed, err := edgews.NewFeed(ctx, st, nil)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seq, err := feed.Publish(r.Context(), r.FormValue("id"), r.FormValue("text"))
			fmt.Fprintln(w, seq, err, len(feed.Here()))
		}), err
	}, nil)
	say := func(query string) {
		w := httptest.NewRecorder()
		salons.Get(salons.IDFromName("lobby")).ServeHTTP(w, httptest.NewRequest("POST", "/?"+query, nil))
		fmt.Print(w.Body)
	}
	say("id=a1&text=hello")
	say("id=a2&text=bye")
	say("id=a1&text=hello")
	// Output:
	// 1 <nil> 0
	// 2 <nil> 0
	// 1 <nil> 0
}
