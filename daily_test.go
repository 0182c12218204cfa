package edgews_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In a bubble it is midnight, the first of January 2000.

// knocks is a request to upgrade, and the answer.
func knocks(t testing.TB, handler http.HandlerFunc) *http.Response {
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
			assert.Equal(t, http.StatusSwitchingProtocols, knocks(t, upgrade(m.Tenant("free").Tenant("child"))).StatusCode)
		}
		time.Sleep(6 * time.Hour)
		resp := knocks(t, upgrade(m.Tenant("free")))
		assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		var e *edgews.HandshakeError
		require.ErrorAs(t, refused, &e)
		assert.Equal(t, http.StatusTooManyRequests, e.StatusCode)
		assert.ErrorIs(t, refused, edgews.ErrQuota)
		assert.ErrorContains(t, refused, `requests: 4 of 3 requests, plan "three"`)
		assert.Equal(t, http.StatusSwitchingProtocols, knocks(t, upgrade(m)).StatusCode, "it is not its quota")

		time.Sleep(18*time.Hour - time.Second)
		require.Error(t, tryUpgrade(m.Tenant("free")))
		time.Sleep(2 * time.Second)
		assert.Equal(t, http.StatusSwitchingProtocols, knocks(t, upgrade(m.Tenant("free"))).StatusCode, "it is another day")
		m.Tenant("free").SetQuota(edgews.Plan{})
		for range 5 {
			assert.Equal(t, http.StatusSwitchingProtocols, knocks(t, upgrade(m.Tenant("free"))).StatusCode, "there is none")
		}
	})
}

// tryUpgrade is an upgrade that gets as far as the connection.
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
		for range 199 { // and two connections: as much as may be
			p.pours(tick)
			events.wants(message("x"))
		}
		time.Sleep(time.Hour + time.Second) // a second after a round
		assert.Equal(t, edgews.Open, s.ReadyState())
		p.ignores()
		for range 101 {
			p.pours(tick)
			events.wants(message("x"))
		}
		time.Sleep(time.Second)
		wanted := closed(1008, "daily quota exceeded", false)
		events.wantsEnd(failed("quota exceeded: requests: 17 of 12 requests"), wanted)
		others.wantsEnd(failed("quota exceeded"), wanted)
		_, _, err := edgews.Dial(t.Context(), "ws://nowhere.test", &edgews.DialOptions{Options: edgews.Options{Meter: m}})
		assert.ErrorIs(t, err, edgews.ErrQuota)
	})
}

// An object that works too long.
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
		resp := knocks(t, n.Get(id).ServeHTTP)
		assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
		assert.Equal(t, before, m.Usage(), "what is refused is free")
		time.Sleep(24 * time.Hour)
		assert.Equal(t, http.StatusOK, n.get(id).Code)
	})
}

// With a ledger, a program that begins anew goes on with the day, and a new day is a new one.
func TestQuotaSurvives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		run := func() (admitted int) {
			m := edgews.NewMeter(&edgews.MeterOptions{Store: store, Logger: quiet})
			m.SetQuota(edgews.Plan{Requests: edgews.Rate{Included: 4}})
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}}, nil)
			for range 3 {
				if n.get(n.NewUniqueID()).Code == http.StatusOK {
					admitted++
				}
			}
			require.NoError(t, n.Shutdown(t.Context()))
			synctest.Wait()
			return admitted
		}
		assert.Equal(t, 3, run())
		assert.Equal(t, 1, run())
		assert.Equal(t, 0, run())
		time.Sleep(25 * time.Hour)
		assert.Equal(t, 3, run())
		assert.Equal(t, 1, run())
	})
}
