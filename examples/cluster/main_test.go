package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// supervisorRole has the test's binary run as the program itself.
const supervisorRole = "-supervisor"

func TestMain(m *testing.M) {
	switch {
	case isChild(os.Args):
		beChild(os.Args)
	case len(os.Args) > 1 && os.Args[1] == supervisorRole:
		os.Args = append(os.Args[:1], os.Args[2:]...)
		main()
	default:
		os.Exit(m.Run())
	}
}

// limit is for what takes seconds on an idle machine.
const limit = 2 * time.Minute

// site is a supervisor of the test, with real nodes, each a process.
type site struct {
	*supervisor
	t   *testing.T
	url string
}

func newSite(t *testing.T) site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := startSupervisor(ctx, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	server := httptest.NewServer(s.handler("room"))
	t.Cleanup(server.Close)
	return site{s, t, server.URL}
}

// awaits waits until done returns true.
func (s site) awaits(what string, done func(state) bool) state {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	var last state
	err := s.await(ctx, func(st state) (bool, error) { last = st; return done(st), failure(st) })
	if err != nil {
		s.t.Fatalf("%s: %v: %+v", what, err, last)
	}
	return last
}

// heals starts all nodes that do not run, and waits until all three own shards.
func (s site) heals() {
	s.t.Helper()
	st, _ := s.state(0)
	for _, n := range st.Nodes {
		if n.State == killed || n.State == left {
			s.does(s.start, n.ID)
		}
	}
	s.awaits("sharing the shards", shared)
}

func (s site) does(what func(string) error, id string) {
	s.t.Helper()
	if err := what(id); err != nil {
		s.t.Fatal(id, ": ", err)
	}
}

// home returns the node on which the lobby of an app lives.
func (s site) home(app string) string {
	st, _ := s.state(0)
	return st.Homes[app].Node
}

// address returns where a node serves pages.
func (s site) address(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodeLocked(id).Public
}

// others returns the nodes that are alive besides one.
func (s site) others(id string) (ids []string) {
	st, _ := s.state(0)
	for _, n := range st.Nodes {
		if n.ID != id && n.State == alive {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// guest is a connection to the room.
type guest struct {
	t *testing.T
	s *edgews.Socket
}

// enters connects to the room by way of a node.
func (s site) enters(id, name string) (guest, answer) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	socket, _, err := edgews.Dial(ctx, "ws://"+s.address(id)+"/socket?name="+name, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { socket.Close(edgews.StatusNormalClosure, "") })
	g := guest{s.t, socket}
	return g, g.hears(func(a answer) bool { return a.Type == "welcome" })
}

func (g guest) asks(q request) {
	g.t.Helper()
	if err := edgews.SendJSON(g.s, q); err != nil {
		g.t.Fatal(err)
	}
}

// hears receives until an answer is the right one.
func (g guest) hears(right func(answer) bool) answer {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), limit)
	defer cancel()
	for {
		a, err := edgews.ReceiveJSON[answer](ctx, g.s)
		if err != nil {
			g.t.Fatal(err)
		}
		if right(a) {
			return a
		}
	}
}

// says says a text, and waits until it is stored.
func (g guest) says(text string) answer {
	g.t.Helper()
	g.asks(request{Do: "say", ID: "id of " + text, Text: text})
	return g.hears(func(a answer) bool { return a.Type == "stored" && a.ID == "id of "+text })
}

// reads returns the texts that are kept, in the order in which they come.
func (g guest) reads() (texts []string) {
	g.t.Helper()
	g.asks(request{Do: "read"})
	g.hears(func(a answer) bool {
		if a.Type == "message" {
			texts = append(texts, a.Message.Text)
		}
		return a.Type == "read"
	})
	return texts
}

// ends receives until the connection ends, and returns how.
func (g guest) ends() edgews.StatusCode {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), limit)
	defer cancel()
	for {
		_, err := g.s.Receive(ctx)
		if end := new(edgews.CloseError); errors.As(err, &end) {
			return end.Code
		}
		if err != nil {
			g.t.Fatal(err)
		}
	}
}

func equal[T comparable](t *testing.T, what string, want, got T) {
	t.Helper()
	if want != got {
		t.Errorf("%s is %v, not %v", what, got, want)
	}
}

// TestNodes tells the whole story. One socket is there from the beginning to the end of its edge; each message and each tick counts once.
func TestNodes(t *testing.T) {
	s := newSite(t)
	first := s.home("room")
	edge := s.others(first)[0]
	ann, welcome := s.enters(edge, "Ann")
	equal(t, "the edge", edge, welcome.Edge)
	equal(t, "the home", first, welcome.Home.Node)

	var said []string
	say := func(text string) answer {
		t.Helper()
		said = append(said, text)
		return ann.says(text)
	}
	for n := range 10 {
		say(fmt.Sprint("before, ", n))
	}

	// The home is killed while ticks come.
	const ticks = 200
	for n := range ticks {
		ann.asks(request{Do: "tick", Tick: n + 1})
		if n == ticks/2 {
			ann.hears(func(a answer) bool { return a.Type == "tick" })
			s.does(s.kill, first)
		}
	}
	last := ann.hears(func(a answer) bool { return a.Tick == ticks })
	if last.Home.Node == first || last.Home.Epoch <= welcome.Home.Epoch {
		t.Errorf("the home was %+v, was killed, and is %+v", welcome.Home, last.Home)
	}
	equal(t, "the number of messages and ticks", ticks+10, last.Count)
	equal(t, "the number of messages", 10, last.Last)
	say("after the kill")
	equal(t, "the number of messages after a repetition", 11, ann.says("after the kill").Last)

	// It is started again, and gets the room back: which node it is depends on the names of the nodes that are alive.
	s.heals()
	s.awaits("the room back", func(st state) bool { return st.Homes["room"].Node == first })
	back := say("after the restart")
	equal(t, "the home", first, back.Home.Node)

	// It leaves.
	s.does(s.leave, first)
	s.awaits("it has left", func(st state) bool { return stateOf(st, first) == left })
	gone := say("after it has left")
	if gone.Home.Node == first || gone.Home.Epoch <= back.Home.Epoch {
		t.Errorf("the home was %+v, left, and is %+v", back.Home, gone.Home)
	}
	if err := s.leave(first); !errors.Is(err, errState) {
		t.Error("it leaves again: ", err)
	}

	// The edge leaves, so its sockets end.
	s.heals()
	s.does(s.leave, edge)
	equal(t, "the status of the end", edgews.StatusServiceRestart, ann.ends())

	bob, welcome := s.enters(s.others(edge)[0], "Bob")
	equal(t, "the number of messages", len(said), welcome.Last)
	equal(t, "the number of messages and ticks", len(said)+ticks, welcome.Count)
	equal(t, "the history", fmt.Sprint(said), fmt.Sprint(bob.reads()))
}

func stateOf(st state, id string) string {
	for _, n := range st.Nodes {
		if n.ID == id {
			return n.State
		}
	}
	return ""
}
