//go:build linux

package store

import (
	"context"
	"encoding/binary"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// batches writes with DB.Batch, which puts as many writes into a transaction as there are writers. So a batch never waits for MaxBatchDelay
// unless some of the writers are late.
type batches struct{ db *bbolt.DB }

var bucket = []byte("entries")

func openBbolt(c Config) (writer, error) {
	db, err := bbolt.Open(filepath.Join(c.Dir, "bbolt.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return nil, err
	}
	db.MaxBatchSize = c.Writers
	return &batches{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	})
}

// idSize is the size of an object's ID, with which store/bolt begins each key.
const idSize = 32

func (w *batches) write(_ context.Context, writer int, value []byte) error {
	id := binary.BigEndian.AppendUint32(make([]byte, 0, idSize+len(key)), uint32(writer))
	k := append(id[:idSize], key...)
	return w.db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(k, value) })
}

func (w *batches) close() error { return w.db.Close() }
