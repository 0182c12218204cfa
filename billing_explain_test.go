package edgews_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// explainer accepts sockets with Accept or with AcceptWebSocket, depending on the path.
func explainer(r *room) {
	r.serve = func(w http.ResponseWriter, req *http.Request) {
		if !edgews.IsUpgrade(req) {
			return
		}
		s, err := edgews.Upgrade(w, req, nil)
		switch {
		case err != nil:
		case req.URL.Query().Has("pin"):
			s.OnMessage(func(edgews.MessageEvent) { time.Sleep(time.Second) })
			s.Accept()
		default:
			r.st.AcceptWebSocket(s)
		}
	}
}

// dialPath returns a raw client whose upgrade request had that path.
func dialPath(t testing.TB, stub http.Handler, path string) *peer {
	t.Helper()
	dial, _, _ := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = path
		stub.ServeHTTP(w, r)
	})
	return dialRaw(t, dial)
}

func TestExplain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, KeepAlive: -1}}, explainer)
		free, expensive := n.NewUniqueID(), n.NewUniqueID()
		dialPath(t, n.Get(free), "")
		pinning := dialPath(t, n.Get(expensive), "pin")
		pinning.sends(text("work"))
		time.Sleep(time.Minute)
		pin := time.Now()
		n.wake(expensive).WaitUntil(func(context.Context) { time.Sleep(time.Hour) })
		time.Sleep(59 * time.Minute)
		go n.state.Do(t.Context(), func() error { time.Sleep(time.Minute); return nil })
		time.Sleep(30 * time.Second)

		var all []edgews.Explanation
		for e := range n.Explain(edgews.DurableObjects) {
			all = append(all, e)
		}
		require.Len(t, all, 2)
		e := all[0]
		assert.Equal(t, expensive, e.ID, "the most expensive first")
		assert.Equal(t, edgews.ObjectActive, e.State)
		require.Len(t, e.Reasons, 3)
		assert.Equal(t, "accepted socket for 1h0m30s", e.Reasons[0].String())
		assert.NotNil(t, e.Reasons[0].Socket)
		assert.Equal(t, "WaitUntil", e.Reasons[1].Pin)
		assert.True(t, pin.Equal(e.Reasons[1].Since))
		assert.Regexp(t, `^billing_explain_test.go:\d+$`, e.Reasons[1].By)
		assert.Equal(t, "event (Do) for 30s", e.Reasons[2].String())
		assert.Equal(t, edgews.Usage{
			HTTPRequests: 1, Connections: 1, MessagesIn: 1, BytesIn: 4,
			Active: time.Hour + 30*time.Second, Connected: time.Hour + 30*time.Second, Busy: 31 * time.Second,
		}, e.Used)
		// 2.05 requests at 150 billionths of a dollar, and 0.128 GB for 3630 or 31 seconds at 12,500.
		assert.Equal(t, 308*edgews.USD(1)+464_64*edgews.USD(125), e.Cost)
		assert.Equal(t, 308*edgews.USD(1)+3968*edgews.USD(12)+3968/2, e.Hibernated)
		assert.Contains(t, e.String(), expensive.String()+" is active, and billed for 1h0m30s; so far $0.005808308, hibernating $0.000049908\n"+
			"  accepted socket for 1h0m30s\n  WaitUntil (billing_explain_test.go:")

		assert.Equal(t, free, all[1].ID)
		assert.Empty(t, all[1].Reasons)
		assert.Equal(t, all[1].Cost, all[1].Hibernated)
		assert.Contains(t, all[1].String(), "is hibernated, and free; so far $0.00000015")
		pinning.hangsUp()
	})
}

// Every pin is a reason. Without a meter Explain reports what the object knows itself.
func TestExplainWithoutMeter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/dial" {
					sockets := make(chan *edgews.Socket, 1)
					_, url, client := overPipe.serve(t, upgradeInto(t, sockets, edgews.Options{}))
					url = strings.Replace(url, "//", "//ann:secret@", 1)
					s, _, err := edgews.Dial(req.Context(), url, &edgews.DialOptions{HTTPClient: client})
					if assert.NoError(t, err) {
						s.Accept()
						(<-sockets).Accept()
					}
				}
			}
		})
		id := n.NewUniqueID()
		n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/dial", nil))
		synctest.Wait()
		for e := range n.Explain(edgews.DurableObjects) {
			require.Len(t, e.Reasons, 1)
			assert.Equal(t, "outbound socket (ws://ann:xxxxx@pipe.test/) for 0s", e.Reasons[0].String())
			assert.Zero(t, e.Cost)
			require.NoError(t, e.Reasons[0].Socket.Close(1000, ""), "an operator can end the reason")
		}
		synctest.Wait()
		for e := range n.Explain(edgews.DurableObjects) {
			assert.Equal(t, edgews.ObjectIdle, e.State)
			assert.Empty(t, e.Reasons)
			assert.Equal(t, id.String()+" is idle, and free", e.String())
			break
		}
	})
}

// TestUnitPrices: no item of a plan keeps an included amount or a rounding, and no price changes.
func TestUnitPrices(t *testing.T) {
	var p edgews.Plan
	rates := reflect.ValueOf(&p).Elem()
	for i := range rates.NumField() {
		if r, ok := rates.Field(i).Addr().Interface().(*edgews.Rate); ok {
			*r = edgews.Rate{Included: 7, Price: edgews.USD(i + 1), Per: 10, RoundUp: 5}
		}
	}
	p.Base = edgews.Dollar
	prices := p.UnitPrices()
	assert.Zero(t, prices.Base)
	of := reflect.ValueOf(prices)
	for i := range of.NumField() {
		if r, ok := of.Field(i).Interface().(edgews.Rate); ok {
			assert.Equal(t, edgews.Rate{Price: edgews.USD(i + 1), Per: 10}, r, of.Type().Field(i).Name)
		}
	}
	assert.Equal(t, edgews.Dollar, p.Base, "the plan itself is as before")
}
