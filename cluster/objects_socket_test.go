package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// parlor is an object whose sockets do what the clients say, and that tells of their ends.
type parlor struct {
	st   *edgews.State
	log  *parlorLog
	stop <-chan struct{} // what "stuck" waits for
}

// parlorLog is what the parlors of a test have seen.
type parlorLog struct {
	mu     sync.Mutex
	closes map[string][]edgews.CloseEvent // by the attachment of the socket
}

func (l *parlorLog) closed(user string, e edgews.CloseEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Target = nil
	l.closes[user] = append(l.closes[user], e)
}

func (l *parlorLog) of(user string) []edgews.CloseEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]edgews.CloseEvent(nil), l.closes[user]...)
}

func (o *parlor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if status, err := strconv.Atoi(q.Get("refuse")); err == nil {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "refused with "+q.Get("refuse"), status)
		return
	}
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	user := q.Get("user")
	switch q.Get("style") {
	case "listeners":
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("heard " + e.Text()) })
		s.OnClose(func(e edgews.CloseEvent) { o.log.closed(user, e) })
		s.Accept()
	case "unaccepted":
	default:
		_ = o.st.AcceptWebSocket(s, "user:"+user, "guest")
		_ = s.SetAttachment(user)
		_ = o.st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	}
}

func (o *parlor) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	verb, rest, _ := strings.Cut(m.Text(), " ")
	n, _ := strconv.Atoi(rest)
	switch verb {
	case "send":
		return s.Send(strings.Repeat("x", n))
	case "sendmany":
		for i := range n {
			if err := s.Write(ctx, edgews.Binary, bytes.Repeat([]byte{byte(i)}, 300_000)); err != nil {
				return err
			}
		}
		return nil
	case "pieces":
		w, err := s.NextWriter(ctx, edgews.Binary)
		if err != nil {
			return err
		}
		for i := range n {
			if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, 10_000)); err != nil {
				return err
			}
		}
		return w.Close()
	case "close":
		return s.Close(edgews.StatusCode(n), "as asked")
	case "ping":
		o.st.WaitUntil(func(ctx context.Context) {
			_, err := s.Ping(ctx)
			_ = s.Send(fmt.Sprint("pinged ", err))
		})
		return nil
	case "who":
		var user string
		err := s.Attachment(&user)
		tags, _ := o.st.Tags(s)
		at, ok := o.st.AutoResponseTimestamp(s)
		return s.Send(fmt.Sprintln(user, tags, len(o.st.WebSockets("guest")), err, ok && time.Since(at) < time.Minute))
	case "attach":
		_ = o.st.SetTags(s, "guest", "new")
		return s.SetAttachment(rest)
	case "stuck":
		<-o.stop
		return nil
	case "length":
		return s.Send(fmt.Sprint(len(m.Data)))
	}
	return s.Send("said " + m.Text())
}

func (o *parlor) WebSocketClose(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	var user string
	_ = s.Attachment(&user)
	o.log.closed(user, e)
	return nil
}

func (o *parlor) Call(_ context.Context, method string, _ json.RawMessage) (any, error) {
	return len(o.st.WebSockets()), nil
}

type parlors struct {
	*clerks
	log  *parlorLog
	stop chan struct{}
}

func startParlors(t *testing.T) *parlors {
	p := &parlors{clerks: &clerks{}, log: &parlorLog{closes: make(map[string][]edgews.CloseEvent)}, stop: make(chan struct{})}
	p.sites = startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &parlor{st, p.log, p.stop}, nil
	}, nil, "a", "b", "c")
	home, others := settledHomeOf(t, p.sites, "parlor")
	p.home, p.edge = home, others[0]
	return p
}

func (p *parlors) dial(t *testing.T, query string, opts *edgews.DialOptions) *edgews.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, _, err := edgews.Dial(ctx, p.edge.url+"/parlor?"+query, opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(1000, "") })
	accepted, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = s.Receive(accepted) // accepts
	return s
}

// lostReason is the reason of a socket that has ended without a Close.
const lostReason = "WebSocket disconnected without sending Close frame."

// wantClosed checks that the object gets one close event of a socket, and that the channels end.
func (p *parlors) wantClosed(t *testing.T, user string, code edgews.StatusCode, reason string, clean bool) {
	t.Helper()
	require.Eventually(t, func() bool { return len(p.log.of(user)) > 0 }, 20*time.Second, 5*time.Millisecond, user)
	p.wantNoChannels(t)
	assert.Equal(t, []edgews.CloseEvent{{Code: code, Reason: reason, WasClean: clean}}, p.log.of(user), user)
}

func (p *parlors) receive(t *testing.T, s *edgews.Socket) edgews.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := s.Receive(ctx)
	require.NoError(t, err)
	return m
}

// TestLargeMessages go through whole, in both directions.
func TestLargeMessages(t *testing.T) {
	p := startParlors(t)
	s := p.dial(t, "user=large", &edgews.DialOptions{Options: edgews.Options{MaxMessageSize: -1}})
	for _, size := range []int{1, 32 << 10, 32<<10 + 1, 1 << 20, 40 << 20} {
		require.Equal(t, size, len(ask(t, s, fmt.Sprint("send ", size))), "%d bytes", size)
	}
	for _, size := range []int{1 << 20, 20 << 20} {
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("length "+strings.Repeat("y", size))))
		assert.Equal(t, fmt.Sprint(size+7), p.receive(t, s).Text())
	}
	require.NoError(t, s.Send("pieces 100"))
	m := p.receive(t, s)
	assert.Equal(t, edgews.Binary, m.Kind)
	require.Len(t, m.Data, 1_000_000)
	for i := range 100 {
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, 10_000), m.Data[i*10_000:(i+1)*10_000])
	}
	require.NoError(t, s.Write(t.Context(), edgews.Text, make([]byte, 33<<20)))
	_, err := s.Receive(t.Context())
	require.ErrorContains(t, err, "1009")
	p.wantClosed(t, "large", 1006, lostReason, false)
}

// TestSlowClient: a client that does not receive loses nothing, and holds up nobody.
func TestSlowClient(t *testing.T) {
	p := startParlors(t)
	slow, other := p.dial(t, "user=slow", nil), p.dial(t, "user=other", nil)
	require.NoError(t, slow.Send("sendmany 20"))
	m := p.receive(t, slow)
	require.Equal(t, byte(0), m.Data[0])
	_ = other
	for i := 1; i < 20; i++ {
		m := p.receive(t, slow)
		require.Len(t, m.Data, 300_000)
		require.Equal(t, byte(i), m.Data[0])
	}
	assert.Equal(t, "said x", ask(t, other, "x"))
}

// TestCloses: a socket ends with one close event at the object, whoever ends it, and leaves nothing behind.
func TestCloses(t *testing.T) {
	p := startParlors(t)
	t.Run("client", func(t *testing.T) {
		s := p.dial(t, "user=client", nil)
		require.NoError(t, s.Close(4001, "enough"))
		<-s.Done()
		assert.ErrorContains(t, s.Err(), "4001")
		p.wantClosed(t, "client", 4001, "enough", true)
	})
	t.Run("empty", func(t *testing.T) {
		s := p.dial(t, "user=empty", nil)
		require.NoError(t, s.Close(0, ""))
		<-s.Done()
		p.wantClosed(t, "empty", 1005, "", true)
	})
	t.Run("object", func(t *testing.T) {
		s := p.dial(t, "user=object", nil)
		require.NoError(t, s.Send("close 4002"))
		_, err := s.Receive(t.Context())
		require.ErrorContains(t, err, "4002")
		p.wantClosed(t, "object", 4002, "as asked", true)
	})
	t.Run("busy", func(t *testing.T) { // messages behind the one that closes are not handled
		s := p.dial(t, "user=busy", nil)
		require.NoError(t, s.Send("close 4003"))
		for range 100 {
			_ = s.Send("x")
		}
		p.wantClosed(t, "busy", 4003, "as asked", true)
	})
	t.Run("lost", func(t *testing.T) {
		conn, err := net.Dial("tcp", p.edge.url[5:])
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET /parlor?user=lost HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, 101, resp.StatusCode)
		require.NoError(t, conn.Close())
		p.wantClosed(t, "lost", 1006, lostReason, false)
	})
	t.Run("listeners", func(t *testing.T) {
		s := p.dial(t, "user=listeners&style=listeners", nil)
		assert.Equal(t, "heard x", ask(t, s, "x"))
		require.NoError(t, s.Close(4004, ""))
		p.wantClosed(t, "listeners", 4004, "", true)
	})
	t.Run("unaccepted", func(t *testing.T) {
		s := p.dial(t, "style=unaccepted", &edgews.DialOptions{Options: edgews.Options{CloseTimeout: 100 * time.Millisecond}})
		require.NoError(t, s.Send("x"))
		require.NoError(t, s.Close(1000, ""))
		<-s.Done()
		p.wantNoChannels(t)
	})
}

// TestRefusedUpgrades: the client gets the object's answer.
func TestRefusedUpgrades(t *testing.T) {
	p := startParlors(t)
	for _, status := range []int{403, 426, 429, 503} {
		_, resp, err := edgews.Dial(t.Context(), fmt.Sprint(p.edge.url, "/parlor?refuse=", status), nil)
		require.Error(t, err)
		require.NotNil(t, resp)
		assert.Equal(t, status, resp.StatusCode)
		assert.Equal(t, "7", resp.Header.Get("Retry-After"))
		failed, ok := errors.AsType[*edgews.HandshakeError](err)
		require.True(t, ok)
		assert.Equal(t, status, failed.StatusCode)
		assert.Equal(t, fmt.Sprint("refused with ", status, "\n"), read(t, resp.Body))
	}
	p.wantNoChannels(t)
}

// TestSocketState: pings, auto-responses, tags and attachments work from another node, and go on after a move.
func TestSocketState(t *testing.T) {
	p := startParlors(t)
	s := p.dial(t, "user=anna", nil)
	plain := p.dial(t, "user=plain&style=listeners", nil)
	assert.Equal(t, "heard x", ask(t, plain, "x"))
	assert.Equal(t, "pinged <nil>", ask(t, s, "ping now")) // "ping" itself is answered by the edge
	assert.Equal(t, "anna [user:anna guest] 1 <nil> false\n", ask(t, s, "who"))
	assert.Equal(t, "pong", ask(t, s, "ping"))
	assert.Equal(t, "anna [user:anna guest] 1 <nil> true\n", ask(t, s, "who"))
	require.NoError(t, s.Send("attach berta"))
	assert.Equal(t, "berta [guest new] 1 <nil> true\n", ask(t, s, "who"))

	require.NoError(t, p.home.Leave(t.Context()))
	assert.Equal(t, "pong", ask(t, s, "ping"))
	assert.Equal(t, "berta [guest new] 1 <nil> true\n", ask(t, s, "who"))
	_, err := plain.Receive(t.Context())
	require.ErrorContains(t, err, "1012")
	require.NoError(t, s.Close(4005, ""))
	p.home, _ = homeOf(t, []*site{p.edge, p.other(p.home, p.edge)}, "parlor")
	p.wantClosed(t, "berta", 4005, "", true)
}

// other returns a site that is none of these.
func (c *clerks) other(not ...*site) *site {
	for _, s := range c.sites {
		if s != not[0] && s != not[1] {
			return s
		}
	}
	return nil
}

// TestStuckObject: an object that hangs stops its own clients only.
func TestStuckObject(t *testing.T) {
	p := startParlors(t)
	stuck := p.dial(t, "user=stuck", nil)
	require.NoError(t, stuck.Send("stuck"))
	for range 200 {
		_ = stuck.Send(strings.Repeat("z", 4<<10))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 20 {
		c, _, err := edgews.Dial(ctx, fmt.Sprint(p.edge.url, "/room", i, "?user=x"), nil)
		require.NoError(t, err)
		assert.Equal(t, "said x", ask(t, c, "x"))
		c.Close(1000, "")
	}
	close(p.stop)
	for range 200 {
		p.receive(t, stuck)
	}
}

// TestEdgeDies: the object gets one close event with 1006 of each socket of a dead edge.
func TestEdgeDies(t *testing.T) {
	p := startParlors(t)
	var users []string
	for i := range 10 {
		user := fmt.Sprint("u", i)
		users = append(users, user)
		assert.Equal(t, "said x", ask(t, p.dial(t, "user="+user, nil), "x"))
	}
	p.edge.kill()
	for _, user := range users {
		require.Eventually(t, func() bool { return len(p.log.of(user)) > 0 }, 30*time.Second, 5*time.Millisecond)
		assert.Equal(t, []edgews.CloseEvent{{Code: 1006, Reason: lostReason}}, p.log.of(user), user)
	}
	n, err := edgews.Call[string, int](t.Context(), p.home.rooms.ByName("parlor"), "count", "")
	require.NoError(t, err)
	assert.Zero(t, n)
}
