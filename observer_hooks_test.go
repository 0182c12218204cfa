package edgews_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// passed is what was told of connections that were passed through.
type passed struct {
	edgews.NopObserver
	events chan edgews.SocketObservation
}

func newPassed() *passed { return &passed{events: make(chan edgews.SocketObservation, 100)} }

func (p *passed) ObserveSocket(e edgews.SocketObservation) { p.events <- e }

// wants checks that a connection, and nothing else, was told of as passed through, and returns both observations. ended ends the connection.
func (p *passed) wants(t *testing.T, path string, end func()) (opened, ended edgews.SocketObservation) {
	t.Helper()
	opened = <-p.events
	s := opened.Socket
	assert.Equal(t, edgews.SocketOpened, opened.Event)
	assert.True(t, opened.PassThrough)
	info := s.Info()
	assert.Equal(t, path, info.Path)
	assert.Equal(t, "tcp", info.Remote.Network())
	assert.False(t, info.Opened.IsZero())
	assert.Equal(t, edgews.Open, info.State)
	for _, err := range []error{s.Send("x"), s.Close(1000, ""), s.Accept(), s.Write(t.Context(), edgews.Text, nil), edgews.NewHub(nil).Add(s)} {
		assert.ErrorIs(t, err, edgews.ErrUsed)
	}
	_, err := s.Receive(t.Context())
	assert.ErrorIs(t, err, edgews.ErrUsed)
	_, err = s.Ping(t.Context())
	assert.ErrorIs(t, err, edgews.ErrUsed)
	end()
	ended = <-p.events
	assert.Same(t, s, ended.Socket)
	assert.Equal(t, edgews.SocketClosed, ended.Event)
	assert.True(t, ended.PassThrough)
	assert.Equal(t, edgews.Closed, s.ReadyState())
	assert.Empty(t, p.events)
	return opened, ended
}

func TestAnObserverIsToldOfPassThrough(t *testing.T) {
	target := startServer(t, false, echoTo(t, &edgews.UpgradeOptions{Protocols: []string{"chat"}}, nil))
	connect := func(t *testing.T, front *httptest.Server) (client *edgews.Socket) {
		client, _, err := edgews.Dial(t.Context(), front.URL+"/room", &edgews.DialOptions{Protocols: []string{"chat"}})
		require.NoError(t, err)
		require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("hello")))
		m, err := client.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "hello", m.Text())
		return client
	}
	closes := func(t *testing.T, client *edgews.Socket) func() {
		return func() {
			require.NoError(t, client.Close(1000, ""))
			_, err := client.Receive(t.Context())
			require.Error(t, err)
		}
	}
	t.Run("Proxy", func(t *testing.T) {
		seen := newPassed()
		front := startServer(t, false, edgews.Proxy(target.URL, &edgews.ProxyOptions{Options: edgews.Options{Observer: seen}}))
		client := connect(t, front)
		opened, ended := seen.wants(t, "/room", closes(t, client))
		assert.Equal(t, client.LocalAddr().String(), opened.Socket.RemoteAddr().String())
		assert.Equal(t, "chat", opened.Socket.Protocol())
		assert.Equal(t, client.Extensions(), opened.Socket.Extensions())
		assert.Equal(t, edgews.ClosedByPeer, ended.Cause)
		assert.Equal(t, edgews.StatusNoStatusRcvd, ended.Code)
		assert.True(t, ended.WasClean)
		assert.NoError(t, ended.Err)
		assert.Positive(t, ended.Lifetime)
	})
	t.Run("the idle time-out", func(t *testing.T) {
		seen := newPassed()
		opts := &edgews.ProxyOptions{Options: edgews.Options{Observer: seen}, IdleTimeout: 50 * time.Millisecond}
		front := startServer(t, false, edgews.Proxy(target.URL, opts))
		client := connect(t, front)
		_, ended := seen.wants(t, "/room", func() {})
		assert.Equal(t, edgews.ClosedByShutdown, ended.Cause)
		assert.Equal(t, edgews.StatusAbnormalClosure, ended.Code)
		assert.False(t, ended.WasClean)
		assert.Error(t, ended.Err)
		_, err := client.Receive(t.Context())
		require.Error(t, err)
	})
	t.Run("Respond", func(t *testing.T) {
		seen := newPassed()
		dial := &edgews.DialOptions{Protocols: []string{"chat"}}
		up := &edgews.UpgradeOptions{Options: edgews.Options{Observer: seen}}
		front := startServer(t, false, dialAndRespond(t, target.URL, dial, up, nil))
		client := connect(t, front)
		opened, ended := seen.wants(t, "/room", closes(t, client))
		assert.Equal(t, "chat", opened.Socket.Protocol())
		assert.Equal(t, edgews.ClosedByPeer, ended.Cause)
	})
	t.Run("Respond in an object", func(t *testing.T) {
		seen := newPassed()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, func(r *room) {
			r.serve = dialAndRespond(t, target.URL, &edgews.DialOptions{Protocols: []string{"chat"}}, nil, nil)
		})
		front := startServer(t, false, n.ByName("lobby"))
		client := connect(t, front)
		seen.wants(t, "/room", closes(t, client))
	})
}

// An Observer that panics disturbs no tunnel.
func TestAnObserverOfPassThroughMayPanic(t *testing.T) {
	target := startServer(t, false, echoTo(t, nil, nil))
	var log lockedBuffer
	panics := socketObserver(func(edgews.SocketObservation) { panic("an observer") })
	opts := &edgews.ProxyOptions{Options: edgews.Options{Observer: panics, Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	front := startServer(t, false, edgews.Proxy(target.URL, opts))
	client, _, err := edgews.Dial(t.Context(), front.URL+"/room", nil)
	require.NoError(t, err)
	require.NoError(t, client.Write(t.Context(), edgews.Text, []byte("hello")))
	_, err = client.Receive(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close(1000, ""))
	_, err = client.Receive(t.Context())
	require.ErrorContains(t, err, "1000")
	eventually(t, func() bool { return strings.Count(log.String(), "observer panicked") == 2 }, "both calls are logged")
	assert.Equal(t, 2, strings.Count(log.String(), "websocket.path=/room"), log.String())
}

// What an Observer's panic is logged with tells sockets and requests apart.
func TestAnObserversPanicIsLoggedWithTheSocket(t *testing.T) {
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	overAPipe(t, edgews.Options{Observer: panicking{}, Logger: logger}, func(t *testing.T, s *edgews.Socket, p *peer) {
		log.b.Reset()
		require.NoError(t, s.Accept())
		require.NoError(t, s.Send("hello"))
		p.expects(text("hello"))
		s.OnMessage(func(edgews.MessageEvent) {})
		p.sends(text("good day"))
		p.closesCleanly(1000, "")
		waitDone(t, s)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 4, "opened, sent, received, closed")
		for _, line := range lines {
			assert.Contains(t, line, "edgews: observer panicked")
			assert.Contains(t, line, "websocket.id=")
			assert.Contains(t, line, "websocket.remote=pipe")
			assert.Contains(t, line, "websocket.path=/")
		}
	})
	log.b.Reset()
	r := refusedRequest(func(r *http.Request) { r.Header.Del("Upgrade") })
	_, err := edgews.Upgrade(httptest.NewRecorder(), r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: panicking{}, Logger: logger}})
	require.Error(t, err)
	assert.Contains(t, log.String(), "websocket.path=/")
}

// panicking is an Observer.
type panicking struct{}

func (panicking) ObserveSocket(edgews.SocketObservation)   { panic("an observer") }
func (panicking) ObserveMessage(edgews.MessageObservation) { panic("an observer") }
func (panicking) ObserveObject(edgews.ObjectObservation)   { panic("an observer") }
func (panicking) ObserveRefusal(edgews.RefusalObservation) { panic("an observer") }

func (o *observations) objectLines() (lines []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.objects {
		line := e.Event.String()
		if e.Trigger != 0 {
			line += " " + e.Trigger.String()
		}
		if e.Err != nil {
			line += " failed"
		}
		lines = append(lines, line)
	}
	o.objects = nil
	return lines
}

func TestAbortInAConstructorIsACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		reason := errors.New("not now")
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, func(r *room) { r.st.Abort(reason) })
		n.get(n.IDFromName("lobby"))
		synctest.Wait()
		require.Len(t, seen.objects, 2)
		assert.ErrorIs(t, seen.objects[1].Err, reason)
		assert.ErrorIs(t, seen.objects[1].Err, edgews.ErrAborted)
		assert.Equal(t, []string{"constructed request", "crashed request failed"}, seen.objectLines(), "no handler has run")
	})
}

// PinTimeout ends sockets as a time-out, not as a failure of theirs.
func TestEvictedSocketsHaveNotFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		opts := edgews.Options{Observer: seen, Logger: quiet}
		n := newRooms(t, &edgews.NamespaceOptions{Options: opts, PinTimeout: time.Minute}, nil)
		id := n.IDFromName("lobby")
		var held [2]*edgews.Socket
		st := n.wake(id)
		for i := range held {
			var peer *edgews.Socket
			held[i], peer = edgews.NewPair()
			st.Hold(held[i])
			held[i].OnMessage(func(edgews.MessageEvent) {})
			held[i].OnClose(func(edgews.CloseEvent) {})
			require.NoError(t, held[i].Accept())
			require.NoError(t, peer.Accept())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, s := range held {
			assert.Equal(t, []string{"opened", "closed 1001 false shutdown"}, seen.of(s))
		}
		lines := seen.objectLines()
		assert.Equal(t, []string{"constructed request", "handled request", "hibernated", "handled close", "handled close"}, lines)
	})
}

// A socket that is open when an object holds it is told of from then on.
func TestAHeldSocketIsObserved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}, nil)
		s, peer := edgews.NewPair()
		heard := make(chan string, 10)
		s.OnMessage(func(e edgews.MessageEvent) { heard <- e.Text() })
		acceptBoth(t, s, peer)
		require.NoError(t, peer.Send("before"))
		assert.Equal(t, "before", <-heard)
		synctest.Wait()
		n.wake(n.IDFromName("lobby")).Hold(s)
		assert.Equal(t, []string{"opened"}, seen.of(s), "told when Hold returns")
		require.NoError(t, peer.Send("after"))
		assert.Equal(t, "after", <-heard)
		synctest.Wait()
		require.NoError(t, s.Send("answer"))
		require.NoError(t, peer.Close(1000, ""))
		waitDone(t, s)
		synctest.Wait()
		seen.wants(t, s, "opened", "in text 5/5", "out text 6/6", "closed 1000 true peer")
		assert.Empty(t, seen.of(peer), "it belongs to no object")
		n.wake(n.IDFromName("lobby")).Hold(s)
		assert.Len(t, seen.of(s), 4, "it has ended")
	})
}

// uncomparable is an Observer that cannot be a key of a map.
type uncomparable struct {
	edgews.NopObserver
	seen []chan edgews.SocketEvent
}

func (u uncomparable) ObserveSocket(e edgews.SocketObservation) {
	for _, seen := range u.seen {
		seen <- e.Event
	}
}

func TestObserversNeedNotBeComparable(t *testing.T) {
	for name, wrapped := range map[string]func(edgews.Observer) edgews.Observer{
		"alone":    func(o edgews.Observer) edgews.Observer { return o },
		"embedded": func(o edgews.Observer) edgews.Observer { return struct{ edgews.Observer }{o} },
		"in list":  func(o edgews.Observer) edgews.Observer { return edgews.Observers(o, edgews.NopObserver{}) },
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan edgews.SocketEvent, 100)
			opts := edgews.Options{Observer: wrapped(uncomparable{seen: []chan edgews.SocketEvent{seen}})}
			for range 10 { // more than the options that are shared
				client, server := overTCP.connect(t, opts)
				acceptBoth(t, client, server)
				require.NoError(t, client.Close(1000, ""))
				waitDone(t, client)
				waitDone(t, server)
			}
			for range 40 {
				<-seen
			}
			n := newRooms(t, &edgews.NamespaceOptions{Options: opts}, nil)
			n.joins(n.NewUniqueID())
			assert.Equal(t, edgews.SocketOpened, <-seen)
			hub := edgews.NewHub(&edgews.HubOptions{Options: opts})
			_, err := hub.Upgrade(httptest.NewRecorder(), refusedRequest(func(*http.Request) {}), &edgews.UpgradeOptions{Options: opts})
			require.Error(t, err)
		})
	}
}

// An alarm is told of once, with how late it was, and not as EventHandled too.
func TestAnObserverIsToldOfAlarms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := newObservations()
		var release chan struct{}
		fails := errors.New("try again")
		opts := &edgews.NamespaceOptions{Options: edgews.Options{Observer: seen}}
		n := newRooms(t, opts, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) { <-release }
			r.alarm = func(ctx context.Context) error {
				time.Sleep(time.Second)
				if edgews.AlarmRetry(ctx) == 0 {
					return fails
				}
				return nil
			}
		})
		release = make(chan struct{}, 1)
		id := n.IDFromName("lobby")
		release <- struct{}{}
		require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Minute)))
		time.Sleep(50 * time.Second)
		go n.get(id) // the object is busy when the alarm is due
		time.Sleep(15 * time.Second)
		release <- struct{}{}
		time.Sleep(time.Minute)
		synctest.Wait()
		var alarms []edgews.ObjectObservation
		for _, e := range seen.objects {
			if e.Event == edgews.EventAlarm {
				alarms = append(alarms, e)
				assert.Equal(t, edgews.TriggerAlarm, e.Trigger)
				assert.Equal(t, time.Second, e.Duration)
			}
			assert.False(t, e.Event == edgews.EventHandled && e.Trigger == edgews.TriggerAlarm, "an alarm is no EventHandled")
		}
		require.Len(t, alarms, 2)
		assert.Equal(t, 5*time.Second, alarms[0].Late)
		assert.ErrorIs(t, alarms[0].Err, fails)
		assert.NoError(t, alarms[1].Err)
		assert.Zero(t, alarms[1].Late, "the time of the second attempt is when it is due")
	})
}
