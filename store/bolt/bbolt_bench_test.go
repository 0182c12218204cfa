package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// BenchmarkBesideBbolt makes the same changes with the store and with bbolt, in turn: one writer, or 256 at once, each write a value of 128 bytes
// under the same key writesPerRound times, the next one when the last is durable. With one writer bbolt's DB.Update is the measure. With 256 it is
// DB.Batch that is told to wait for exactly 256 calls, which no program can know; DB.Update then takes 256 times as long. "ratio" is the time that
// the store takes in multiples of that, "tx" the transactions for one write of each writer. bbolt has the options of the store, one bucket, and
// keys that begin with the 32 bytes of an ID.
func BenchmarkBesideBbolt(b *testing.B) {
	for _, writers := range []int{1, 256} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			ways := []struct {
				name string
				writing
				took time.Duration
			}{
				{name: "store", writing: storeWriters(b, writers)},
				{name: "batch", writing: bboltWriters(b, writers, (*bbolt.DB).Batch)},
			}
			if writers == 1 { // with 256 it makes 256 transactions
				ways[1].name, ways[1].writing = "update", bboltWriters(b, writers, (*bbolt.DB).Update)
			}
			for round := range b.N {
				for i := range ways {
					began := time.Now()
					ways[i].write(round)
					ways[i].took += time.Since(began)
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, way := range ways {
				b.ReportMetric(float64(way.took.Microseconds())/float64(b.N*writesPerRound), way.name+"-µs")
				b.ReportMetric(float64(way.transactions())/float64(b.N*writesPerRound), way.name+"-tx")
			}
			b.ReportMetric(float64(ways[0].took)/float64(ways[1].took), "ratio")
		})
	}
}

const writesPerRound = 25

// writing is a file, and how writers write to it.
type writing struct {
	write        func(round int) // all writers, writesPerRound times
	transactions func() int      // made so far
}

func storeWriters(b *testing.B, writers int) writing {
	s, err := Open(filepath.Join(b.TempDir(), "objects.db"), nil)
	require.NoError(b, err)
	b.Cleanup(func() { s.Close() })
	objects := make([]edgews.ObjectStore, writers)
	for i := range objects {
		objects[i] = openObject(b, s, "room", i)
	}
	return writing{func(round int) {
		atOnce(b, writers, func(i int) error {
			return objects[i].Commit(context.Background(), edgews.Batch{Puts: []edgews.Entry{{Key: "state of the room", Value: valueOf(round, i)}}})
		})
	}, func() int { return transactions(b, s) }}
}

func bboltWriters(b *testing.B, writers int, write func(*bbolt.DB, func(*bbolt.Tx) error) error) writing {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bbolt.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	db.MaxBatchSize, db.MaxBatchDelay = writers, 10*time.Millisecond
	bucket := []byte("entries")
	require.NoError(b, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	}))
	keys := make([][]byte, writers)
	for i := range keys {
		keys[i] = append(binary.BigEndian.AppendUint64(make([]byte, idLen-8), uint64(i)), "state of the room"...)
	}
	return writing{func(round int) {
		atOnce(b, writers, func(i int) error {
			return write(db, func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(keys[i], valueOf(round, i)) })
		})
	}, func() (id int) {
		require.NoError(b, db.View(func(tx *bbolt.Tx) error {
			id = tx.ID()
			return nil
		}))
		return id
	}}
}

func valueOf(round, writer int) []byte {
	value := make([]byte, 128)
	binary.BigEndian.PutUint64(value, uint64(round))
	binary.BigEndian.PutUint64(value[8:], uint64(writer))
	return value
}

// atOnce has each writer call write in a goroutine of its own, and waits for all.
func atOnce(b *testing.B, writers int, write func(i int) error) {
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range writers {
		wg.Go(func() {
			for range writesPerRound {
				if err := write(i); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}
