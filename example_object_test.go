package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// Room is a chat room: every message reaches every member. Between messages it hibernates.
type Room struct{ st *edgews.State }

func NewRoom(_ context.Context, st *edgews.State) (edgews.Object, error) {
	err := st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	return &Room{st}, err
}

func (room *Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	name := r.URL.Query().Get("name")
	if err := room.st.AcceptWebSocket(s, "name:"+name); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	s.SetAttachment(name)
}

func (room *Room) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	var name string
	if err := s.Attachment(&name); err != nil {
		return err
	}
	text := edgews.Prepare(edgews.Text, fmt.Appendf(nil, "%s: %s", name, m.Data))
	if whom, _, found := strings.Cut(m.Text(), ", "); found { // "bob, …" is for bob alone
		room.st.Broadcast(text, "name:"+whom)
		return nil
	}
	room.st.Broadcast(text)
	return nil
}

// Each room is an object of its own. The path of the URL is its name.
func ExampleNamespace() {
	rooms := edgews.NewNamespace("rooms", NewRoom, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rooms.Get(rooms.IDFromName(r.URL.Path)).ServeHTTP(w, r)
	}))
	defer server.Close()

	ctx := context.Background()
	ann, _, _ := edgews.Dial(ctx, server.URL+"/lobby?name=ann", nil)
	bob, _, _ := edgews.Dial(ctx, server.URL+"/lobby?name=bob", nil)
	say := func(s *edgews.Socket, text string) { s.Write(ctx, edgews.Text, []byte(text)) }
	hear := func(who string, s *edgews.Socket) {
		m, _ := s.Receive(ctx)
		fmt.Printf("%s hears %q\n", who, m.Text())
	}
	say(ann, "hello")
	hear("ann", ann)
	hear("bob", bob)
	say(ann, "ping")
	hear("ann", ann)

	rooms.Hibernate(ctx, rooms.IDFromName("/lobby"))
	say(ann, "bob, are you there?")
	hear("bob", bob)
	ann.Close(edgews.StatusGoingAway, "")
	bob.Close(edgews.StatusGoingAway, "")
	fmt.Println(rooms.Shutdown(ctx))
	// Output:
	// ann hears "ann: hello"
	// bob hears "ann: hello"
	// ann hears "pong"
	// bob hears "ann: bob, are you there?"
	// <nil>
}

// Work that takes long runs beside the events of the object, and comes back as one of them.
func ExampleState_WaitUntil() {
	type Price struct {
		http.Handler
		euros int
	}
	fetched := make(chan int)
	shop := edgews.NewNamespace("shop", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		price := &Price{}
		price.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			st.WaitUntil(func(ctx context.Context) {
				time.Sleep(time.Millisecond) // asks another service
				st.Do(ctx, func() error {
					price.euros = 42
					fetched <- price.euros
					return nil
				})
			})
		})
		return price, nil
	}, nil)
	shop.Get(shop.IDFromName("tea")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	fmt.Println(<-fetched, "euros")
	// Output: 42 euros
}

// Objects says what is in memory, and why.
func ExampleNamespace_Objects() {
	rooms := edgews.NewNamespace("rooms", NewRoom, nil)
	rooms.Get(rooms.IDFromName("lobby")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	rooms.Hibernate(context.Background(), rooms.IDFromName("lobby"))

	count := make(map[edgews.ObjectState]int)
	isPinned := func(o edgews.ObjectInfo) bool { return o.State == edgews.ObjectActive && len(o.Pins) > 0 }
	for o := range rooms.Objects() {
		count[o.State]++
		if isPinned(o) {
			fmt.Println(o.ID.Name(), "is kept awake by", o.Pins)
		}
	}
	fmt.Println(count)
	// Output: map[hibernated:1]
}
