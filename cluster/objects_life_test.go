package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// upgradeByHand opens a WebSocket with bytes, and returns the connection behind the answer.
func upgradeByHand(t *testing.T, s *site, path string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	addr := strings.TrimPrefix(s.url, "ws://")
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tally\r\n\r\n", path, addr)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	return conn.(*net.TCPConn), r
}

// frameByHand is a text message of a client, masked with zeros.
func frameByHand(text string) []byte {
	n := len(text)
	switch {
	case n < 126:
		return append([]byte{0x81, 0x80 | byte(n), 0, 0, 0, 0}, text...)
	default:
		return append([]byte{0x81, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}, text...)
	}
}

// TestHalfClose: a client ends its side of the connection without a Close. What it has sent before is handled, and the object gets one close
// event with 1006. A request whose client has done so leaves nothing behind.
func TestHalfClose(t *testing.T) {
	p := startParlors(t)
	conn, r := upgradeByHand(t, p.edge, "/parlor?user=half")
	_, err := conn.Write(frameByHand("hello"))
	require.NoError(t, err)
	answer := make([]byte, 2+len("said hello"))
	_, err = io.ReadFull(r, answer)
	require.NoError(t, err)
	assert.Equal(t, "said hello", string(answer[2:]))
	require.NoError(t, conn.CloseWrite())
	p.wantClosed(t, "half", 1006, lostReason, false)
	_, err = io.Copy(io.Discard, r)
	assert.NoError(t, err, "the edge ends the connection")

	request, err := net.Dial("tcp", strings.TrimPrefix(p.edge.url, "ws://"))
	require.NoError(t, err)
	defer request.Close()
	require.NoError(t, request.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprint(request, "GET /parlor?refuse=418 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, request.(*net.TCPConn).CloseWrite())
	_, err = io.Copy(io.Discard, request)
	require.NoError(t, err)
	p.wantNoChannels(t)
}

// napping is an object that says how often it was constructed, and that has alarms.
type napping struct {
	tally
	constructed *atomic.Int64
}

func (o *napping) Alarm(ctx context.Context) error {
	_, err := o.count(ctx, "alarms")
	return err
}

func (o *napping) Call(ctx context.Context, method string, req json.RawMessage) (any, error) {
	if method != "alarm" {
		return o.tally.Call(ctx, method, req)
	}
	var in time.Duration
	if err := json.Unmarshal(req, &in); err != nil {
		return nil, err
	}
	return nil, o.st.Storage().SetAlarm(ctx, time.Now().Add(in))
}

// startNapping starts sites with objects that hibernate soon.
func startNapping(t *testing.T) (sites []*site, constructed *atomic.Int64) {
	constructed = new(atomic.Int64)
	sites = startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		constructed.Add(1)
		return &napping{tally{st}, constructed}, nil
	}, func(o *edgews.NamespaceOptions) { o.HibernateAfter = 20 * time.Millisecond }, "a", "b", "c")
	return sites, constructed
}

// awaitState waits until the object of a room has a state on its home.
func (s *site) awaitState(t *testing.T, room string, want edgews.ObjectState) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, ok := s.rooms.Info(s.rooms.IDFromName(room))
		return ok && info.State == want
	}, 30*time.Second, 5*time.Millisecond)
}

// TestHibernation: an object whose sockets are at another node hibernates, and its sockets stay. A message wakes it, also on another home.
func TestHibernation(t *testing.T) {
	sites, constructed := startNapping(t)
	home, others := settledHomeOf(t, sites, "lobby")
	ann, bob := others[0].dial(t, "lobby", "ann"), others[1].dial(t, "lobby", "bob")
	assert.Equal(t, "ann x 1 of 2", ask(t, ann, "x"))
	for round := range 3 {
		home.awaitState(t, "lobby", edgews.ObjectHibernated)
		before := constructed.Load()
		assert.Len(t, home.rooms.Sockets(home.rooms.IDFromName("lobby")), 2)
		assert.Equal(t, fmt.Sprintf("bob x %d of 2", round+2), ask(t, bob, "x"))
		assert.Equal(t, before+1, constructed.Load(), "the message has woken the object")
	}
	home.awaitState(t, "lobby", edgews.ObjectHibernated)
	require.NoError(t, home.Leave(t.Context()))
	home, _ = homeOf(t, others, "lobby")
	before := constructed.Load()
	assert.Len(t, home.rooms.Sockets(home.rooms.IDFromName("lobby")), 2)
	assert.Equal(t, before, constructed.Load(), "a new home does not wake the object")
	assert.Equal(t, "ann x 5 of 2", ask(t, ann, "x"))
	assert.NoError(t, bob.Write(t.Context(), edgews.Text, []byte("all")))
	assert.Equal(t, "all from bob", next(t, ann))
	assert.Equal(t, "all from bob", next(t, bob))
}

// TestAlarmAfterDeath: an alarm that is due after the death of the node that has set it goes off on the next home, once, without a request that
// wakes the object. One that was due before is not lost either; it may go off a second time if the node has died meanwhile.
func TestAlarmAfterDeath(t *testing.T) {
	for _, in := range []time.Duration{time.Millisecond, time.Second} {
		t.Run(in.String(), func(t *testing.T) {
			sites, _ := startNapping(t)
			home, others := settledHomeOf(t, sites, "lobby")
			_, err := edgews.Call[time.Duration, any](t.Context(), others[0].rooms.ByName("lobby"), "alarm", in)
			require.NoError(t, err)
			home.kill()
			home, _ = homeOf(t, others, "lobby")
			require.Eventually(t, func() bool { return home.stored(t, "lobby", "alarms") > 0 }, 30*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool {
				due, err := home.rooms.Alarms(t.Context(), time.Now().Add(time.Hour), 10)
				return assert.NoError(t, err) && len(due) == 0
			}, 30*time.Second, 5*time.Millisecond)
			home.awaitState(t, "lobby", edgews.ObjectHibernated)
			if in >= time.Second {
				assert.Equal(t, 1, home.stored(t, "lobby", "alarms"))
			} else {
				assert.LessOrEqual(t, home.stored(t, "lobby", "alarms"), 2)
			}
		})
	}
}

// stored returns a number that the object of a room has stored, without the object. s is its home.
func (s *site) stored(t *testing.T, room, key string) (n int) {
	t.Helper()
	for e, err := range s.rooms.ScanStorage(t.Context(), s.rooms.IDFromName(room), edgews.Range{Prefix: key}) {
		require.NoError(t, err)
		_, _ = fmt.Sscan(string(e.Value), &n)
	}
	return n
}

// TestNothingRunsAfterClose: when all nodes and namespaces are closed, no goroutine of them is left.
func TestNothingRunsAfterClose(t *testing.T) {
	before := goroutines()
	t.Run("load", func(t *testing.T) {
		sites := startSites(t, "a", "b", "c")
		home, others := settledHomeOf(t, sites, "lobby")
		var sockets []*edgews.Socket
		for i := range 30 {
			c := sites[i%3].dial(t, fmt.Sprint("room", i%5), fmt.Sprint(i))
			sockets = append(sockets, c)
			assert.Contains(t, ask(t, c, "x"), "x")
		}
		_, err := edgews.Call[string, int](t.Context(), others[0].rooms.ByName("lobby"), "calls", "")
		require.NoError(t, err)
		home.kill()
		for i, c := range sockets {
			if sites[i%3] != home {
				assert.Contains(t, ask(t, c, "y"), "y")
			}
		}
		for _, c := range sockets { // otherwise the clients do not answer a Close
			go func() {
				for {
					if _, err := c.Receive(context.Background()); err != nil {
						return
					}
				}
			}()
		}
		require.NoError(t, others[0].Leave(t.Context()))
		require.NoError(t, others[1].Close())
	})
	var left []string
	if !assert.Eventually(t, func() bool {
		left = nil
		for id, stack := range goroutines() {
			if before[id] == "" {
				left = append(left, stack)
			}
		}
		return len(left) == 0
	}, 30*time.Second, 10*time.Millisecond) {
		t.Log(strings.Join(left, "\n\n"))
	}
}

// goroutines returns the stacks of the goroutines that run code of the cluster, of its links or of objects, by what they begin with.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		if strings.Contains(stack, "edgews/cluster.") || strings.Contains(stack, "cluster/internal/link.") || strings.Contains(stack, "edgews.(*object)") {
			all[id] = stack
		}
	}
	return all
}
