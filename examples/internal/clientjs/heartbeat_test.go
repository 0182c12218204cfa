package clientjs_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/edgews/edgews"
)

// TestHeartbeatOfAnObject: the object's auto-response answers, and the connection stays.
func TestHeartbeatOfAnObject(t *testing.T) {
	s := newSite(t)
	rooms := edgews.NewNamespace("rooms", newRoom, nil)
	t.Cleanup(func() { rooms.Shutdown(context.Background()) })
	s.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		rooms.Get(rooms.IDFromName("one")).ServeHTTP(w, r)
		return true
	})
	p := open(t, s)
	p.does(`window.heard = 0;
		const Native = WebSocket;
		window.WebSocket = class extends Native { set onmessage(f) { super.onmessage = e => { heard += e.data === "still here"; f(e); }; } };
		begin({heartbeat: {request: "are you there?", response: "still here", interval: 10, timeout: 60000}})`)
	p.until(`heard >= 5`)
	p.logs("open")
}

// room is an object that answers a heartbeat of its own.
type room struct{ st *edgews.State }

func newRoom(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &room{st}, st.SetAutoResponse(edgews.AutoResponse{Request: "are you there?", Response: "still here"})
}

func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	if err := r.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
	}
}

// TestSilentServer: a connection on which nothing comes back is dropped, and what the page sends then goes to the next one.
func TestSilentServer(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`begin({minDelay: 1, maxDelay: 10, heartbeat: {interval: 10, timeout: 50}})`)
	silent := s.next()
	s.receives(silent, "ping")
	p.begins("open", "close 1006 no answer false", "wait 1006 no answer")
	p.until(`log.filter(line => line === "open").length >= 2`)
	s.next()
}

// TestAnyMessageAnswersAHeartbeat: only silence counts.
func TestAnyMessageAnswersAHeartbeat(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`begin({minDelay: 1, heartbeat: {interval: 10, timeout: 60000}})`)
	socket := s.next()
	for range 3 {
		s.receives(socket, "ping")
		s.sends(socket, "not a pong")
	}
	p.begins("open", "message not a pong", "message not a pong", "message not a pong")
}

// TestNoHeartbeat: with null the page sends nothing of its own, and is shown every message.
func TestNoHeartbeat(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`begin({heartbeat: null})`)
	socket := s.next()
	p.logs("open")
	s.sends(socket, "pong")
	p.logs("open", "message pong")
	p.does(`dispatchEvent(new Event("online")); s.send("the first message")`)
	s.receives(socket, "the first message")
}

// TestLateTimer: after a time in which the page was frozen or the computer slept, a missing answer may still be on its way. The page
// asks again, once.
func TestLateTimer(t *testing.T) {
	s := newSite(t)
	p := open(t, s)
	p.does(`const real = setTimeout, now = Date.now;
		let slept = 0;
		window.setTimeout = (f, d) => d === 7777 ? (window.due = f, real(() => {}, 1)) : real(f, d);
		Date.now = () => now() + slept;
		window.wake = () => { slept += 3600000; due(); };
		begin({minDelay: 600000, maxDelay: 600000, heartbeat: {interval: 10, timeout: 7777}})`)
	socket := s.next()
	s.receives(socket, "ping")
	p.until(`window.due`)
	p.does(`wake()`)
	s.receives(socket, "ping")
	s.sends(socket, "pong")
	s.receives(socket, "ping") // the interval has passed, so the pong has arrived
	p.logs("open")
	p.does(`wake()`)
	s.receives(socket, "ping")
	p.does(`wake()`)
	p.logs("open", "close 1006 no answer false", "wait 1006 no answer")
}
