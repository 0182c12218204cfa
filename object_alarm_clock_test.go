package edgews_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// wallClock is a clock that can be set.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) now() time.Time               { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }
func (c *wallClock) step(d time.Duration)         { c.ahead.Add(int64(d)) }
func (c *wallClock) in(d time.Duration) time.Time { return c.now().Add(d) }

// Alarms are due by the wall clock, however it is set. The notes of n are of the time that has passed.
func TestAlarmsWhenTheClockIsSet(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, _ *watchedStore, id edgews.ID) {
		wall := new(wallClock)
		edgews.SetWallClock(n.Namespace, wall.now)
		set := func(d time.Duration) {
			require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), wall.in(d)))
		}

		// Forward, over an alarm that is pending: it is late by as much as the wall clock is looked at.
		set(time.Hour)
		time.Sleep(time.Second)
		wall.step(2 * time.Hour)
		n.rings("5s")

		// Forward, and then one that is due before the timer of an alarm of the old clock.
		other := n.IDFromName("other")
		require.NoError(t, n.wake(other).Storage().SetAlarm(t.Context(), wall.in(30*time.Minute)))
		wall.step(20 * time.Minute)
		set(100 * time.Millisecond)
		n.rings("5.1s")

		// Backward: an alarm is not early.
		set(time.Minute)
		wall.step(-time.Hour)
		select {
		case early := <-n.diary:
			require.FailNow(t, "an alarm was early", early)
		case <-time.After(59 * time.Minute):
		}
		n.rings("1h1m5.1s")
	})
}

// What is tried again because the store has failed is tried after that time, however the clock is set meanwhile.
func TestAlarmRetriesWhenTheClockIsSet(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				wall := new(wallClock)
				wall.step(3 * time.Hour)
				store := watch(t, edgews.NewMemoryStore())
				setAlarm(t, store, time.Second)
				failures := 3
				store.asked = func() error {
					if failures == 0 {
						return nil
					}
					failures--
					time.AfterFunc(time.Second, func() { wall.step(step) }) // while the namespace waits
					return io.ErrClosedPipe
				}
				n := alarmRooms(t, store, ok)
				edgews.SetWallClock(n.Namespace, wall.now)
				n.rings("14s") // after 2, 4 and 8
				n.nothingMore()
			})
		})
	}
}
