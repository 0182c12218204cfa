package edgews_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeterCountsASocket(t *testing.T) {
	m := edgews.NewMeter(nil)
	withPeer(t, edgews.Options{Meter: m}, func(t *testing.T, s *edgews.Socket, p *peer) {
		before := m.Usage()
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("hello"), ping("free"), part(text("a "), false), continuation("whole", true))
		p.expects(pong("free"))
		events.wants(message("hello"), message("a whole"))
		require.NoError(t, s.Send("good day"))
		require.NoError(t, s.SendPrepared(edgews.Prepare(edgews.Binary, []byte("1234"))))
		w, err := s.NextWriter(t.Context(), edgews.Text)
		require.NoError(t, err)
		for _, piece := range []string{"in ", "three ", "pieces"} {
			w.Write([]byte(piece))
		}
		require.NoError(t, w.Close())
		p.expects(text("good day"), binaryOf("1234"))
		p.closesAfter(4) // the pieces, and the empty final one
		events.wantsEnd(closed(1000, "bye", true))
		got := m.Usage().Sub(before)
		got.Busy, got.Connected = 0, 0
		assert.Equal(t, edgews.Usage{MessagesIn: 2, BytesIn: 12, MessagesOut: 3, BytesOut: 27}, got)
	})
	assert.EqualValues(t, 2, m.Usage().Connections, "a pipe and a TCP connection")
}

// closesAfter reads that many frames, then sends a Close.
func (p *peer) closesAfter(frames int) {
	p.t.Helper()
	for range frames {
		p.next()
	}
	p.sends(closing(1000, "bye"))
	p.expectsClose(1000)
	p.conn.Close()
}

// A meter counts uncompressed bytes, also where messages are compressed.
func TestMeterCountsWhatIsCompressed(t *testing.T) {
	server, client := edgews.NewMeter(nil), edgews.NewMeter(nil)
	bubble(t, func(t *testing.T) {
		sockets := make(chan *edgews.Socket, 1)
		_, url, httpClient := overPipe.serve(t, upgradeInto(t, sockets, edgews.Options{Meter: server}))
		c, _, err := edgews.Dial(t.Context(), url, &edgews.DialOptions{Options: edgews.Options{Meter: client}, HTTPClient: httpClient})
		require.NoError(t, err)
		s := <-sockets
		endWith(t, c)
		endWith(t, s)
		require.Contains(t, s.Extensions(), "permessage-deflate")
		long := strings.Repeat("la", 10_000)
		require.NoError(t, s.Accept())
		require.NoError(t, c.Write(t.Context(), edgews.Text, []byte(long)))
		require.NoError(t, s.Send(long))
		m, err := c.Receive(t.Context())
		require.NoError(t, err)
		require.Len(t, m.Data, len(long))
		synctest.Wait()
		assert.Equal(t, edgews.Usage{Connections: 1, MessagesIn: 1, BytesIn: 20_000, MessagesOut: 1, BytesOut: 20_000}, server.Usage())
		assert.Equal(t, edgews.Usage{MessagesIn: 1, BytesIn: 20_000, MessagesOut: 1, BytesOut: 20_000}, client.Usage(), "a dialed socket is not a connection that a peer opened")
	})
}

// A message that is read in pieces, and one that is refused.
func TestMeterCountsPieces(t *testing.T) {
	m := edgews.NewMeter(nil)
	overAPipe(t, edgews.Options{Meter: m, RateLimit: edgews.RateLimit{Messages: 1}}, func(t *testing.T, s *edgews.Socket, p *peer) {
		const size = 300_000
		go p.writesAll(p.encode(aFrame{bits: fin, opcode: 2, payload: strings.Repeat("x", size), length: []byte{127, 0, 0, 0, 0, 0, 4, 0x93, 0xe0}}))
		_, r, err := s.NextReader(t.Context())
		require.NoError(t, err)
		n := 0
		for buf := make([]byte, 1000); err == nil; {
			var got int
			got, err = r.Read(buf)
			n += got
		}
		require.Equal(t, size, n)
		p.sends(text("too fast"))
		_, err = s.Receive(t.Context())
		require.ErrorIs(t, err, edgews.ErrRateLimited)
		u := m.Usage()
		assert.EqualValues(t, 1, u.MessagesIn)
		assert.EqualValues(t, size, u.BytesIn)
		assert.Zero(t, u.MessagesOut, "a Close is not a message")
	})
}

// MessageUnitsIn and MessageUnitsOut are compared with a naive count, over messages that are whole or in pieces.
func TestMeterCountsMessageUnits(t *testing.T) {
	const unit = 1000
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := edgews.NewMeter(&edgews.MeterOptions{MessageUnit: unit})
		overAPipe(t, edgews.Options{Meter: m, KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
			ctx := t.Context()
			var in, out int64
			units := func(size int) int64 { return int64(max(1, math.Ceil(float64(size)/unit))) }
			size := func() int { return []int{0, 1, unit - 1, unit, unit + 1, 2 * unit, r.IntN(5 * unit)}[r.IntN(7)] }
			p.ignores()
			for range 100 {
				first, second := size(), size()
				switch r.IntN(5) {
				case 0:
					in += units(first)
					go p.writesAll(p.encode(text(strings.Repeat("x", first))))
					_, err := s.Receive(ctx)
					require.NoError(t, err)
				case 1: // in two frames
					in += units(first + second)
					go p.writesAll(p.encode(aFrame{opcode: 1, payload: strings.Repeat("x", first)}, aFrame{bits: fin, payload: strings.Repeat("x", second)}))
					_, err := s.Receive(ctx)
					require.NoError(t, err)
				case 2: // read in pieces
					const large = 300_000
					in += large / unit
					go p.writesAll(p.encode(aFrame{bits: fin, opcode: 2, payload: strings.Repeat("x", large), length: []byte{127, 0, 0, 0, 0, 0, 4, 0x93, 0xe0}}))
					_, from, err := s.NextReader(ctx)
					require.NoError(t, err)
					n, err := io.Copy(io.Discard, from)
					require.NoError(t, err)
					require.EqualValues(t, large, n)
				case 3:
					out += units(first)
					require.NoError(t, s.Write(ctx, edgews.Text, make([]byte, first)))
				case 4: // written in pieces, while another message is sent
					out += units(first+second) + units(second)
					w, err := s.NextWriter(ctx, edgews.Binary)
					require.NoError(t, err)
					_, err = w.Write(make([]byte, first))
					require.NoError(t, err)
					require.NoError(t, s.SendBytes(make([]byte, second)))
					_, err = w.Write(make([]byte, second))
					require.NoError(t, err)
					require.NoError(t, w.Close())
				}
				synctest.Wait()
				require.Equal(t, in, m.Usage().MessageUnitsIn)
				require.Equal(t, out, m.Usage().MessageUnitsOut)
			}
		})
	}
}

// An object's sockets count message units too: of a pair, and of auto-responses none.
func TestMeterCountsMessageUnitsOfObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{MessageUnit: 4, Logger: quiet})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}}, func(o *room) {
			o.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
				return s.Send("12345678" + string(m.Data))
			}
		})
		id := n.NewUniqueID()
		client, _, events := n.joins(id)
		require.NoError(t, client.Send("12345"))
		events.wants(message("1234567812345"))
		require.NoError(t, client.Send(""))
		events.wants(message("12345678"))
		assert.EqualValues(t, 2+1, m.Usage().MessageUnitsIn)
		assert.EqualValues(t, 4+2, m.Usage().MessageUnitsOut)
	})
}

func TestMeterTimesConnections(t *testing.T) {
	m := edgews.NewMeter(nil)
	overAPipe(t, edgews.Options{Meter: m}, func(t *testing.T, s *edgews.Socket, p *peer) {
		go p.answersPings()
		s.OnMessage(func(edgews.MessageEvent) { time.Sleep(2 * time.Second) })
		s.OnClose(func(edgews.CloseEvent) { time.Sleep(3 * time.Second) })
		require.NoError(t, s.Accept())
		time.Sleep(time.Hour)
		assert.Equal(t, time.Hour, m.Usage().Connected, "the running time counts")
		p.sends(text("work"))
		time.Sleep(time.Second)
		assert.Equal(t, time.Second, m.Usage().Busy, "the running handler counts")
		time.Sleep(time.Minute)
		assert.Equal(t, 2*time.Second, m.Usage().Busy)
		require.NoError(t, s.Close(1000, ""))
		time.Sleep(time.Minute)
		assert.Equal(t, time.Hour+time.Minute+time.Second, m.Usage().Connected)
		assert.Equal(t, 5*time.Second, m.Usage().Busy)
	})
}

// answersPings answers pings and the Close, then closes the connection.
func (p *peer) answersPings() {
	for {
		p.conn.SetReadDeadline(time.Time{})
		f, err := readFrame(p.r)
		p.conn.SetWriteDeadline(time.Time{})
		if err != nil {
			return
		}
		switch f.opcode {
		case 9:
			p.conn.Write(p.encode(pong(f.payload)))
		case 8:
			p.conn.Write(p.encode(f))
			p.conn.Close()
			return
		}
	}
}

// Messages sent after the peer's Close count; the time after it does not.
func TestMeterCountsHalfOpenSockets(t *testing.T) {
	m := edgews.NewMeter(nil)
	overAPipe(t, edgews.Options{Meter: m}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.AcceptHalfOpen())
		p.sends(closing(1000, ""))
		waitDone(t, s)
		before := m.Usage()
		time.Sleep(time.Second)
		require.NoError(t, s.Send("late"))
		require.NoError(t, s.Close(1000, ""))
		p.expects(text("late"))
		p.conn.Close()
		synctest.Wait()
		assert.Equal(t, edgews.Usage{MessagesOut: 1, BytesOut: 4}, m.Usage().Sub(before))
	})
}

func TestMeterCountsAPairWithRespond(t *testing.T) {
	m := edgews.NewMeter(nil)
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		require.NoError(t, server.Accept())
		require.NoError(t, server.Send("welcome"))
		assert.Zero(t, m.Usage())
		dial, _, _ := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, edgews.Respond(w, r, client, &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}}))
		})
		c := dialRaw(t, dial)
		c.expects(text("welcome"))
		c.sends(text("thanks"))
		synctest.Wait()
		assert.Equal(t, edgews.Usage{Connections: 1, MessagesIn: 1, BytesIn: 6, MessagesOut: 1, BytesOut: 7}, m.Usage())
		endWith(t, server, c.conn)
	})
}

func TestTenants(t *testing.T) {
	m := edgews.NewMeter(nil)
	assert.Same(t, m, m.Tenant(""))
	acme := m.Tenant("acme")
	assert.Same(t, acme, m.Tenant("acme"))
	assert.NotSame(t, acme.Tenant("eu"), m.Tenant("eu"))
	bubble(t, func(t *testing.T) {
		for _, to := range []*edgews.Meter{acme, acme.Tenant("eu"), m.Tenant("zebra"), m, nil} {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: to})
			require.NoError(t, s.Accept())
			p.sends(text("x"))
		}
		synctest.Wait()
		var names []string
		var counts []int64
		for name, u := range m.Tenants() {
			names, counts = append(names, name), append(counts, u.MessagesIn)
		}
		assert.Equal(t, []string{"acme", "eu", "zebra"}, names)
		assert.Equal(t, []int64{2, 0, 1}, counts)
		assert.EqualValues(t, 4, m.Usage().MessagesIn)
		assert.EqualValues(t, 4, m.Usage().Connections)
		assert.EqualValues(t, 1, acme.Tenant("eu").Usage().MessagesIn)
	})
}

func TestNoMeter(t *testing.T) {
	var m *edgews.Meter
	assert.Nil(t, m.Tenant("acme"))
	assert.Zero(t, m.Usage())
	assert.NoError(t, m.Flush(t.Context()))
	for range m.Tenants() {
		t.Error("nobody")
	}
}

// inMeteredRooms is inRooms with a meter.
func inMeteredRooms(t *testing.T, design func(*room), f func(t *testing.T, n *rooms, m *edgews.Meter)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		f(t, newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}}, design), m)
	})
}

// Overlapping requests are active time once, and so is the time that a request waits for another.
func TestActiveIsAUnion(t *testing.T) {
	work := func(r *room) {
		r.serve = func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) }
	}
	inMeteredRooms(t, work, func(t *testing.T, n *rooms, m *edgews.Meter) {
		id := n.NewUniqueID()
		for range 3 {
			go n.get(id)
		}
		go n.get(n.NewUniqueID())
		time.Sleep(5 * time.Second)
		assert.Equal(t, 10*time.Second, m.Usage().Active, "two objects are active")
		assert.Zero(t, m.Usage().HTTPRequests, "no request has been answered yet")
		time.Sleep(time.Hour)
		want := edgews.Usage{HTTPRequests: 4, Active: 40 * time.Second, Busy: 40 * time.Second}
		assert.Equal(t, want, m.Usage())

		n.wake(id).WaitUntil(func(context.Context) { time.Sleep(time.Minute) })
		time.Sleep(20 * time.Second) // 10 s of the request had passed before
		go n.get(id)
		time.Sleep(time.Hour)
		want.HTTPRequests, want.Active, want.Busy = 6, want.Active+10*time.Second+time.Minute, want.Busy+20*time.Second
		assert.Equal(t, want, m.Usage())
	})
}

func TestIdleObjectsAreFree(t *testing.T) {
	work := func(r *room) {
		r.message = func(context.Context, *edgews.Socket, edgews.Message) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		r.st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
	}
	inMeteredRooms(t, work, func(t *testing.T, n *rooms, m *edgews.Meter) {
		id := n.NewUniqueID()
		client, _, events := n.joins(id)
		for range 60 {
			time.Sleep(time.Minute)
			require.NoError(t, client.Send("tick"))
			require.NoError(t, client.Send("ping"))
			events.wants(message("pong"))
		}
		time.Sleep(time.Hour)
		assert.Equal(t, edgews.Usage{
			HTTPRequests: 1, MessagesIn: 60, BytesIn: 240, AutoResponses: 60,
			Active: 600 * time.Millisecond, Busy: 600 * time.Millisecond,
		}, m.Usage())
	})
}

// An object is active for as long as a socket that it accepted with Accept is connected, with or without messages.
func TestAcceptedSocketsBill(t *testing.T) {
	take := func(r *room) {
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			s, err := edgews.Upgrade(w, req, nil)
			if err == nil {
				s.Accept()
			}
		}
	}
	inMeteredRooms(t, take, func(t *testing.T, n *rooms, m *edgews.Meter) {
		dial, _, _ := overPipe.serve(t, n.Get(n.NewUniqueID()).ServeHTTP)
		first, second := dialRaw(t, dial), dialRaw(t, dial)
		go first.answersPings()
		go second.answersPings()
		time.Sleep(time.Hour)
		assert.Equal(t, edgews.Usage{Connections: 2, Active: time.Hour, Connected: 2 * time.Hour}, m.Usage())
		first.sends(closing(1000, ""))
		time.Sleep(time.Minute)
		second.sends(closing(1000, ""))
		time.Sleep(time.Hour)
		assert.Equal(t, edgews.Usage{Connections: 2, Active: time.Hour + time.Minute, Connected: 2*time.Hour + time.Minute}, m.Usage())
	})
}

// Sockets of an object count in the object's meter.
func TestObjectsHaveTenants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m, other := edgews.NewMeter(nil), edgews.NewMeter(nil)
		var n *rooms
		n = newRooms(t, &edgews.NamespaceOptions{
			Options: edgews.Options{Meter: m},
			Tenant: func(id edgews.ID) string {
				if id == n.IDFromName("lobby") {
					return ""
				}
				return "acme"
			},
		}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				client, server := edgews.NewPair()
				r.st.AcceptWebSocket(server)
				server.Send("welcome")
				edgews.Respond(w, req, client, &edgews.UpgradeOptions{Options: edgews.Options{Meter: other}})
			}
			r.message = func(_ context.Context, s *edgews.Socket, _ edgews.Message) error {
				r.st.Broadcast(edgews.Prepare(edgews.Text, []byte("hi")))
				return nil
			}
		})
		var peers []*peer
		for _, id := range []edgews.ID{n.NewUniqueID(), n.IDFromName("lobby"), n.IDFromName("lobby")} {
			dial, _, _ := overPipe.serve(t, n.Get(id).ServeHTTP)
			p := dialRaw(t, dial)
			p.expects(text("welcome"))
			peers = append(peers, p)
		}
		for _, p := range peers {
			go p.ignores()
			p.sends(text("x"))
		}
		synctest.Wait()
		acme := edgews.Usage{Connections: 1, MessagesIn: 1, BytesIn: 1, MessagesOut: 2, BytesOut: 9}
		lobby := edgews.Usage{Connections: 2, MessagesIn: 2, BytesIn: 2, MessagesOut: 6, BytesOut: 22}
		assert.Equal(t, acme, m.Tenant("acme").Usage())
		assert.Equal(t, acme.Add(lobby), m.Usage())
		assert.Zero(t, other.Usage(), "the object's meter takes precedence")
	})
}

// A socket that was upgraded outside the object counts from its acceptance by the object, unless a meter counts it already.
func TestObjectAcceptsWhatOthersUpgraded(t *testing.T) {
	inMeteredRooms(t, nil, func(t *testing.T, n *rooms, m *edgews.Meter) {
		other := edgews.NewMeter(nil)
		st := n.wake(n.NewUniqueID())
		before := m.Usage()
		for _, to := range []*edgews.Meter{nil, other} {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: to})
			require.NoError(t, st.AcceptWebSocket(s))
			p.sends(text("x"))
		}
		synctest.Wait()
		want := edgews.Usage{Connections: 1, MessagesIn: 1, BytesIn: 1}
		assert.Equal(t, want, m.Usage().Sub(before))
		assert.Equal(t, want, other.Usage())
	})
}

// dialRaw returns a raw client after the handshake.
func dialRaw(t testing.TB, dial func() net.Conn) *peer {
	t.Helper()
	conn := dial()
	p := &peer{t, conn, bufio.NewReader(conn), true}
	p.upgrades()
	return p
}

// A listener that panics, or calls Goexit, has returned as far as Busy is concerned.
func TestMeterAfterAPanic(t *testing.T) {
	for name, breakOff := range map[string]func(){"panic": func() { panic("oh") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			m := edgews.NewMeter(nil)
			overAPipe(t, edgews.Options{Meter: m, Logger: quiet}, func(t *testing.T, s *edgews.Socket, p *peer) {
				s.OnMessage(func(edgews.MessageEvent) { time.Sleep(time.Second); breakOff() })
				require.NoError(t, s.Accept())
				p.sends(text("x"))
				p.expectsClose(1011)
				time.Sleep(time.Hour)
				assert.Equal(t, edgews.Usage{Connections: 1, MessagesIn: 1, BytesIn: 1, Connected: time.Second, Busy: time.Second}, m.Usage())
			})
		})
	}
}

// A negative interval means the default one.
func TestNegativeInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var j recordLog
		m := edgews.NewMeter(&edgews.MeterOptions{Record: j.add, Interval: -time.Second})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
		require.NoError(t, s.Accept())
		time.Sleep(150 * time.Second)
		p.hangsUp()
		synctest.Wait()
		assert.Len(t, j.all(), 1+2+1, "opened, each minute, closed")
	})
}

// New tenants beyond the bound share one, and the log says so once. Existing tenants are not affected.
func TestMaxTenants(t *testing.T) {
	var log lockedBuffer
	m := edgews.NewMeter(&edgews.MeterOptions{MaxTenants: 3, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	a := m.Tenant("a")
	child := a.Tenant("child")
	b := m.Tenant("b")
	others := m.Tenant("new")
	assert.Same(t, others, m.Tenant(edgews.OverflowTenant))
	for n := range 1000 {
		assert.Same(t, others, m.Tenant(fmt.Sprint("new ", n)))
	}
	assert.NotSame(t, m, others, "a quota of a new tenant is not one of the meter")
	assert.NotSame(t, a, m.Tenant("new").Tenant("a"), "a tenant of a new tenant is not one of the meter")
	assert.Same(t, others, others.Tenant("a"), "it has no tenants of its own")
	assert.NotSame(t, others, a.Tenant("another"), "its parent is a")
	assert.Same(t, a.Tenant("yet another"), a.Tenant("another"))
	assert.Same(t, child, a.Tenant("child"))
	assert.Same(t, a, m.Tenant("a"))
	assert.Same(t, b, m.Tenant("b"))
	var names []string
	for name := range m.Tenants() {
		names = append(names, name)
	}
	assert.Equal(t, []string{edgews.OverflowTenant, "a", "b"}, names)
	eventually(t, func() bool { return strings.Count(log.String(), "too many tenants") == 1 }, "a warning")
	assert.Contains(t, log.String(), "limit=3")

	unbounded := edgews.NewMeter(&edgews.MeterOptions{MaxTenants: -1})
	assert.NotSame(t, unbounded.Tenant("x"), unbounded.Tenant("y"))
}

// A service gives each customer the quota of the free plan. Customers beyond the bound share one quota; the others are not
// affected.
func TestQuotaBeyondMaxTenants(t *testing.T) {
	m := edgews.NewMeter(&edgews.MeterOptions{MaxTenants: 1, Logger: quiet})
	free := edgews.Plan{Name: "one", Requests: edgews.Rate{Included: 1}}
	status := func(customer string) int {
		to := m.Tenant(customer)
		if customer != "acme" { // a paying customer
			to.SetQuota(free)
		}
		n := edgews.NewNamespace("rooms", func(context.Context, *edgews.State) (edgews.Object, error) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil
		}, &edgews.NamespaceOptions{Options: edgews.Options{Meter: to}})
		defer n.Shutdown(t.Context())
		answer := httptest.NewRecorder()
		n.Get(n.IDFromName("lobby")).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		return answer.Code
	}
	assert.Equal(t, http.StatusOK, status("acme"))
	assert.Equal(t, http.StatusOK, status("zebra"))
	assert.Equal(t, http.StatusTooManyRequests, status("yak"), "the only request of the shared quota is used up")
	assert.Equal(t, http.StatusOK, status("acme"), "acme has no quota")
	assert.EqualValues(t, 1, m.Tenant(edgews.OverflowTenant).Usage().HTTPRequests)
	assert.EqualValues(t, 3, m.Usage().HTTPRequests)
}

// A later run with a lower bound keeps the tenants that are in the ledger.
func TestMaxTenantsAndTheLedger(t *testing.T) {
	store := edgews.NewMemoryStore()
	use := func(t *testing.T, m *edgews.Meter, names ...string) {
		for _, name := range names {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant(name)})
			require.NoError(t, s.Accept())
			p.sends(text("x"))
			synctest.Wait()
		}
	}
	bubble(t, func(t *testing.T) {
		first := edgews.NewMeter(&edgews.MeterOptions{Store: store, MaxTenants: 3, Logger: quiet})
		use(t, first, "a", "b", "c", "d", "e")
		require.NoError(t, first.Flush(t.Context()))

		second := edgews.NewMeter(&edgews.MeterOptions{Store: store, MaxTenants: 1, Logger: quiet})
		use(t, second, "b") // before the ledger has been read
		_, err := second.Total(t.Context())
		require.NoError(t, err)
		use(t, second, "a", "c", "f")
		got := map[string]int64{}
		for name := range second.Tenants() {
			u, err := second.Tenant(name).Total(t.Context())
			require.NoError(t, err)
			got[name] = u.MessagesIn
		}
		assert.Equal(t, map[string]int64{"a": 2, "b": 2, "c": 2, edgews.OverflowTenant: 3}, got)
		total, err := second.Total(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 9, total.MessagesIn)
		require.NoError(t, second.Flush(t.Context()))
	})
}
