package edgewsnats_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// Entries of the index that are out of date, and not removed yet, take no place from the earliest alarms.
func TestAlarmsThatHaveBeenMoved(t *testing.T) {
	o := options(t, sharedURLs(t))
	o.Streams = 1
	e := connect(t, o)
	defer e.Close()
	_, err := e.Setup(t.Context(), config)
	require.NoError(t, err)
	nc, err := nats.Connect(o.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	at := func(ms int64) time.Time { return time.UnixMilli(1_700_000_000_000 + ms) }
	set := func(n int, ms int64) edgews.DueAlarm {
		k := objectKey(t, n)
		require.NoError(t, open(t, e, k, 1).Commit(t.Context(), edgews.Batch{Alarm: &edgews.AlarmChange{Time: at(ms)}}))
		return edgews.DueAlarm{ID: k.ID, Time: at(ms)}
	}
	outOfDate := func(n int, ms int64) {
		k := objectKey(t, n)
		raw := binary.BigEndian.AppendUint64(nil, uint64(at(ms).Unix())^1<<63)
		raw = binary.BigEndian.AppendUint32(raw, uint32(at(ms).Nanosecond()))
		_, err := js.Publish(t.Context(), fmt.Sprintf("%s.objects.0.alarm.%d._%s.%x.%s", o.Name, cluster.ShardOf(k, config.Shards),
			base64.RawURLEncoding.EncodeToString([]byte(k.Namespace)), raw, k.ID), nil)
		require.NoError(t, err)
	}
	for limit := 1; limit <= 4; limit++ {
		outOfDate(1, 1)
		outOfDate(2, 2)
		moved, gone, first, last := set(1, 40+int64(limit)), objectKey(t, 2), set(3, 20), set(4, 60)
		require.NoError(t, open(t, e, gone, 1).Commit(t.Context(), edgews.Batch{Alarm: &edgews.AlarmChange{}}))
		got, err := e.DueAlarms(t.Context(), "counters", at(100), limit)
		require.NoError(t, err)
		want := []edgews.DueAlarm{first, moved, last}
		require.Len(t, got, min(limit, len(want)))
		for i, a := range got {
			assert.Equal(t, want[i].ID, a.ID)
			assert.True(t, a.Time.Equal(want[i].Time), "%v, want %v", a.Time, want[i].Time)
		}
	}
}
