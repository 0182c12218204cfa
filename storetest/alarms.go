package storetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

var alarmTests = []test{
	{"an alarm is due from its time on", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_123)
		wantDue(t, due(t, s, "room", at, all))
		o.setAlarm(at)
		alarm := edgews.DueAlarm{ID: o.key.ID, Time: at}
		wantDue(t, due(t, s, "room", at.Add(-time.Millisecond), all))
		wantDue(t, due(t, s, "room", at, all), alarm)
		wantDue(t, due(t, s, "room", at.Add(time.Hour), all), alarm) // it is shown until it is removed
		wantDue(t, due(t, s, "other", at, all))
	}},
	{"an alarm moves", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		for _, to := range []time.Time{at, at.Add(time.Hour), at.Add(time.Hour), at.Add(-time.Hour)} {
			o.setAlarm(to)
			wantDue(t, due(t, s, "room", at.Add(24*time.Hour), all), edgews.DueAlarm{ID: o.key.ID, Time: to})
		}
	}},
	{"an alarm is removed", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		o.setAlarm(time.Time{}) // there is none
		o.setAlarm(at)
		o.setAlarm(time.Time{}.In(time.FixedZone("somewhere", 3600)))
		wantDue(t, due(t, s, "room", at, all))
		o.setAlarm(at)
		wantDue(t, due(t, s, "room", at, all), edgews.DueAlarm{ID: o.key.ID, Time: at})
	}},
	{"an alarm stays while entries come and go", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		at := time.UnixMilli(1_700_000_000_000)
		alarm := edgews.DueAlarm{ID: o.key.ID, Time: at}
		o.commit(edgews.Batch{Puts: entries("a", "1"), Alarm: &edgews.AlarmChange{Time: at}})
		o.commit(edgews.Batch{DeleteAll: true})
		wantDue(t, due(t, s, "room", at, all), alarm)
		o.put("a", "2")
		o.commit(edgews.Batch{Deletes: []string{"a"}})
		wantDue(t, due(t, s, "room", at, all), alarm)
		o.Release()
		wantDue(t, due(t, s, "room", at, all), alarm)
		open(t, s, "room", 1).wantList("") // an alarm is not an entry
		wantDue(t, due(t, s, "room", at, all), alarm)
	}},
	{"alarms are ordered by time", func(t *testing.T, s edgews.Store) {
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		want := []edgews.DueAlarm{}
		for i, to := range []time.Time{
			time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC), // a long time overdue
			time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC),
			time.Unix(0, 0),
			at.Add(-time.Second).In(time.FixedZone("east", 14*3600)),
			at.In(time.FixedZone("west", -11*3600)),
			at.Add(time.Millisecond),
			time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC), // beyond 64 bits of nanoseconds
			time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		} {
			o := open(t, s, "room", byte(200-i)) // not in the order of IDs
			o.setAlarm(to)
			want = append(want, edgews.DueAlarm{ID: o.key.ID, Time: to})
		}
		wantDue(t, due(t, s, "room", want[7].Time, all), want...)
		wantDue(t, due(t, s, "room", at, all), want[:5]...)
		wantDue(t, due(t, s, "room", want[0].Time, all), want[:1]...)
		wantDue(t, due(t, s, "room", time.Time{}, all))
	}},
	{"DueAlarms returns no more than the limit", func(t *testing.T, s edgews.Store) {
		n, at := times(400), time.UnixMilli(1_700_000_000_000)
		want := make([]edgews.DueAlarm, n)
		for _, i := range rand.Perm(n) {
			var raw [32]byte
			raw[0], raw[1] = byte(i*37), byte(i>>8)
			want[i] = edgews.DueAlarm{ID: newID(raw), Time: at.Add(time.Duration(i) * time.Millisecond)}
			openKey(t, s, edgews.ObjectKey{Namespace: "room", ID: want[i].ID}, 1).setAlarm(want[i].Time)
		}
		for _, limit := range []int{0, 1, n / 2, n, n + 1} {
			wantDue(t, due(t, s, "room", at.Add(time.Hour), limit), want[:min(limit, n)]...)
		}
		wantDue(t, due(t, s, "room", want[n/4].Time, n/2), want[:n/4+1]...)
	}},
	{"alarms of the same time", func(t *testing.T, s edgews.Store) {
		at := time.UnixMilli(1_700_000_000_000)
		for n := range byte(5) {
			open(t, s, "room", n).setAlarm(at)
		}
		open(t, s, "room", 2).setAlarm(time.Time{})
		seen := map[edgews.ID]bool{}
		for _, a := range due(t, s, "room", at, all) {
			seen[a.ID] = true
		}
		if len(seen) != 4 || seen[open(t, s, "room", 2).key.ID] {
			t.Fatalf("got %v, want all but that of object 2", seen)
		}
	}},
	{"an alarm is never due early", func(t *testing.T, s edgews.Store) {
		o := open(t, s, "room", 1)
		for _, beyond := range []time.Duration{1, 999, 1000, 499_999, 500_001, 999_999} {
			at := time.UnixMilli(1_700_000_000_000).Add(beyond)
			o.setAlarm(at)
			wantDue(t, due(t, s, "room", at.Add(-1), all))
			alarms := due(t, s, "room", at.Add(time.Millisecond), all)
			if len(alarms) != 1 || alarms[0].Time.Before(at) || alarms[0].Time.Sub(at) > time.Millisecond {
				t.Fatalf("alarm set to %v is shown as %v", at, alarms)
			}
		}
	}},
}
