package edgewsnats_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	edgewsnats "github.com/edgews/edgews/cluster/nats"
	"github.com/edgews/edgews/storetest"
)

var config = cluster.Config{Shards: 16, Generation: 1}

func objectKey(t *testing.T, n int) (k edgews.ObjectKey) {
	t.Helper()
	k.Namespace = "counters"
	require.NoError(t, k.ID.UnmarshalText(fmt.Appendf(nil, "%064x", n)))
	return k
}

func open(t *testing.T, e cluster.Engine, k edgews.ObjectKey, epoch uint64) edgews.ObjectStore {
	t.Helper()
	o, err := e.Open(context.Background(), k, edgews.Fence{Epoch: epoch})
	require.NoError(t, err)
	return o
}

// count adds one to the number that is stored, with a commit that has an alarm too, so that it is an atomic batch, each second time.
func count(o edgews.ObjectStore, i int) error {
	b := edgews.Batch{Puts: []edgews.Entry{
		{Key: "n", Value: binary.BigEndian.AppendUint64(nil, uint64(i+1))}, {Key: fmt.Sprintf("k%d", i%100), Value: make([]byte, 100)},
	}}
	if i%2 == 1 {
		b.Alarm = &edgews.AlarmChange{Time: time.UnixMilli(int64(i))}
	}
	return o.Commit(context.Background(), b)
}

func counted(t *testing.T, o edgews.ObjectStore) int {
	t.Helper()
	value, err := o.Get(context.Background(), "n")
	require.NoError(t, err)
	return int(binary.BigEndian.Uint64(value))
}

// Connections break between a commit and its answer: each commit is made exactly once, and the caller always knows.
func TestLostAnswers(t *testing.T) {
	conns := new(faultyDialer)
	o := options(t, sharedURLs(t))
	o.NATS = []nats.Option{nats.SetCustomDialer(conns), nats.DontRandomize()}
	a := connect(t, o)
	defer a.Close()
	_, err := a.Setup(t.Context(), config)
	require.NoError(t, err)
	const objects, commits = 8, 60
	stores := make([]edgews.ObjectStore, objects)
	for n := range stores {
		stores[n] = open(t, a, objectKey(t, n), 1)
	}
	done := make(chan struct{})
	var cuts sync.WaitGroup
	cuts.Go(func() {
		tick := time.NewTicker(150 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				conns.cut()
			case <-done:
				return
			}
		}
	})
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			for i := range commits {
				assert.NoError(t, count(s, i))
			}
		})
	}
	wg.Wait()
	close(done)
	cuts.Wait()

	o.NATS = nil
	b := connect(t, o)
	defer b.Close()
	_, err = b.Setup(t.Context(), config)
	require.NoError(t, err)
	for n := range stores {
		assert.Equal(t, commits, counted(t, open(t, b, objectKey(t, n), 2)))
		assert.ErrorIs(t, count(stores[n], commits), edgews.ErrFenced)
	}
	due, err := b.DueAlarms(t.Context(), "counters", time.UnixMilli(1<<40), 1000)
	require.NoError(t, err)
	assert.Len(t, due, objects)
}

// One of three servers is killed, comes back, and then the next one.
func TestServersAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("elections take seconds")
	}
	servers, err := startServers(t.TempDir(), 3, "")
	t.Cleanup(func() {
		for _, s := range servers {
			s.kill()
		}
	})
	require.NoError(t, err)
	o := edgewsnats.Options{URLs: urls(servers), Streams: 2, Logger: slog.New(slog.DiscardHandler)}
	a := connect(t, o)
	defer a.Close()
	_, err = a.Setup(t.Context(), config)
	require.NoError(t, err)
	const objects = 6
	var wg sync.WaitGroup
	var made [objects]int
	stop := make(chan struct{})
	for n := range objects {
		s := open(t, a, objectKey(t, n), 1)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					made[n] = i
					return
				default:
					assert.NoError(t, count(s, i))
				}
			}
		})
	}
	probe := open(t, a, objectKey(t, objects), 1)
	for i, s := range servers {
		s.kill()
		for j := range 20 {
			require.NoError(t, count(probe, 20*i+j))
		}
		require.NoError(t, s.start())
		require.NoError(t, awaitJetStream(servers, 3))
	}
	close(stop)
	wg.Wait()
	b := connect(t, o)
	defer b.Close()
	_, err = b.Setup(t.Context(), config)
	require.NoError(t, err)
	for n := range objects {
		assert.Equal(t, made[n], counted(t, open(t, b, objectKey(t, n), 2)))
	}
	assert.Equal(t, 60, counted(t, open(t, b, objectKey(t, objects), 2)))
}

// What is out of date is removed, and an object with many commits is loaded as it is.
func TestStreamsDoNotGrow(t *testing.T) {
	o := options(t, sharedURLs(t))
	o.Streams = 1
	a := connect(t, o)
	defer a.Close()
	_, err := a.Setup(t.Context(), config)
	require.NoError(t, err)
	s := open(t, a, objectKey(t, 1), 1)
	for i := range 1000 {
		require.NoError(t, count(s, i))
	}
	assert.Equal(t, 1000, counted(t, open(t, a, objectKey(t, 1), 2)))

	nc, err := nats.Connect(o.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stream, err := js.Stream(t.Context(), o.Name+"-objects-0")
		return err == nil && stream.CachedInfo().State.Msgs < 150
	}, time.Minute, 10*time.Millisecond)
}

// urlsEnv has the addresses of the shared servers, for processes that are killed while they commit.
const urlsEnv = "EDGEWS_TEST_NATS_URLS"

// The folder of the test stands for a cluster.
func TestStoreIsDurable(t *testing.T) {
	if os.Getenv(urlsEnv) == "" {
		t.Setenv(urlsEnv, strings.Join(sharedURLs(t), ","))
	}
	storetest.RunDurable(t, func(t *testing.T, dir string) edgews.Store {
		name := fmt.Sprintf("durable-%x", crc32.ChecksumIEEE([]byte(dir)))
		e := connect(t, edgewsnats.Options{URLs: strings.Split(os.Getenv(urlsEnv), ","), Name: name, Streams: 2, Logger: slog.New(slog.DiscardHandler)})
		_, err := e.Setup(context.Background(), config)
		require.NoError(t, err)
		return e
	})
}
