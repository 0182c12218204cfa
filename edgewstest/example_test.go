package edgewstest_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
)

// aTest stands for "func TestX(t *testing.T)" in these examples. It runs the test and prints what the test reports.
func aTest(f func(t testing.TB)) {
	reports := runTest(f)
	if len(reports) == 0 {
		fmt.Println("ok")
	}
	for _, report := range reports {
		fmt.Println(report)
	}
}

// greet is the handler that the examples test.
func greet(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send("good day, " + e.Text()) })
	s.Accept()
	s.Send("what is your name?")
}

// A test of a handler. In a synctest bubble it would look the same.
func ExampleNew() {
	aTest(func(t testing.TB) {
		srv := edgewstest.New(t, http.HandlerFunc(greet))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		s.Accept()
		rec.Want(`text "what is your name?"`)
		rec.Send("Ada")
		rec.Want(`sent text "Ada"`, `text "good day, Ada"`)
		rec.Close(edgews.StatusNormalClosure, "bye")
		rec.WantEnd(`sent close 1000 "bye"`, `close 1000 "bye" clean=true`)
	})
	// Output: ok
}

// What a test says that wants something else.
func ExampleRecorder_Want() {
	aTest(func(t testing.TB) {
		srv := edgewstest.New(t, http.HandlerFunc(greet))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		s.Accept()
		rec.Want(`text "what is your name?"`)
		s.Send("Bob")
		rec.Want(`text "good day, Ada"`)
	})
	// Output:
	// edgewstest: the socket of http://edgews.test/ did not do what the test wants (- wanted, + recorded):
	//     text "what is your name?"
	//   - text "good day, Ada"
	//   + text "good day, Bob"
	//                     ^
}

// A handler that receives in a loop is tested in the same way, and so is a test that receives in a loop.
func ExampleRecorder_Messages() {
	aTest(func(t testing.TB) {
		client, server := edgews.NewPair()
		server.Accept()
		server.Send("one")
		server.SendBytes([]byte("two"))
		server.Close(edgews.StatusGoingAway, "")

		rec := edgewstest.Record(t, client)
		for msg, err := range rec.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			rec.Note("handled " + msg.Text())
		}
		rec.WantEnd(`text "one"`, "handled one", `binary "two"`, "handled two", `close 1001 "" clean=true`)
	})
	// Output: ok
}

// A client that sends what a library would not send.
func ExampleServer_DialPeer() {
	aTest(func(t testing.TB) {
		srv := edgewstest.New(t, http.HandlerFunc(greet))
		var peer *edgewstest.Peer = srv.DialPeer("/", nil)
		peer.Expect(edgewstest.TextFrame("what is your name?"))
		name := []edgewstest.Frame{
			edgewstest.TextFrame("A").More(), // in two fragments, with a ping between them
			edgewstest.PingFrame("1"),
			edgewstest.ContinuationFrame("da"),
		}
		peer.Write(name...)
		peer.Expect(edgewstest.PongFrame("1"), edgewstest.TextFrame("good day, Ada"))
		peer.Write(edgewstest.InvalidUTF8Frame())
		peer.ExpectClose(edgews.StatusInvalidFramePayloadData)
	})
	// Output: ok
}

// A connection that is slow, and then lost.
func ExampleServer_Conn() {
	aTest(func(t testing.TB) {
		srv := edgewstest.New(t, http.HandlerFunc(greet))
		s := srv.Dial("/", nil)
		rec := edgewstest.Record(t, s)
		s.Accept()
		rec.Want(`text "what is your name?"`)
		conn := srv.Conn(s)
		var incoming *edgewstest.Flow = conn.Incoming()
		incoming.Set(edgewstest.Faults{Delay: 50 * time.Millisecond, ReadSize: 1})
		s.Send("Ada")
		rec.Want(`text "good day, Ada"`)
		conn.Reset()
		rec.WantEnd(`close 1006 "WebSocket disconnected without sending Close frame." clean=false`)
	})
	// Output: ok
}

// A program that dials, against a server that the test plays.
func ExampleFakeServer() {
	program := func(ctx context.Context, url string, client *http.Client) error {
		s, _, err := edgews.Dial(ctx, url, &edgews.DialOptions{HTTPClient: client})
		if err != nil {
			return err
		}
		defer s.Close(edgews.StatusNormalClosure, "")
		msg, err := s.Receive(ctx)
		if err != nil {
			return err
		}
		return s.Write(ctx, edgews.Text, []byte("seen: "+msg.Text()))
	}
	aTest(func(t testing.TB) {
		fake := edgewstest.NewFakeServer(t)
		go program(t.Context(), fake.URL+"/feed", fake.Client())
		peer := fake.Accept()
		fmt.Println(peer.Request.URL.Path)
		peer.Write(edgewstest.TextFrame("news"))
		peer.Expect(edgewstest.TextFrame("seen: news"))
		peer.ExpectClose(edgews.StatusNormalClosure)
		peer.Write(edgewstest.CloseFrame(edgews.StatusNormalClosure, ""))
	})
	// Output:
	// /feed
	// ok
}

// A client whose network is slow, over connections of any kind. The two directions have different faults.
func ExampleFaultConn() {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		in := edgewstest.Faults{Delay: 200 * time.Millisecond, ReadSize: 1}
		out := edgewstest.Faults{Delay: 100 * time.Millisecond}
		return edgewstest.FaultConn(conn, in, out), nil
	}}
	_ = &edgews.DialOptions{HTTPClient: &http.Client{Transport: transport}}
}

func ExamplePipe() {
	client, server := edgewstest.Pipe()
	client.Outgoing().Set(edgewstest.Faults{ReadSize: 2, CutAt: 4})
	fmt.Fprint(client, "abcdef")
	for {
		var buf [10]byte
		n, err := server.Read(buf[:])
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", buf[:n])
	}
	// Output:
	// ab
	// c
	// EOF
}
