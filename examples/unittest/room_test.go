package unittest

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
)

// join joins the room over a pair, and returns the member's side of it as a transcript.
func join(t *testing.T, room *Room, name string) *edgewstest.Recorder {
	t.Helper()
	ours, theirs := edgews.NewPair()
	member := edgewstest.Record(t, ours)
	ours.Accept()
	room.Join(theirs, name)
	return member
}

// dial joins the room over a connection, and returns the member's side of it as a transcript, from the line that says so.
func dial(t *testing.T, srv *edgewstest.Server, name string) *edgewstest.Recorder {
	t.Helper()
	s := srv.Dial("/room?name="+name, nil)
	member := edgewstest.Record(t, s)
	s.Accept()
	member.Want(`text "` + name + ` has joined"`) // the handler may still run when Dial returns
	return member
}

// Over pairs, the room is tested without HTTP: Join takes any socket.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room Room
		ada := join(t, &room, "Ada")
		ada.Want(`text "Ada has joined"`)
		bob := join(t, &room, "Bob")
		ada.Want(`text "Bob has joined"`)
		bob.Want(`text "Bob has joined"`)

		bob.Send("hello")
		bob.Want(`sent text "hello"`, `text "Bob: hello"`)
		ada.Want(`text "Bob: hello"`)

		bob.Close(edgews.StatusNormalClosure, "good night")
		bob.WantEnd(`sent close 1000 "good night"`, `close 1000 "good night" clean=true`)
		ada.Want(`text "Bob has left"`)
		ada.Socket().Close(edgews.StatusNormalClosure, "")
	})
}

// Five minutes pass in no time, and they are exactly five minutes.
func TestIdleMembersArePutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room Room
		ada, bob := join(t, &room, "Ada"), join(t, &room, "Bob")
		ada.Want(`text "Ada has joined"`, `text "Bob has joined"`)
		bob.Want(`text "Bob has joined"`)

		bob.WantNothing(4 * time.Minute)
		bob.Send("I am still here")
		said := time.Now()
		bob.Want(`sent text "I am still here"`, `text "Bob: I am still here"`)
		ada.Patience, bob.Patience = time.Hour, time.Hour
		ada.WantEnd(`text "Bob: I am still here"`, `close 1008 "nothing said for 5 minutes" clean=true`)
		bob.WantEnd(`text "Ada has left"`, `close 1008 "nothing said for 5 minutes" clean=true`)
		if d := time.Since(said); d != 5*time.Minute {
			t.Errorf("Bob was put out after %v", d)
		}
	})
}

// The handler is tested over connections in memory, with the server of net/http: the handshake, the options and the network count too.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, new(Room))
		_, resp, err := srv.TryDial(t.Context(), "/room", nil)
		if refused, ok := errors.AsType[*edgews.HandshakeError](err); !ok || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without a name: %v, %v", refused, err)
		}

		ada := dial(t, srv, "Ada")
		for range 3 { // a burst, a second later the next
			for range messagesPerSecond {
				ada.Socket().Send("quick")
				ada.Want(`text "Ada: quick"`)
			}
			ada.WantNothing(time.Second)
		}
		for range messagesPerSecond {
			ada.Socket().Send("quick")
			ada.Want(`text "Ada: quick"`)
		}
		ada.Send("one too many")
		ada.Want(`sent text "one too many"`)
		if last := ada.Next(); !strings.HasPrefix(last, "close 1008 ") {
			t.Errorf("after one message too many: %s", last)
		}
	})
}

// A member whose network is dead says nothing and does not hang up. Keep-alive notices it within 45 seconds.
func TestDeadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, new(Room))
		ada, bob := dial(t, srv, "Ada"), dial(t, srv, "Bob")
		ada.Want(`text "Bob has joined"`)
		network := srv.Conn(bob.Socket())
		network.Incoming().Drop()
		network.Outgoing().Drop()
		lost := time.Now()
		ada.Want(`text "Bob has left"`)
		if d := time.Since(lost); d > time.Minute {
			t.Errorf("it was noticed after %v", d)
		}
	})
}

// A member that reads nothing does not delay the others. It is put out when its connection has taken nothing for 10 s.
func TestSlowMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, new(Room))
		ada, slow := dial(t, srv, "Ada"), dial(t, srv, "slow")
		ada.Want(`text "slow has joined"`)
		srv.Conn(slow.Socket()).Incoming().Set(edgewstest.Faults{StallAt: 1, Buffer: 1})
		for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(time.Second / messagesPerSecond) {
			ada.Socket().Send("hello")
			switch got := ada.Next(); got {
			case `text "Ada: hello"`:
			case `text "slow has left"`:
				return
			default:
				t.Fatalf("Ada has got %s", got)
			}
		}
		t.Error("a member that reads nothing is still there after a minute")
	})
}

// A connection can end at any byte of a message. The room notices, and only whole messages are said.
func TestConnectionsThatFail(t *testing.T) {
	for at := int64(1); at <= 20; at++ {
		synctest.Test(t, func(t *testing.T) {
			srv := edgewstest.New(t, new(Room))
			ada, bob := dial(t, srv, "Ada"), dial(t, srv, "Bob")
			ada.Want(`text "Bob has joined"`)
			srv.Conn(bob.Socket()).Outgoing().Set(edgewstest.Faults{CutAt: at})
			bob.Send("hello")
			bob.Send("are you there?")
			if at > int64(len("hello"))+6 { // a frame of a client has 6 bytes more
				ada.Want(`text "Bob: hello"`)
			}
			ada.Want(`text "Bob has left"`)
		})
	}
}

// A peer sends frames as a test wants them: in fragments, with a ping between them, and broken ones.
func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, new(Room))
		peer := srv.DialPeer("/room?name=Ada", nil)
		peer.Expect(edgewstest.TextFrame("Ada has joined"))
		peer.Write(edgewstest.TextFrame("in ").More(), edgewstest.PingFrame("?"), edgewstest.ContinuationFrame("parts"))
		peer.Expect(edgewstest.PongFrame("?"), edgewstest.TextFrame("Ada: in parts"))
		peer.Write(edgewstest.TextFrame(strings.Repeat("x", maxMessage+1)))
		peer.ExpectClose(edgews.StatusMessageTooBig)
	})
	for _, v := range edgewstest.Violations() {
		if v.Code == edgews.StatusMessageTooBig {
			continue // tested above
		}
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := edgewstest.New(t, new(Room))
				ada := dial(t, srv, "Ada")
				peer := srv.DialPeer("/room?name=Bob", nil)
				peer.Expect(edgewstest.TextFrame("Bob has joined"))
				peer.Write(v.Frames...)
				peer.ExpectClose(v.Code)
				ada.Want(`text "Bob has joined"`, `text "Bob has left"`)
			})
		})
	}
}
