package edgews_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publishedRoom opens the sockets of one room of the published example. Its handler takes the given time for each message.
func publishedRoom(t *testing.T, m *edgews.Meter, sockets int, message time.Duration) (peers []*peer) {
	n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, KeepAlive: -1}}, func(r *room) {
		r.serve = func(w http.ResponseWriter, req *http.Request) {
			s, err := edgews.Upgrade(w, req, nil)
			if assert.NoError(t, err) {
				assert.NoError(t, r.st.AcceptWebSocket(s))
			}
		}
		r.message = func(context.Context, *edgews.Socket, edgews.Message) error {
			time.Sleep(message)
			return nil
		}
	})
	dial, _, _ := overPipe.serve(t, n.Get(n.NewUniqueID()).ServeHTTP)
	for range sockets {
		peers = append(peers, dialRaw(t, dial))
	}
	return peers
}

// The published example with hibernation: in 100 rooms of 100 sockets each socket sends a message a minute, which takes 10 ms,
// for 30 days. Here is one of the rooms, whose sockets send one message every two hours for 120.
func TestPublishedHibernationExample(t *testing.T) {
	const standsFor, days, sockets = 120, 30, 100
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		peers := publishedRoom(t, m, sockets, standsFor*10*time.Millisecond)
		tick := peers[0].encode(text("tick"))
		for range days * 24 * 60 / standsFor {
			for _, p := range peers {
				p.writesAll(tick)
			}
			time.Sleep(standsFor * time.Minute)
		}
		u := m.Usage()
		assert.Equal(t, sockets*days*24*time.Hour, u.Connected)
		assert.Equal(t, u.Active, u.Busy)
		u.MessagesIn *= standsFor

		bill := edgews.DurableObjects.BillSum(slices.Repeat([]edgews.Usage{u}, 100)...)
		assert.Equal(t, "$20.65", bill.Total.String())
		require.Len(t, bill.Lines, 3)
		assert.EqualValues(t, 21_610_000, bill.Lines[1].Quantity)
		assert.EqualValues(t, 552_960, bill.Lines[2].Quantity)
		assert.Equal(t, "$10.00", edgews.DurableObjects2024.BillSum(slices.Repeat([]edgews.Usage{u}, 100)...).Total.String())
	})
}

// A day of that room, message by message, at moments that are spread over the minute. The month is thirty such days on the
// same connections.
func TestPublishedHibernationExampleByTheDay(t *testing.T) {
	const days, rooms, sockets, minutes = 30, 100, 100, 24 * 60
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		peers := publishedRoom(t, m, sockets, 10*time.Millisecond)
		synctest.Wait() // until all are counted
		opened := m.Usage()
		tick := peers[0].encode(text("tick"))
		for range minutes {
			for _, p := range peers {
				p.writesAll(tick)
				time.Sleep(time.Minute / sockets)
			}
		}
		day := m.Usage().Sub(opened)
		assert.Equal(t, edgews.Usage{
			MessagesIn: sockets * minutes, BytesIn: 4 * sockets * minutes, Connected: sockets * 24 * time.Hour,
			Active: sockets * minutes * 10 * time.Millisecond, Busy: sockets * minutes * 10 * time.Millisecond,
		}, day)

		month := append(slices.Repeat([]edgews.Usage{day}, days), opened)
		bill := edgews.DurableObjects.BillSum(slices.Repeat(month, rooms)...)
		assert.Equal(t, "$20.65", bill.Total.String())
		assert.EqualValues(t, 21_610_000, bill.Lines[1].Quantity)
		assert.EqualValues(t, 552_960, bill.Lines[2].Quantity)
	})
}

// The same with Accept: an object is billed for as long as the sockets that pin it are connected.
func TestPublishedExampleWithoutHibernation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, KeepAlive: -1}}, func(r *room) {
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				s, err := edgews.Upgrade(w, req, nil)
				if assert.NoError(t, err) {
					s.OnMessage(func(edgews.MessageEvent) {})
					assert.NoError(t, s.Accept())
				}
			}
		})
		dial, _, _ := overPipe.serve(t, n.Get(n.NewUniqueID()).ServeHTTP)
		p := dialRaw(t, dial)
		tick := p.encode(text("tick"))
		for range 30 * 24 { // each stands for the 3600 of an hour
			p.writesAll(tick)
			time.Sleep(time.Hour)
		}
		u := m.Usage()
		u.MessagesIn *= 3600
		bill := edgews.DurableObjects.BillSum(slices.Repeat([]edgews.Usage{u}, 100)...)
		assert.Equal(t, "$419.30", bill.Total.String())
	})
}

// alarmRoom is an object with an alarm.
type alarmRoom struct {
	room
	alarm func(context.Context) error
}

func (o *alarmRoom) Alarm(ctx context.Context) error { return o.alarm(ctx) }

// Each run of the alarm handler counts, and so does its time; retries are runs too.
func TestMeterCountsAlarms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := edgews.NewMeter(nil)
		runs := 0
		n := edgews.NewNamespace("alarms", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
			o := &alarmRoom{alarm: func(context.Context) error {
				time.Sleep(time.Second)
				if runs++; runs == 1 {
					return errors.New("once more")
				}
				return nil
			}}
			o.serve = func(http.ResponseWriter, *http.Request) {
				assert.NoError(t, st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour)))
			}
			return o, nil
		}, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m, Logger: quiet}})
		n.Get(n.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		time.Sleep(24 * time.Hour)
		assert.Equal(t, edgews.Usage{HTTPRequests: 1, Alarms: 2, RowsWritten: 1, WriteUnits: 1, Active: 2 * time.Second, Busy: 2 * time.Second}, m.Usage())
		assert.NoError(t, n.Shutdown(t.Context()))
	})
}
