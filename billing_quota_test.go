package edgews_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Time in a bubble begins at midnight, 1 January 2000, UTC.

// requestUpgrade sends an upgrade request, and returns the answer.
func requestUpgrade(t testing.TB, handler http.HandlerFunc) *http.Response {
	t.Helper()
	dial, _, _ := overPipe.serve(t, handler)
	conn := dial()
	p := &peer{t, conn, bufio.NewReader(conn), true}
	p.sendsBytes([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n\r\n"))
	p.conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(p.r, nil)
	require.NoError(t, err)
	p.ignores()
	synctest.Wait() // the handler has returned
	return resp
}

func TestQuotaRefusesUpgrades(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.Tenant("free").SetQuota(edgews.Plan{Name: "three", Requests: edgews.Rate{Included: 3}})
		var refused error
		upgrade := func(to *edgews.Meter) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: to}})
				if refused = err; err == nil {
					s.Accept()
				}
			}
		}
		for range 3 {
			assert.Equal(t, http.StatusSwitchingProtocols, requestUpgrade(t, upgrade(m.Tenant("free").Tenant("child"))).StatusCode)
		}
		time.Sleep(6 * time.Hour)
		resp := requestUpgrade(t, upgrade(m.Tenant("free")))
		assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		var e *edgews.HandshakeError
		require.ErrorAs(t, refused, &e)
		assert.Equal(t, http.StatusTooManyRequests, e.StatusCode)
		assert.ErrorIs(t, refused, edgews.ErrQuota)
		assert.ErrorContains(t, refused, `requests: 4 of 3 requests, plan "three"`)
		assert.Equal(t, http.StatusSwitchingProtocols, requestUpgrade(t, upgrade(m)).StatusCode, "the quota is another tenant's")

		time.Sleep(18*time.Hour - time.Second)
		require.Error(t, tryUpgrade(m.Tenant("free")))
		time.Sleep(2 * time.Second)
		assert.Equal(t, http.StatusSwitchingProtocols, requestUpgrade(t, upgrade(m.Tenant("free"))).StatusCode, "a new day has begun")
		m.Tenant("free").SetQuota(edgews.Plan{})
		for range 5 {
			assert.Equal(t, http.StatusSwitchingProtocols, requestUpgrade(t, upgrade(m.Tenant("free"))).StatusCode, "the quota has been removed")
		}
	})
}

// tryUpgrade upgrades a request whose connection cannot be taken over: a quota is the first thing that can refuse it.
func tryUpgrade(m *edgews.Meter) error {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {aKey}}
	_, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}})
	if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "1" {
		return nil // a second before midnight
	}
	return err
}

func TestQuotaClosesSockets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 12}, MessagesPerRequest: 20})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("acme"), KeepAlive: -1})
		idle, _ := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
		events, others := record(t, s), record(t, idle)
		acceptBoth(t, s, idle)
		tick := p.encode(text("x"))
		for range 199 { // together with two connections, all but one of the requests
			p.writesAll(tick)
			events.wants(message("x"))
		}
		time.Sleep(time.Hour + time.Second) // a second after a periodic flush
		assert.Equal(t, edgews.Open, s.ReadyState())
		p.ignores()
		p.writesAll(tick)
		events.wants(message("x")) // the last one within the quota
		p.writesAll(tick)
		time.Sleep(time.Second)
		wanted := closed(1008, "daily quota exceeded", false)
		events.wantsEnd(failed("quota exceeded: requests: 13 of 12 requests"), wanted)
		others.wantsEnd(failed("quota exceeded"), wanted)
		_, _, err := edgews.Dial(t.Context(), "ws://nowhere.test", &edgews.DialOptions{Options: edgews.Options{Meter: m}})
		assert.ErrorIs(t, err, edgews.ErrQuota)
	})
}

// An object uses up its duration.
func TestQuotaOfObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		free := edgews.FreeDaily
		free.Duration.Included = 13 // GB-s: about a hundred seconds
		m.Tenant("free").SetQuota(free)
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Tenant: func(edgews.ID) string { return "free" }}, nil)
		id := n.NewUniqueID()
		client, _, events := n.joins(id)
		_ = client
		n.wake(id).WaitUntil(func(context.Context) { time.Sleep(100 * time.Second) })
		time.Sleep(2 * time.Minute)
		assert.Equal(t, http.StatusOK, n.get(id).Code)
		n.wake(id).WaitUntil(func(context.Context) { time.Sleep(100 * time.Second) })
		time.Sleep(2 * time.Minute)
		w := n.get(id)
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Equal(t, "86160", w.Header().Get("Retry-After"))
		assert.Contains(t, w.Body.String(), "daily quota")
		events.wantsEnd(closed(1008, "daily quota exceeded", true))
		before := m.Usage()
		resp := requestUpgrade(t, n.Get(id).ServeHTTP)
		assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		assert.Equal(t, before, m.Usage(), "refused requests are free")
		time.Sleep(24 * time.Hour)
		assert.Equal(t, http.StatusOK, n.get(id).Code)
	})
}

// programOfFour returns a program whose quota is four requests a day. Each run makes three requests, and returns how many were
// admitted.
func programOfFour(t *testing.T, tenant func(edgews.ID) string) (run func() (admitted int)) {
	store := edgews.NewMemoryStore()
	return func() (admitted int) {
		m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 4}})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Tenant: tenant}, nil)
		for range 3 {
			if n.get(n.NewUniqueID()).Code == http.StatusOK {
				admitted++
			}
		}
		require.NoError(t, n.Shutdown(t.Context()))
		synctest.Wait()
		return admitted
	}
}

// With a ledger the usage of the day survives a restart. A new day starts afresh.
func TestQuotaSurvives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		run := programOfFour(t, nil)
		assert.Equal(t, 3, run())
		assert.Equal(t, 1, run())
		assert.Equal(t, 0, run())
		time.Sleep(25 * time.Hour)
		assert.Equal(t, 3, run())
		assert.Equal(t, 1, run())
	})
}

// With a quota of the root meter, under which only tenants use anything, usage from before a restart counts.
func TestQuotaOfAllSurvives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		run := programOfFour(t, func(edgews.ID) string { return "acme" })
		time.Sleep(time.Hour)
		assert.Equal(t, 3, run())
		assert.Equal(t, 1, run())
		time.Sleep(24 * time.Hour)
		assert.Equal(t, 3, run())
		time.Sleep(time.Hour)
		assert.Equal(t, 1, run())
	})
}

// A request counts against the quota while it runs, however long it takes.
func TestQuotaCountsWhatIsUnderway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 3}})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m.Tenant("acme")}}, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }
		})
		var served, refused atomic.Int32
		for range 10 {
			go func() {
				if n.get(n.NewUniqueID()).Code == http.StatusOK {
					served.Add(1)
				} else {
					refused.Add(1)
				}
			}()
			time.Sleep(2 * time.Second) // until the quota has been refreshed
		}
		time.Sleep(2 * time.Minute)
		assert.EqualValues(t, 3, served.Load())
		assert.EqualValues(t, 7, refused.Load())
		assert.EqualValues(t, 3, m.Usage().HTTPRequests)
	})
}

// A failed upgrade does not count against the quota.
func TestQuotaForgetsWhatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		time.Sleep(24*time.Hour - time.Second) // the time of tryUpgrade
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 1}})
		for range 3 {
			require.NotErrorIs(t, tryUpgrade(m), edgews.ErrQuota) // it fails later, since a ResponseRecorder cannot be taken over
		}
		assert.Equal(t, http.StatusSwitchingProtocols, requestUpgrade(t, func(w http.ResponseWriter, r *http.Request) {
			if s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: m}}); err == nil {
				s.Accept()
			}
		}).StatusCode)
		require.ErrorIs(t, tryUpgrade(m), edgews.ErrQuota)
	})
}

// Many connections carry no more than one, except for a few messages each.
func TestQuotaSetOverOpenConnections(t *testing.T) {
	const connections, each, quota = 5, 400, 50
	for _, where := range []network{overPipe, overTCP} {
		for name, plan := range map[string]edgews.Plan{
			"messages in": {MessagesIn: edgews.Rate{Included: quota}},
			"all":         {Messages: edgews.Rate{Included: 2 * quota}},
			"bytes in":    {BytesIn: edgews.Rate{Included: quota * 3000}},
		} {
			t.Run(name, func(t *testing.T) {
				where.run(t, func(t *testing.T, where network) {
					m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
					var sockets []*edgews.Socket
					var floods []func()
					var done sync.WaitGroup
					for n := range connections {
						s, p := where.serverAndPeer(t, edgews.Options{Meter: m.Tenant(fmt.Sprint(n)), KeepAlive: -1, Logger: quiet})
						s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data[:1]) })
						require.NoError(t, s.Accept())
						sockets = append(sockets, s)
						p.ignores()
						var all []byte
						for range each {
							all = append(all, p.encode(binaryOf(strings.Repeat("x", 3000)))...)
						}
						floods = append(floods, func() { p.writesAll(all) })
					}
					m.SetQuota(plan)
					for _, flood := range floods {
						done.Go(flood)
					}
					for _, s := range sockets {
						waitDone(t, s)
					}
					done.Wait()
					used := m.Usage()
					assert.GreaterOrEqual(t, used.MessagesIn, int64(quota))
					assert.LessOrEqual(t, used.MessagesIn, int64(quota+10*connections))
				})
			})
		}
	}
}

// Sent messages count like received ones.
func TestQuotaOfWhatIsSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Interval: time.Hour})
		m.SetQuota(edgews.Plan{BytesOut: edgews.Rate{Included: 150}})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.ignores()
		for range 151 {
			require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("x")))
		}
		assert.ErrorIs(t, s.Write(t.Context(), edgews.Text, []byte("x")), edgews.ErrClosed)
		time.Sleep(time.Second)
		assert.EqualValues(t, 151, m.Usage().MessagesOut)
		events.wantsEnd(failed("quota exceeded: traffic out"), closed(1008, "daily quota exceeded", false))
	})
}

// Several connections of several tenants send as fast as they can. As many messages are delivered as the quota allows; about one
// more for each connection is counted.
func TestQuotaOfManyConnections(t *testing.T) {
	const conns, each = 5, 400
	for _, bound := range []int64{1, 50, 700, 1500} {
		for name, plan := range map[string]edgews.Plan{
			"messages": {MessagesIn: edgews.Rate{Included: bound}},
			"bytes":    {BytesIn: edgews.Rate{Included: bound}},
			"requests": {Requests: edgews.Rate{Included: conns + bound}, MessagesPerRequest: 1},
			"minutes":  {MinuteBytes: edgews.Rate{Included: bound}},
		} {
			t.Run(fmt.Sprint(name, bound), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, MinuteFloor: 1})
					m.Tenant("acme").SetQuota(plan)
					var delivered atomic.Int64
					var sockets []*edgews.Socket
					var peers []*peer
					for i := range conns {
						s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("acme").Tenant(fmt.Sprint(i)), KeepAlive: -1})
						s.OnMessage(func(edgews.MessageEvent) { delivered.Add(1) })
						require.NoError(t, s.Accept())
						sockets, peers = append(sockets, s), append(peers, p)
						go io.Copy(io.Discard, p.conn)
					}
					flood := bytes.Repeat(peers[0].encode(text("x")), each)
					for _, p := range peers {
						go p.conn.Write(flood)
					}
					time.Sleep(time.Second)
					for _, s := range sockets {
						assert.NotEqual(t, edgews.Open, s.ReadyState())
					}
					little := min(64, bound/(4*conns)) * conns // if the system stops a goroutine while it counts; nearly always it is 0
					assert.LessOrEqual(t, delivered.Load(), bound+little)
					assert.GreaterOrEqual(t, delivered.Load(), bound-conns, "no less than the quota allows")
					assert.LessOrEqual(t, m.Usage().MessagesIn, bound+little+conns)
					_, _, err := edgews.Dial(t.Context(), "ws://nowhere.test", &edgews.DialOptions{Options: edgews.Options{Meter: m.Tenant("acme")}})
					assert.ErrorIs(t, err, edgews.ErrQuota)
				})
			})
		}
	}
}

// Messages that silent connections have counted, and not booked, are booked before the bound is reached.
func TestQuotaOfSilentConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Interval: time.Hour})
		m.SetQuota(edgews.Plan{MessagesIn: edgews.Rate{Included: 1000}})
		var delivered atomic.Int64
		var peers []*peer
		for range 5 {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
			s.OnMessage(func(edgews.MessageEvent) { delivered.Add(1) })
			require.NoError(t, s.Accept())
			peers = append(peers, p)
		}
		for _, p := range peers[1:] {
			for range 60 {
				p.sends(text("x"))
			}
		}
		for range 1000 - 4*60 {
			peers[0].sends(text("x"))
			synctest.Wait()
		}
		assert.EqualValues(t, 1000, delivered.Load())
		for _, p := range peers {
			p.ignores()
			p.writesAll(p.encode(text("x")))
		}
		time.Sleep(time.Second)
		assert.EqualValues(t, 1000, delivered.Load())
	})
}

// Messages that an object receives, and that it broadcasts.
func TestQuotaOfObjectsMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.SetQuota(edgews.Plan{MessagesIn: edgews.Rate{Included: 30}})
		var got atomic.Int64
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, Logger: quiet}}, func(r *room) {
			r.message = func(context.Context, *edgews.Socket, edgews.Message) error { got.Add(1); return nil }
		})
		id := n.NewUniqueID()
		var clients []*edgews.Socket
		for range 5 {
			client, _, _ := n.joins(id)
			clients = append(clients, client)
		}
		for range 400 {
			for _, c := range clients {
				_ = c.Send("x")
			}
		}
		time.Sleep(time.Second)
		assert.EqualValues(t, 30, got.Load())
		assert.LessOrEqual(t, m.Usage().MessagesIn, int64(35))
	})
}

// The clock is set back across midnight, or had been years ahead.
func TestQuotaDayWhenTheClockIsSet(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]bool{1: true, 5: true, 0: false, -1: false, -2: true, -4000: true} {
		assert.Equal(t, want, edgews.IsNewDay(day, day.AddDate(0, 0, days)), days)
	}
}

// A day ends while a connection is open: what was used before midnight does not count after it.
func TestQuotaAtMidnight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		const daily = 24 * 3600
		m.SetQuota(edgews.Plan{ConnectedTime: edgews.Rate{Included: daily}, MessagesIn: edgews.Rate{Included: 10}})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("acme"), KeepAlive: -1})
		s.OnMessage(func(edgews.MessageEvent) {})
		require.NoError(t, s.Accept())
		p.ignores()
		for range 3 {
			time.Sleep(24*time.Hour - time.Second)
			for range 10 {
				p.sends(text("x"))
			}
			time.Sleep(time.Second)
			assert.Equal(t, edgews.Open, s.ReadyState(), "the quota of each day, exactly")
		}
		time.Sleep(time.Second)
		for range 11 {
			p.sends(text("x"))
		}
		time.Sleep(2 * time.Minute)
		assert.NotEqual(t, edgews.Open, s.ReadyState())
	})
}

// The ledger cannot be read when the day's first request comes. Once it can, usage of earlier days does not count for this day.
func TestQuotaWhenTheLedgerIsLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := edgews.NewMemoryStore()
		serve := func(m *edgews.Meter, requests int) (served int) {
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}}, nil)
			for range requests {
				if n.get(n.NewUniqueID()).Code == http.StatusOK {
					served++
				}
			}
			return served
		}
		m := edgews.NewMeter(&edgews.MeterOptions{Store: memory})
		require.Equal(t, 20, serve(m, 20))
		require.NoError(t, m.Flush(t.Context()))
		time.Sleep(24 * time.Hour)

		store := &crashingStore{Store: memory, commits: 100}
		store.crash()
		m = edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 4}})
		assert.Equal(t, 1, serve(m, 1))
		store.restart()
		time.Sleep(5 * time.Minute)
		assert.Equal(t, 3, serve(m, 10), "one of the four was used before")
		require.NoError(t, m.Flush(t.Context()))
		assert.EqualValues(t, 24, total(t, m).HTTPRequests)
	})
}

// A quota that has been removed, or raised, closes no more sockets.
func TestQuotaThatIsGone(t *testing.T) {
	for _, then := range []edgews.Plan{{}, {MessagesIn: edgews.Rate{Included: 1000}}} {
		bubble(t, func(t *testing.T) {
			m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
			m.SetQuota(edgews.Plan{MessagesIn: edgews.Rate{Included: 10}})
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
			s.OnMessage(func(edgews.MessageEvent) {})
			require.NoError(t, s.Accept())
			go p.ignores()
			for range 10 {
				p.sends(text("x"))
			}
			synctest.Wait() // the next message would exceed the quota
			m.SetQuota(then)
			for range 100 {
				p.sends(text("x"))
			}
			time.Sleep(time.Hour)
			assert.Equal(t, edgews.Open, s.ReadyState())
			p.hangsUp()
		})
	}
}

// Connections that have counted messages and fallen silent are looked at before requests reach the bound.
func TestQuotaOfRequestsBesideSilentConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Interval: time.Hour})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 105}, MessagesPerRequest: 10})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m.Tenant("acme")}}, nil)
		for range 5 {
			s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1})
			s.OnMessage(func(edgews.MessageEvent) {})
			require.NoError(t, s.Accept())
			p.ignores()
			for range 50 {
				p.sends(text("x"))
			}
		}
		synctest.Wait()
		served := 0
		for range 200 {
			if n.get(n.NewUniqueID()).Code == http.StatusOK {
				served++
			}
		}
		assert.Equal(t, 105-5-25, served, "besides the connections and their messages")
		assert.EqualValues(t, served, m.Usage().HTTPRequests)
	})
}

// What time uses is looked at after a second with traffic, however little, although a connection may count many messages by itself.
func TestQuotaOfTimeWithTraffic(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Millisecond, time.Second, 10 * time.Second} {
		for name, plan := range map[string]edgews.Plan{
			"connected": {ConnectedTime: edgews.Rate{Included: 300}},
			"minutes":   {MinuteBytes: edgews.Rate{Included: 5_000_000}}, // five of them
		} {
			t.Run(fmt.Sprint(name, every), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, MinuteFloor: 1_000_000, Interval: time.Hour})
					m.SetQuota(plan)
					s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m.Tenant("acme"), KeepAlive: -1})
					s.OnMessage(func(edgews.MessageEvent) {})
					begin := time.Now()
					require.NoError(t, s.Accept())
					p.ignores()
					tick := p.encode(text("x"))
					for s.ReadyState() == edgews.Open && time.Since(begin) < time.Hour {
						time.Sleep(every)
						p.writesAll(tick)
						synctest.Wait()
					}
					assert.GreaterOrEqual(t, time.Since(begin), 5*time.Minute)
					assert.LessOrEqual(t, time.Since(begin), 5*time.Minute+2*time.Second+2*every)
				})
			})
		}
	}
}

// A listener that waits for room in Write goes on when a quota ends its socket.
func TestQuotaEndsAWriteThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 2}, MessagesPerRequest: 1})
		s, p := overPipe.serverAndPeer(t, edgews.Options{Meter: m, KeepAlive: -1, WriteTimeout: -1, SendBuffer: 100})
		written := make(chan error)
		s.OnMessage(func(e edgews.MessageEvent) {
			for {
				if err := s.Write(t.Context(), edgews.Binary, make([]byte, 100)); err != nil {
					written <- err
					return
				}
			}
		})
		require.NoError(t, s.Accept())
		p.sends(text("x"))
		synctest.Wait()
		m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 1}, MessagesPerRequest: 1})
		assert.Error(t, s.Send("too much"))
		assert.ErrorIs(t, <-written, edgews.ErrClosed)
	})
}
