package edgews_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/edgews/edgews"
)

// Reader has the sockets of a user, who has subscribed to sections of a newspaper.
type Reader struct{ st *edgews.State }

// ServeHTTP opens a socket that gets the articles of a section: /?section=sports.
func (o *Reader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if err = o.st.AcceptWebSocket(s); err == nil {
		err = o.st.Subscribe("section:"+r.FormValue("section"), s)
	}
	if err == nil {
		err = s.Send("you have subscribed to " + r.FormValue("section"))
	}
	if err != nil {
		s.Accept() // if the object has not accepted it
		s.Close(edgews.StatusPolicyViolation, err.Error())
	}
}

// What is published goes to the sockets of all objects that have subscribed.
func ExampleNamespace_Publish() {
	ctx := context.Background()
	readers := edgews.NewNamespace("readers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &Reader{st}, nil
	}, nil)
	defer readers.Shutdown(ctx)

	open := func(user, section string) *edgews.Socket {
		r, _ := http.NewRequest(http.MethodGet, "/?section="+section, nil)
		s, _, err := readers.ByName(user).Connect(ctx, r)
		if err != nil {
			panic(err)
		}
		s.Receive(ctx) // what is published from now on arrives
		return s
	}
	ann, bob, cyd := open("ann", "sports"), open("bob", "sports"), open("cyd", "weather")

	readers.Publish(ctx, "section:sports", edgews.Prepare(edgews.Text, []byte("they have won")))
	readers.Publish(ctx, "section:weather", edgews.Prepare(edgews.Text, []byte("it will rain")))
	for _, s := range []*edgews.Socket{ann, bob, cyd} {
		m, err := s.Receive(ctx)
		fmt.Println(m.Text(), err)
	}
	fmt.Println(readers.Subscribers("section:sports"), "sockets have subscribed to sports")
	// Output:
	// they have won <nil>
	// they have won <nil>
	// it will rain <nil>
	// 2 sockets have subscribed to sports
}
