package edgews_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// observations is an Observer that keeps what it is told, one line for each call.
type observations struct {
	edgews.NopObserver
	mu     sync.Mutex
	lines  map[*edgews.Socket][]string
	closed map[*edgews.Socket]edgews.SocketObservation
	inCall map[*edgews.Socket]bool
	faults []string

	refusals []edgews.RefusalObservation
	objects  []edgews.ObjectObservation
}

func newObservations() *observations {
	return &observations{
		lines: map[*edgews.Socket][]string{}, closed: map[*edgews.Socket]edgews.SocketObservation{}, inCall: map[*edgews.Socket]bool{},
	}
}

// add notes a line, and that no other call for the same socket is under way.
func (o *observations) add(s *edgews.Socket, line string) {
	o.mu.Lock()
	if o.inCall[s] {
		o.faults = append(o.faults, "two calls at a time: "+line)
	}
	o.inCall[s] = true
	o.lines[s] = append(o.lines[s], line)
	o.mu.Unlock()
	s.ReadyState() // needs the socket's mutex
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inCall[s] = false
}

func (o *observations) ObserveSocket(e edgews.SocketObservation) {
	line := e.Event.String()
	if e.Event == edgews.SocketClosed {
		line = fmt.Sprintf("closed %d %v %v", uint16(e.Code), e.WasClean, e.Cause)
		o.mu.Lock()
		if _, twice := o.closed[e.Socket]; twice {
			o.faults = append(o.faults, "closed twice")
		}
		o.closed[e.Socket] = e
		o.mu.Unlock()
	}
	o.add(e.Socket, line)
}

func (o *observations) ObserveMessage(m edgews.MessageObservation) {
	line := fmt.Sprintf("%v %v %d/%d", m.Direction, m.Kind, m.Bytes, m.WireBytes)
	if m.Dropped {
		line += " dropped"
	}
	if m.Auto {
		line += " auto"
	}
	if m.Latency < 0 || m.Direction == edgews.Outbound && m.Latency != 0 {
		line += fmt.Sprintf(" latency %v", m.Latency)
	}
	o.add(m.Socket, line)
}

func (o *observations) ObserveRefusal(r edgews.RefusalObservation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusals = append(o.refusals, r)
}

func (o *observations) ObserveObject(e edgews.ObjectObservation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects = append(o.objects, e)
}

// of returns what was told of s.
func (o *observations) of(s *edgews.Socket) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines[s]...)
}

// wants waits until exactly those lines have been told of s.
func (o *observations) wants(t testing.TB, s *edgews.Socket, lines ...string) {
	t.Helper()
	eventually(t, func() bool { return len(o.of(s)) >= len(lines) }, fmt.Sprintf("%d observations: %q", len(lines), o.of(s)))
	assert.Equal(t, lines, o.of(s))
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.Empty(t, o.faults)
}

func TestAnObserverIsToldOfListenersAndSends(t *testing.T) {
	seen := newObservations()
	overWires(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}}, func(t *testing.T, client, server *edgews.Socket) {
		server.OnMessage(func(m edgews.MessageEvent) { assert.NoError(t, server.Send(string(m.Data)+"!")) })
		answered := make(chan string, 1)
		client.OnMessage(func(m edgews.MessageEvent) { answered <- string(m.Data) })
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("hello"))
		assert.Equal(t, "hello!", <-answered)
		require.NoError(t, client.Close(1000, "bye"))
		waitDone(t, client)
		waitDone(t, server)
		seen.wants(t, server, "opened", "out text 6/8", "in text 5/11", "closed 1000 true peer")
		seen.wants(t, client, "opened", "out text 5/11", "in text 6/8", "closed 1000 true local")
		assert.Equal(t, "bye", seen.closed[server].Reason)
		assert.NoError(t, seen.closed[server].Err)
	})
}

func TestAnObserverIsToldOfReceivedMessages(t *testing.T) {
	seen := newObservations()
	overWires(t, edgews.Options{Observer: seen, Compression: &edgews.Compression{Disable: true}}, func(t *testing.T, client, server *edgews.Socket) {
		ctx := within(t)
		require.NoError(t, client.Write(ctx, edgews.Binary, make([]byte, 200)))
		_, err := server.Receive(ctx)
		require.NoError(t, err)
		seen.wants(t, server, "opened")
		require.NoError(t, client.Write(ctx, edgews.Text, []byte("two")))
		kind, r, err := server.NextReader(ctx)
		require.NoError(t, err)
		assert.Equal(t, edgews.Text, kind)
		seen.wants(t, server, "opened", "in binary 200/208")
		require.NoError(t, client.Close(1000, ""))
		_, err = r.Read(make([]byte, 8))
		require.NoError(t, err)
		_, err = server.Receive(ctx)
		require.Error(t, err)
		_, err = client.Receive(ctx)
		require.Error(t, err)
		seen.wants(t, server, "opened", "in binary 200/208", "in text 3/9", "closed 1000 true peer")
		seen.wants(t, client, "opened", "out binary 200/208", "out text 3/9", "closed 1000 true local")
	})
}

func TestLatencyIsTheTimeOfTheHandler(t *testing.T) {
	var latencies chan time.Duration
	seen := observerFunc(func(m edgews.MessageObservation) {
		if m.Direction == edgews.Inbound {
			latencies <- m.Latency
		}
	})
	bubble(t, func(t *testing.T) {
		latencies = make(chan time.Duration, 10) // in the bubble
		client, server := overPipe.connect(t, edgews.Options{Observer: seen})
		server.OnMessage(func(edgews.MessageEvent) { <-time.After(time.Second) })
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("slow"))
		assert.Equal(t, time.Second, <-latencies)

		require.NoError(t, server.Send("taken"))
		_, err := client.Receive(context.Background())
		require.NoError(t, err)
		<-time.After(time.Minute)
		require.NoError(t, client.Close(1000, ""))
		_, err = client.Receive(context.Background())
		require.Error(t, err)
		assert.Equal(t, time.Minute, <-latencies)
	})
}

// observerFunc is an Observer of messages.
type observerFunc func(edgews.MessageObservation)

func (observerFunc) ObserveSocket(edgews.SocketObservation)       {}
func (f observerFunc) ObserveMessage(m edgews.MessageObservation) { f(m) }
func (observerFunc) ObserveObject(edgews.ObjectObservation)       {}
func (observerFunc) ObserveRefusal(edgews.RefusalObservation)     {}
