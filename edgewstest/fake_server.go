package edgewstest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// FakeServer is a server in memory for a program that dials. The test is the server: it gets a [Peer] for each connection.
//
//	fake := edgewstest.NewFakeServer(t)
//	go client.Run(ctx, fake.URL, fake.Client()) // the program under test
//	peer := fake.Accept()
//	peer.Write(edgewstest.TextFrame("hello"))
type FakeServer struct {
	// URL is the server's address, "http://edgews.test", which is only known to Client.
	URL string

	// Answer, if it is not nil, answers each request, instead of a 101 without subprotocol and extensions: with Peer.AnswerUpgrade,
	// Peer.Refuse or Peer.WriteBytes. It is called by a goroutine of the connection, after Peer.Request is set. Accept returns the Peer
	// afterwards. Set it before the first connection.
	Answer func(p *Peer)

	// OnConnect is as in [Server].
	OnConnect func(client *Conn)

	t        testing.TB
	listener *listener
	client   *http.Client
	peers    chan *Peer // that have answered
	start    sync.Once
	closing  atomic.Bool // Close has been called
	running  sync.WaitGroup
	log      *testLog
}

// NewFakeServer starts a server. At the end of the test it is closed, as by [FakeServer.Close].
func NewFakeServer(t testing.TB) *FakeServer {
	t.Helper()
	s := &FakeServer{URL: "http://edgews.test", t: t, listener: newListener(), peers: make(chan *Peer), log: &testLog{t: t}}
	s.client = &http.Client{Transport: &http.Transport{DialContext: s.dial}}
	t.Cleanup(s.Close)
	return s
}

// Client returns an HTTP client for [edgews.DialOptions], whose requests to any host go to this server. It may be changed
// before its first use.
func (s *FakeServer) Client() *http.Client { return s.client }

// Accept returns the peer of the next connection, after its opening handshake, in the order in which the handshakes end. It ends the
// test if there is none for a minute.
func (s *FakeServer) Accept() *Peer {
	s.t.Helper()
	select {
	case p := <-s.peers:
		return p
	case <-time.After(patience):
		s.t.Fatalf("edgewstest: no opening handshake for %v", patience)
		return nil
	}
}

func (s *FakeServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.start.Do(func() { s.running.Go(s.serve) })
	client, server := s.listener.newConn(true)
	if s.OnConnect != nil {
		s.OnConnect(client)
	}
	if err := s.listener.connect(ctx, client, server); err != nil {
		return nil, err
	}
	return client, nil
}

// serve answers connections until the listener is closed.
func (s *FakeServer) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.answer(NewPeer(s.t, conn, false)) })
	}
}

// answer makes the opening handshake and gives the peer to Accept.
func (s *FakeServer) answer(p *Peer) {
	if err := p.readRequest(); err != nil {
		p.Close() // the client has given up
		return
	}
	s.listener.uses(p.Conn(), p.Request.Method+" "+p.Request.URL.RequestURI())
	if s.Answer != nil {
		s.Answer(p)
	} else if err := p.answerUpgrade(nil); err != nil {
		s.log.errorf("edgewstest: the peer cannot answer the request: %v", err)
	}
	select {
	case s.peers <- p:
	case <-s.listener.closed:
	}
}

// Close cuts all connections. The program under test has to close its ends within a minute; connections that it does not close are reported as
// errors of the test. Calling Close again does nothing.
func (s *FakeServer) Close() {
	s.t.Helper()
	if s.closing.Swap(true) {
		return
	}
	s.client.CloseIdleConnections()
	s.listener.hangUp()
	if !s.listener.awaitEnd() {
		s.listener.reportConns(s.t, "a socket that is not accepted does not notice; accept it or close it")
	}
	s.listener.Close()
	s.listener.closeAll()
	s.running.Wait()
	s.log.close()
}
